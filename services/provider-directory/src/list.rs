//! The filters of lists, each an index: what is wrong with any of them is said at once.
use caseward_core::{Ctx, Id, Kind, Name, Result, Violations, check};
use caseward_store::Resource;
use sea_orm::{entity::prelude::*, sea_query::SelectStatement};

use crate::{identifier, record::Record, term};

/// A list in the making.
#[derive(Debug)]
pub struct Filter<'a, E: Record> {
    ctx: &'a Ctx,
    select: Select<E>,
    bad: Violations,
}

impl<'a, E: Record> Filter<'a, E> {
    /// Every record that the caller may see.
    pub fn new(ctx: &'a Ctx) -> Self {
        Filter { ctx, select: E::of(ctx), bad: Violations::default() }
    }

    /// Only the one with this identifier.
    pub fn identifier(mut self, identifier: &str) -> Self {
        if identifier.is_empty() {
            return self;
        }
        match identifier.split_once('|') {
            None => self.bad.add("identifier", "wants `{system}|{value}`"),
            Some((system, value)) => {
                let found = identifier::record(self.ctx, E::Kind::COLLECTION, system, value);
                self = self.among(found);
            }
        }
        self
    }

    /// Only those with a name that begins so.
    pub fn name_prefix(mut self, prefix: &str, longest: usize) -> Self {
        match self.bad.take("name_prefix", check::optional(prefix, longest)).flatten() {
            None => self,
            Some(prefix) => {
                let prefix = prefix.to_lowercase();
                let found = term::beginning(self.ctx, E::Kind::COLLECTION, "name", &prefix);
                self.among(found)
            }
        }
    }

    /// Only those whose postal code begins so.
    pub fn postal_code(mut self, prefix: &str) -> Self {
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        match prefix.len() {
            0 => self,
            3..=9 if digits => {
                let found = term::beginning(self.ctx, E::Kind::COLLECTION, "postal_code", prefix);
                self.among(found)
            }
            _ => {
                self.bad.add("postal_code", "wants 3 to 9 digits");
                self
            }
        }
    }

    /// Only those with a concept of this code.
    pub fn code(mut self, field: &str, term: &str, code: &str) -> Self {
        match self.bad.take(field, check::optional(code, 100)).flatten() {
            None => self,
            Some(code) => {
                let found = term::exactly(self.ctx, E::Kind::COLLECTION, term, &code);
                self.among(found)
            }
        }
    }

    /// Only those whose `column` names this record.
    pub fn naming<K: Kind>(mut self, field: &str, column: E::Column, name: &str) -> Self {
        if name.is_empty() {
            return self;
        }
        match Id::<K>::parse(field, name) {
            Ok(id) => self.select = self.select.filter(column.eq(id.uuid())),
            Err(_) => self.bad.add(field, format!("wants `{}`", Id::<K>::pattern())),
        }
        self
    }

    /// Only those that `found` finds.
    pub fn among(mut self, found: SelectStatement) -> Self {
        self.select = self.select.filter(<E as Resource>::ID.in_subquery(found));
        self
    }

    /// The list, unless anything was wrong.
    pub fn finish(self) -> Result<Select<E>> {
        self.bad.finish()?;
        Ok(self.select)
    }
}
