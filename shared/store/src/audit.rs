//! The audit log: append-only, hash-chained per writer, on disk before an answer leaves.
mod abandoned;
mod access;
mod heads;
mod verify;

use aws_lc_rs::digest::{Context, SHA256};
use caseward_core::{Ctx, Record, Result, Time};
use sea_orm::entity::prelude::*;

pub use abandoned::Abandoned;
pub(crate) use abandoned::last;
pub(crate) use access::{
    Column as AccessColumn, Entity as AccessEntity, Model as Access, rows as access_rows,
};
pub use access::{Wanted, accesses};
pub(crate) use heads::Ends;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub use heads::fuzz_heads;
pub use heads::{Exporter, Head, HeadLog, Heads, Keys};
pub use verify::{Fault, Verdict, verify};

/// One entry.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    /// The chain: one per writer and start of a process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub chain: Uuid,
    /// The place in the chain, from 1, without a gap.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// The call. A `BEGIN` and its `END` share it.
    pub record: Uuid,
    /// `BEGIN`, `END` or `WHOLE`.
    pub phase: String,
    /// When it was written.
    pub at: Time,
    /// The tenant.
    pub organization: Uuid,
    /// Who asked.
    pub subject: String,
    /// In which roles.
    pub roles: String,
    /// What was called.
    pub method: String,
    /// For which purpose of use.
    pub purpose: String,
    /// Whose data was seen or changed: ids of patients, separated by spaces.
    pub patients: String,
    /// How many rows about patients.
    pub rows: i64,
    /// The gRPC code, by name; empty in a `BEGIN`.
    pub outcome: String,
    /// SHA-256 over the hash before and every field above.
    pub hash: Vec<u8>,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// What an entry says, before it has a place in a chain.
#[derive(Clone)]
pub struct Entry {
    record: Uuid,
    phase: &'static str,
    at: Time,
    organization: Uuid,
    subject: String,
    roles: String,
    method: String,
    purpose: String,
    patients: String,
    rows: i64,
    outcome: String,
}
caseward_core::confidential!(Entry);

impl Entry {
    /// A read begins that will take its time.
    pub fn begin(ctx: &Ctx) -> Self {
        Self::new(ctx, "BEGIN", "")
    }

    /// A read ended: what it saw, how it ended.
    pub fn end(ctx: &Ctx, outcome: &str) -> Self {
        Self::new(ctx, "END", outcome)
    }

    /// A call that needs no beginning: a change that commits with this entry, a read that was short, a refusal.
    pub fn whole(ctx: &Ctx, outcome: &str) -> Self {
        Self::new(ctx, "WHOLE", outcome)
    }

    /// What began and never ended: the process ended first. Says so in the words of the beginning.
    fn abandoned(begin: Model, at: Time) -> Self {
        Entry {
            record: begin.record,
            phase: "END",
            at,
            organization: begin.organization,
            subject: begin.subject,
            roles: begin.roles,
            method: begin.method,
            purpose: begin.purpose,
            patients: String::new(),
            rows: 0,
            outcome: "ABANDONED".to_owned(),
        }
    }

    /// Whether the record is complete with it.
    pub(crate) fn is_last(&self) -> bool {
        self.phase != "BEGIN"
    }

    fn new(ctx: &Ctx, phase: &'static str, outcome: &str) -> Self {
        let record: &Record = &ctx.record;
        Entry {
            record: record.id(),
            phase,
            at: ctx.now(),
            organization: ctx.organization(),
            subject: ctx.subject().to_owned(),
            roles: ctx.caller.roles.join(" "),
            method: record.method().to_owned(),
            purpose: ctx.caller.purpose.code().to_owned(),
            patients: record.patients_text(),
            rows: record.rows().into(),
            outcome: outcome.to_owned(),
        }
    }
}

/// The end of a chain, to which the next entry is linked.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    id: Uuid,
    seq: i64,
    hash: Vec<u8>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let id = Uuid::now_v7();
        Chain { id, seq: 0, hash: origin(id) }
    }

    /// Where it ends now.
    pub(crate) fn head(&self) -> Head {
        Head { chain: self.id, seq: self.seq, hash: self.hash.clone() }
    }

    pub(crate) fn link(&mut self, entry: Entry) -> Model {
        self.seq += 1;
        let mut row = Model {
            chain: self.id,
            seq: self.seq,
            record: entry.record,
            phase: entry.phase.to_owned(),
            at: entry.at,
            organization: entry.organization,
            subject: entry.subject,
            roles: entry.roles,
            method: entry.method,
            purpose: entry.purpose,
            patients: entry.patients,
            rows: entry.rows,
            outcome: entry.outcome,
            hash: vec![],
        };
        row.hash = row.hash_after(&self.hash);
        self.hash.clone_from(&row.hash);
        row
    }
}

/// What the first entry of a chain is linked to.
fn origin(chain: Uuid) -> Vec<u8> {
    chain.as_bytes().to_vec()
}

impl Model {
    /// Every field goes in with its length, so that no two entries read alike.
    fn hash_after(&self, previous: &[u8]) -> Vec<u8> {
        let Model {
            chain,
            seq,
            record,
            phase,
            at,
            organization,
            subject,
            roles,
            method,
            purpose,
            patients,
            rows,
            outcome,
            hash: _,
        } = self;
        let mut context = Context::new(&SHA256);
        let numbers = [*seq, at.micros(), *rows].map(i64::to_be_bytes);
        let fields: [&[u8]; 14] = [
            previous,
            chain.as_bytes(),
            &numbers[0],
            record.as_bytes(),
            phase.as_bytes(),
            &numbers[1],
            organization.as_bytes(),
            subject.as_bytes(),
            roles.as_bytes(),
            method.as_bytes(),
            purpose.as_bytes(),
            patients.as_bytes(),
            &numbers[2],
            outcome.as_bytes(),
        ];
        for field in fields {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        context.finish().as_ref().to_vec()
    }
}
