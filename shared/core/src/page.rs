//! Keyset pages with opaque tokens.
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_api::Paged;
use sea_orm::{Iterable, ModelTrait, Value};
use uuid::Uuid;

use crate::{Ctx, Result, Violations};

const DEFAULT: u64 = 50;
const MAX: u64 = 1000;
const SEAL: usize = 8;
const NEGATIVE: &str = "must not be negative";
const FOREIGN: &str = "not a token of this list; start from the first page";

/// What the rows of a page weigh together, at most: a message of more than 4 MiB reaches nobody.
const WEIGHT: usize = 3 << 20;

/// What a number, a moment or the name and length of a field take in a message, at most.
const FIELD: usize = 16;

/// What an id takes: a step of a resource name, whose other steps are ids of the row, too.
const STEP: usize = 64;

/// One page of a list, and where it begins.
///
/// A token is a position and a seal over caller, query and position. It grants nothing: the list it
/// continues is filtered anew. The seal only refuses a token that was cut, or belongs to another query.
#[derive(Clone, Debug)]
pub struct Page {
    after: Option<Vec<u8>>,
    size: u64,
    seal: Seal,
}

#[derive(Clone)]
struct Seal(Context);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("seal")
    }
}

impl Page {
    /// Reads the page a caller wants.
    pub fn open(ctx: &Ctx, request: &impl Paged) -> Result<Self> {
        let (size, token) = (request.page_size(), request.page_token());
        let mut bad = Violations::default();
        let size = match bad.take("page_size", u64::try_from(size).map_err(|_| NEGATIVE.to_owned()))
        {
            None | Some(0) => DEFAULT,
            Some(n) => n.min(MAX),
        };
        let mut seal = Context::new(&SHA256);
        seal.update(ctx.organization().as_bytes());
        let query = request.query().encode_to_vec();
        for part in [ctx.record.method().as_bytes(), ctx.subject().as_bytes(), &query] {
            seal.update(&(part.len() as u64).to_le_bytes());
            seal.update(part);
        }
        let mut page = Page { after: None, size, seal: Seal(seal) };
        if !token.is_empty() {
            page.after =
                bad.take("page_token", page.unseal(token).ok_or_else(|| FOREIGN.to_owned()));
        }
        bad.finish()?;
        Ok(page)
    }

    /// The first page of everything, for tasks of ours.
    pub fn first(size: u64) -> Self {
        Page { after: None, size, seal: Seal(Context::new(&SHA256)) }
    }

    /// One row more than asked, to learn whether another page follows.
    pub fn limit(&self) -> u64 {
        self.size + 1
    }

    /// The key of the last row of the page before.
    pub fn after(&self) -> Option<&[u8]> {
        self.after.as_deref()
    }

    /// The id of the last row of the page before, where the list is ordered by id.
    pub fn after_id(&self) -> Option<Uuid> {
        Uuid::from_slice(self.after()?).ok()
    }

    /// Whether rows that weigh as much as `whole` together are more than a page takes.
    pub fn is_heavy(whole: usize) -> bool {
        whole > WEIGHT
    }

    /// Drops the extra row, and what would make the page too large for a message, and says where the next page starts;
    /// empty on the last page. A row has at least the `weight` in bytes of the message of it.
    pub fn close<T>(
        &self,
        rows: &mut Vec<T>,
        weight: impl Fn(&T) -> usize,
        key: impl Fn(&T) -> Vec<u8>,
    ) -> String {
        let mut whole = 0;
        let fits = |row: &&T| {
            whole += weight(row);
            !Self::is_heavy(whole)
        };
        // One at least, so that whoever reads on comes to an end.
        let fit = rows.iter().take_while(fits).count().max(1).min(self.size as usize);
        if rows.len() <= fit {
            return String::new();
        }
        rows.truncate(fit);
        rows.last().map(|row| self.token(&key(row))).unwrap_or_default()
    }

    fn token(&self, key: &[u8]) -> String {
        let mut token = self.seal_of(key);
        token.extend(key);
        BASE64.encode(token)
    }

    fn unseal(&self, token: &str) -> Option<Vec<u8>> {
        let bytes = BASE64.decode(token).ok()?;
        let (seal, key) = bytes.split_at_checked(SEAL)?;
        (self.seal_of(key) == seal).then(|| key.to_vec())
    }

    fn seal_of(&self, key: &[u8]) -> Vec<u8> {
        let mut seal = self.seal.0.clone();
        seal.update(key);
        seal.finish().as_ref()[..SEAL].to_vec()
    }
}

/// What a row of a table weighs: its texts, its JSON with the names of the fields, and of all else more than it takes.
pub fn weight<M: ModelTrait>(row: &M) -> usize {
    <<M::Entity as sea_orm::EntityTrait>::Column as Iterable>::iter()
        .map(|column| match row.get(column) {
            Value::String(Some(text)) => text.len() + FIELD,
            Value::Bytes(Some(bytes)) => bytes.len() + FIELD,
            Value::Json(Some(json)) => weight_of_json(&json),
            Value::Uuid(Some(_)) => STEP,
            _ => FIELD,
        })
        .sum()
}

fn weight_of_json(json: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Object, String};
    match json {
        String(text) => text.len() + FIELD,
        Array(values) => FIELD + values.iter().map(weight_of_json).sum::<usize>(),
        Object(fields) => {
            FIELD
                + fields
                    .iter()
                    .map(|(name, value)| name.len() + weight_of_json(value))
                    .sum::<usize>()
        }
        _ => FIELD,
    }
}

#[cfg(test)]
mod tests {
    use caseward_api::patient::v1::ListPatientsRequest;

    use super::*;
    use crate::{Clock, Error};

    fn open(page_size: i32, page_token: &str, identifier: &str) -> Result<Page> {
        let ctx = Ctx::task("test", "List", Uuid::nil(), Clock::System);
        let (page_token, identifier) = (page_token.to_owned(), identifier.to_owned());
        Page::open(&ctx, &ListPatientsRequest { page_size, page_token, identifier })
    }

    #[test]
    fn a_token_continues_its_own_list_only() {
        let mut rows: Vec<u128> = vec![1, 2, 3];
        let page = open(2, "", "a").unwrap();
        let token = page.close(&mut rows, |_| 16, |n| Uuid::from_u128(*n).as_bytes().to_vec());
        assert_eq!(rows, [1, 2]);
        assert_eq!(open(2, &token, "a").unwrap().after_id(), Some(Uuid::from_u128(2)));
        assert!(open(2, &token, "b").is_err());
        assert!(open(2, &token[1..], "a").is_err());
    }

    #[test]
    fn a_page_of_large_rows_ends_early_and_the_next_goes_on() {
        let page = open(1000, "", "").unwrap();
        let mut rows: Vec<String> = (0..9).map(|n| format!("{n}").repeat(1 << 20)).collect();
        let key = |row: &String| row.as_bytes()[..1].to_vec();
        let token = page.close(&mut rows, String::len, key);
        assert_eq!(rows.len(), 3);
        assert_eq!(open(1000, &token, "").unwrap().after(), Some(&b"2"[..]));
        let mut one = vec!["x".repeat(5 << 20)];
        assert_eq!((page.close(&mut one, String::len, key), one.len()), (String::new(), 1));
    }

    #[test]
    fn a_wrong_size_and_a_wrong_token_are_said_together() {
        let Err(Error::Invalid(said)) = open(-1, "?", "") else { panic!("must be refused") };
        let fields: Vec<&str> = said.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["page_size", "page_token"]);
    }

    #[test]
    fn a_page_has_at_most_a_thousand_rows() {
        assert_eq!(open(5000, "", "").unwrap().limit(), 1001);
        assert!(open(-1, "", "").is_err());
    }
}
