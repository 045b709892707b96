//! What the tokens that callers hold withstand, whatever they send. Called by `tests/fuzz`, and here by a few inputs.
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_api::patient::v1::ListPatientsRequest;
use caseward_core::{Caller, Clock, Ctx, Error, Page};
use uuid::Uuid;

pub use crate::audit::fuzz_heads as heads;

/// Who asks, what, of which list.
#[derive(Clone, Copy)]
struct Asking<'a> {
    organization: Uuid,
    subject: &'a str,
    method: &'static str,
    identifier: &'a str,
}

impl Asking<'_> {
    fn page(self, page_token: &str) -> Result<Page, Error> {
        let mut ctx = Ctx::task("fuzz", self.method, self.organization, Clock::System);
        ctx.caller = Arc::new(Caller { subject: self.subject.to_owned(), ..(*ctx.caller).clone() });
        let (page_token, identifier) = (page_token.to_owned(), self.identifier.to_owned());
        Page::open(&ctx, &ListPatientsRequest { page_size: 1, page_token, identifier })
    }

    /// The token of the page that follows `key`.
    fn token(self, key: &[u8]) -> String {
        let page = self.page("").expect("the first page needs no token");
        page.close(&mut vec![(), ()], |()| 0, |()| key.to_vec())
    }
}

/// No text is a token of a list but the one that the list gave, in the one spelling that it has; and that one is of no
/// use to another caller, tenant, method or query, nor when a bit of it is turned or its end is cut.
pub fn page_token(input: &[u8]) {
    let list = Asking {
        organization: Uuid::from_u128(1),
        subject: "ana",
        method: "ListPatients",
        identifier: "a|1",
    };
    let text = String::from_utf8_lossy(input);
    if let Ok(page) = list.page(&text) {
        let begun = page.after().map(|key| list.token(key));
        assert_eq!(begun.unwrap_or_default(), text, "a token has one spelling");
    }
    let token = list.token(input);
    let own = list.page(&token).expect("a list takes its own token");
    assert_eq!(own.after(), Some(input));
    for other in [
        Asking { organization: Uuid::from_u128(2), ..list },
        Asking { subject: "ben", ..list },
        Asking { subject: "an", ..list },
        Asking { method: "ListPatientsa", ..list },
        Asking { identifier: "a|", ..list },
        Asking { identifier: "", ..list },
    ] {
        assert!(other.page(&token).is_err(), "a token of another list is taken");
    }
    let bytes = BASE64.decode(&token).expect("a token is base64");
    let turned = input.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
    let mut bent = bytes.clone();
    bent[turned / 8 % bytes.len()] ^= 1 << (turned % 8);
    assert!(list.page(&BASE64.encode(bent)).is_err(), "a bent token is taken");
    assert!(
        list.page(&token[..turned % token.len()]).is_ok_and(|page| page.after().is_none())
            == (turned % token.len() == 0),
        "a cut token is taken"
    );
}

/// An etag is accepted for the revision that it was printed for, and no other text is.
pub fn etag(input: &[u8]) {
    let (revision, text) = input.split_at_checked(8).unwrap_or((&[], input));
    let revision = revision.try_into().map_or(1, i64::from_le_bytes);
    let text = String::from_utf8_lossy(text);
    let own = crate::etag(revision);
    match crate::expect("cases/1", revision, &text) {
        Ok(()) => assert_eq!(text, own),
        Err(Error::Invalid(_)) => assert_eq!(text, ""),
        Err(Error::Stale(_)) => assert_ne!(text, own),
        Err(other) => panic!("{other}"),
    }
    assert!(crate::expect("cases/1", revision, &own).is_ok());
    assert!(crate::expect("cases/1", revision.wrapping_add(1), &own).is_err());
}

#[cfg(test)]
mod tests {
    use caseward_testkit::fuzz::few;

    #[test]
    fn a_page_token_is_of_use_to_its_own_list_only() {
        few("page_token", 2000, super::page_token);
    }

    #[test]
    fn an_etag_is_of_one_revision() {
        few("etag", 2000, super::etag);
    }

    #[test]
    fn nothing_is_believed_of_a_file_of_heads_but_what_was_signed() {
        few("heads", 500, super::heads);
    }
}
