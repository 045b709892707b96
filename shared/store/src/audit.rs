//! The audit log: append-only, hash-chained per writer, on disk before an answer leaves.
use aws_lc_rs::digest::{Context, SHA256};
use caseward_core::{Ctx, Record, Result, Time};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*, sea_query::ExprTrait};

use crate::Store;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
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

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// What an entry says, before it has a place in a chain.
#[derive(Clone, Debug)]
pub struct Entry {
    record: Uuid,
    phase: &'static str,
    at: Time,
    organization: Uuid,
    subject: String,
    roles: String,
    method: &'static str,
    purpose: &'static str,
    patients: String,
    rows: i64,
    outcome: String,
}

impl Entry {
    /// A read begins. On disk before the handler runs.
    pub fn begin(ctx: &Ctx) -> Self {
        Self::new(ctx, "BEGIN", "")
    }

    /// A read ended: what it saw, how it ended.
    pub fn end(ctx: &Ctx, outcome: &str) -> Self {
        Self::new(ctx, "END", outcome)
    }

    /// A call that needed no beginning: a change that commits with this entry, or a refusal.
    pub fn whole(ctx: &Ctx, outcome: &str) -> Self {
        Self::new(ctx, "WHOLE", outcome)
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
            method: record.method(),
            purpose: ctx.caller.purpose.code(),
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
        Chain { id, seq: 0, hash: id.as_bytes().to_vec() }
    }

    pub(crate) fn link(&mut self, entry: Entry) -> ActiveModel {
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
            method: entry.method.to_owned(),
            purpose: entry.purpose.to_owned(),
            patients: entry.patients,
            rows: entry.rows,
            outcome: entry.outcome,
            hash: vec![],
        };
        row.hash = row.hash_after(&self.hash);
        self.hash.clone_from(&row.hash);
        let mut active = ActiveModel::from(row);
        active = active.reset_all();
        active
    }
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

/// What a walk over the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// How many entries were read.
    pub entries: u64,
    /// How many chains they form.
    pub chains: u64,
    /// The first bad entry of each broken chain, and what is wrong with it.
    pub faults: Vec<Fault>,
}

/// The first bad entry of a chain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The chain.
    pub chain: Uuid,
    /// The place in it.
    pub seq: i64,
    /// What is wrong.
    pub reason: &'static str,
}

/// Walks every chain and links every entry anew.
pub async fn verify(store: &Store) -> Result<Verdict> {
    const BATCH: u64 = 2000;
    let mut verdict = Verdict::default();
    let mut last: Option<(Uuid, i64, Vec<u8>, bool)> = None;
    loop {
        let mut select =
            Entity::find().order_by_asc(Column::Chain).order_by_asc(Column::Seq).limit(BATCH);
        if let Some((chain, seq, ..)) = &last {
            select = select.filter(
                Column::Chain.gt(*chain).or(Column::Chain.eq(*chain).and(Column::Seq.gt(*seq))),
            );
        }
        let rows = select.all(store.reader()).await?;
        if rows.is_empty() {
            return Ok(verdict);
        }
        for row in rows {
            verdict.entries += 1;
            let (seq, hash, broken) = match last.take() {
                Some((chain, seq, hash, broken)) if chain == row.chain => (seq, hash, broken),
                _ => {
                    verdict.chains += 1;
                    (0, row.chain.as_bytes().to_vec(), false)
                }
            };
            let reason = if row.seq != seq + 1 {
                Some("an entry before it is missing")
            } else if row.hash != row.hash_after(&hash) {
                Some("it was changed after it was written")
            } else {
                None
            };
            if let (Some(reason), false) = (reason, broken) {
                verdict.faults.push(Fault { chain: row.chain, seq: row.seq, reason });
            }
            last = Some((row.chain, row.seq, row.hash, broken || reason.is_some()));
        }
    }
}

/// Which accesses to a patient's data somebody wants to know of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The tenant.
    pub organization: Uuid,
    /// Whose data.
    pub patient: Uuid,
    /// Only those by this subject, where one is named.
    pub actor: String,
    /// Only those since then.
    pub from: Option<Time>,
    /// Only those before then.
    pub until: Option<Time>,
    /// Only those before this call.
    pub before: Option<Uuid>,
    /// How many at most.
    pub most: u64,
}

/// Who saw or changed the data of a patient, latest first.
pub async fn accesses(store: &Store, wanted: Wanted) -> Result<Vec<Model>> {
    let mut select = Entity::find()
        .filter(Column::Organization.eq(wanted.organization))
        .filter(Column::Phase.is_in(["END", "WHOLE"]))
        .filter(Column::Patients.contains(wanted.patient.to_string()))
        .order_by_desc(Column::Record)
        .limit(wanted.most);
    if !wanted.actor.is_empty() {
        select = select.filter(Column::Subject.eq(wanted.actor));
    }
    if let Some(from) = wanted.from {
        select = select.filter(Column::At.gte(from));
    }
    if let Some(until) = wanted.until {
        select = select.filter(Column::At.lt(until));
    }
    if let Some(before) = wanted.before {
        select = select.filter(Column::Record.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}
