//! The filters of lists, each an index: what is wrong with any of them is said at once.
use caseward_core::{Ctx, Error, Id, Kind, Result, check};
use caseward_store::Resource;
use sea_orm::{entity::prelude::*, sea_query::SelectStatement};

use crate::{identifier, record::Record, term};

/// A list in the making, or everything that is wrong with what was asked.
#[derive(Debug)]
pub struct Filter<'a, E: Record> {
    ctx: &'a Ctx,
    select: Result<Select<E>>,
}

impl<'a, E: Record> Filter<'a, E> {
    /// Every record that the caller may see.
    pub fn new(ctx: &'a Ctx) -> Self {
        Filter { ctx, select: Ok(E::of(ctx)) }
    }

    /// Only the one with this identifier.
    pub fn identifier(self, identifier: &str) -> Self {
        let wanted = check::identifier("identifier", identifier);
        let ctx = self.ctx;
        self.among(wanted, |one| identifier::record(ctx, E::Kind::COLLECTION, &one))
    }

    /// Only those with a name that begins so.
    pub fn name_prefix(self, prefix: &str, longest: usize) -> Self {
        let wanted = check::wanted("name_prefix", prefix, longest);
        let ctx = self.ctx;
        self.among(wanted, |prefix| {
            term::beginning(ctx, E::Kind::COLLECTION, "name", &prefix.to_lowercase())
        })
    }

    /// Only those whose postal code begins so.
    pub fn postal_code(self, prefix: &str) -> Self {
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        let wanted = match prefix.len() {
            0 => Ok(None),
            3..=9 if digits => Ok(Some(prefix)),
            _ => Err(Error::invalid("postal_code", "wants 3 to 9 digits")),
        };
        let ctx = self.ctx;
        self.among(wanted, |prefix| {
            term::beginning(ctx, E::Kind::COLLECTION, "postal_code", prefix)
        })
    }

    /// Only those with a concept of this code.
    pub fn code(self, field: &str, term: &str, code: &str) -> Self {
        let wanted = check::wanted(field, code, 100);
        let ctx = self.ctx;
        self.among(wanted, |code| term::exactly(ctx, E::Kind::COLLECTION, term, &code))
    }

    /// Only those whose `column` names this record.
    pub fn naming<K: Kind>(self, field: &str, column: E::Column, name: &str) -> Self {
        let wanted = check::name::<Id<K>>(field, name);
        self.narrow(wanted, |select, id| select.filter(column.eq(id.uuid())))
    }

    /// Only those that what is wanted finds, where anything is wanted.
    fn among<T>(self, wanted: Result<Option<T>>, found: impl FnOnce(T) -> SelectStatement) -> Self {
        self.narrow(wanted, |select, wanted| {
            select.filter(<E as Resource>::ID.in_subquery(found(wanted)))
        })
    }

    fn narrow<T>(
        self,
        wanted: Result<Option<T>>,
        by: impl FnOnce(Select<E>, T) -> Select<E>,
    ) -> Self {
        let select = check::all((self.select, wanted)).map(|(select, wanted)| match wanted {
            None => select,
            Some(wanted) => by(select, wanted),
        });
        Filter { select, ..self }
    }

    /// The list, unless anything was wrong.
    pub fn finish(self) -> Result<Select<E>> {
        self.select
    }
}
