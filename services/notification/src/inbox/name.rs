//! The names of inboxes: a subject may hold what a name may not, so it is percent-encoded.
use caseward_core::{Ctx, Error, Name, Result};

use super::ItemId;

/// The name of an item.
pub(super) fn of(owner: &str, id: ItemId) -> String {
    format!("inboxes/{}/{id}", encode(owner))
}

/// Refuses every inbox but the caller's own, as if there were none.
pub(crate) fn owner(ctx: &Ctx, field: &str, name: &str) -> Result<()> {
    let named = name.strip_prefix("inboxes/").filter(|named| !named.is_empty());
    let named = named.ok_or_else(|| Error::invalid(field, "wants `inboxes/{subject}`"))?;
    // A gateway may have decoded it.
    if named == "me" || named == ctx.subject() || named == encode(ctx.subject()) {
        return Ok(());
    }
    Err(Error::NotFound(name.to_owned()))
}

/// The item of the caller's own inbox that `name` names.
pub(crate) fn item(ctx: &Ctx, name: &str) -> Result<ItemId> {
    let Some((inbox, id)) = name.rsplit_once("/items/") else {
        return Err(Error::invalid("name", "wants `inboxes/{subject}/items/{uuid}`"));
    };
    let id = ItemId::parse("name", &format!("items/{id}"))?;
    owner(ctx, "name", inbox).map_err(|_| Error::NotFound(name.to_owned()))?;
    Ok(id)
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
