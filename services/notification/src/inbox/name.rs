//! The names of inboxes, and who sees which. A subject may hold what a name may not, so it is percent-encoded.
use caseward_core::{Ctx, Error, Name, Result};

use super::ItemId;

/// Whose the inbox is that supervisors share, among the owners.
pub(crate) const SUPERVISORS: &str = "role:supervisor";

/// What their inbox is called.
const SHARED: &str = "supervisors";

/// The owners whose inboxes the caller sees.
pub(super) fn mine(ctx: &Ctx) -> Vec<&str> {
    // Nobody comes by the shared one through how they sign in.
    let own = Some(ctx.subject()).filter(|subject| *subject != SUPERVISORS);
    own.into_iter().chain(ctx.may("cases.supervise").then_some(SUPERVISORS)).collect()
}

/// The name of an item.
pub(super) fn of(owner: &str, id: ItemId) -> String {
    let inbox = if owner == SUPERVISORS { SHARED.to_owned() } else { encode(owner) };
    format!("inboxes/{inbox}/{id}")
}

/// The owner of the inbox that `name` names. Every other than the caller's is refused as if there were none.
pub(crate) fn owner(ctx: &Ctx, field: &str, name: &str) -> Result<String> {
    let named = name.strip_prefix("inboxes/").filter(|named| !named.is_empty());
    let named = named.ok_or_else(|| Error::invalid(field, "wants `inboxes/{subject}`"))?;
    let wanted = match named {
        "me" => ctx.subject(),
        SHARED => SUPERVISORS,
        // A gateway may have decoded it.
        _ if named == ctx.subject() || named == encode(ctx.subject()) => ctx.subject(),
        _ => return Err(Error::NotFound(name.to_owned())),
    };
    match mine(ctx).contains(&wanted) {
        true => Ok(wanted.to_owned()),
        false => Err(Error::NotFound(name.to_owned())),
    }
}

/// The item of an inbox of the caller's that `name` names.
pub(crate) fn item(ctx: &Ctx, name: &str) -> Result<(String, ItemId)> {
    let Some((inbox, id)) = name.rsplit_once("/items/") else {
        return Err(Error::invalid("name", "wants `inboxes/{subject}/items/{uuid}`"));
    };
    let id = ItemId::parse("name", &format!("items/{id}"))?;
    let owner = owner(ctx, "name", inbox).map_err(|_| Error::NotFound(name.to_owned()))?;
    Ok((owner, id))
}

fn encode(subject: &str) -> String {
    let mut encoded = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_becomes_one_segment() {
        assert_eq!(encode("ana"), "ana");
        assert_eq!(encode("oidc|a/b@c"), "oidc%7Ca%2Fb%40c");
    }
}
