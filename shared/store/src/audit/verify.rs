//! Whether the log still says what was written: every entry linked anew, and held against what was exported.
use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use caseward_core::{Result, Time};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*, sea_query::ExprTrait};
use time::Duration;

use super::{
    Access, AccessColumn, AccessEntity, Column, Entity, Heads, Model, access_rows, origin,
};
use crate::Store;

/// After this long a chain was announced, or its writer was none of ours.
const ANNOUNCED: Duration = Duration::seconds(120);

/// How many rows are read at a time.
const BATCH: u64 = 2000;

/// What a walk over the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// How many entries were read.
    pub entries: u64,
    /// How many chains they form.
    pub chains: u64,
    /// How many statements of heads the log was held against.
    pub statements: u64,
    /// How many entries came after the last exported head of their chain: what was cut there would not show.
    pub unexported: u64,
    /// The first bad entry of each broken chain, and what is wrong with it.
    pub faults: Vec<Fault>,
    /// What is wrong beside the chains: with the statements, or with the index of accesses.
    pub others: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.others.is_empty()
    }
}

/// The first bad entry of a chain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The chain.
    pub chain: Uuid,
    /// The place in it: the first entry that is not as it was written, where one entry tells; otherwise the first
    /// that may not be.
    pub seq: i64,
    /// What is wrong.
    pub reason: &'static str,
}

/// Walks every chain, links every entry anew, and compares with what was exported of it.
pub async fn verify(store: &Store, heads: &Heads) -> Result<Verdict> {
    let mut walk = Walk::new(heads);
    let mut last: Option<(Uuid, i64)> = None;
    loop {
        let mut select =
            Entity::find().order_by_asc(Column::Chain).order_by_asc(Column::Seq).limit(BATCH);
        if let Some((chain, seq)) = last {
            select = select.filter(
                Column::Chain.gt(chain).or(Column::Chain.eq(chain).and(Column::Seq.gt(seq))),
            );
        }
        let rows = select.all(store.reader()).await?;
        last = rows.last().map(|row| (row.chain, row.seq));
        if last.is_none() {
            let last = walk.place.take();
            walk.leave(last);
            break;
        }
        for row in rows {
            walk.step(row);
        }
    }
    let index = index(store, &walk.ends).await?;
    Ok(walk.end(index))
}

/// A walk along the entries, chain by chain.
struct Walk<'a> {
    heads: &'a Heads,
    verdict: Verdict,
    /// Where the walk stands.
    place: Option<Place>,
    /// Where each chain that was walked ended.
    ends: BTreeMap<Uuid, i64>,
    /// What the index of accesses should hold.
    accesses: Sum,
}

/// The entry that was read last.
struct Place {
    chain: Uuid,
    seq: i64,
    hash: Vec<u8>,
    /// The last entry that was exported, and is as it was.
    exported: i64,
    /// Whether something was wrong in the chain already: the first bad entry is what counts.
    broken: bool,
}

impl<'a> Walk<'a> {
    fn new(heads: &'a Heads) -> Self {
        let verdict = Verdict {
            statements: heads.statements,
            others: heads.faults.clone(),
            ..Verdict::default()
        };
        Walk { heads, verdict, place: None, ends: BTreeMap::new(), accesses: Sum::default() }
    }

    fn step(&mut self, row: Model) {
        self.verdict.entries += 1;
        let mut place = match self.place.take() {
            Some(place) if place.chain == row.chain => place,
            before => {
                self.leave(before);
                self.enter(row.chain, row.seq)
            }
        };
        let said = self.heads.chains.get(&row.chain).and_then(|said| said.get(&row.seq));
        if row.seq != place.seq + 1 {
            self.fault(&mut place, row.seq, "an entry before it is missing");
        } else if row.hash != row.hash_after(&place.hash) {
            self.fault(&mut place, row.seq, "it was changed after it was written");
        } else if said.is_some_and(|said| *said != row.hash) {
            let from = place.exported + 1;
            self.fault(
                &mut place,
                from,
                "the chain was rewritten from here on, or from a later entry",
            );
        } else if said.is_some() {
            place.exported = row.seq;
        }
        for access in access_rows(&row) {
            self.accesses.add(&access);
        }
        (place.seq, place.hash) = (row.seq, row.hash);
        self.place = Some(place);
    }

    fn enter(&mut self, chain: Uuid, seq: i64) -> Place {
        self.verdict.chains += 1;
        let hash = origin(chain);
        let mut place = Place { chain, seq: 0, hash, exported: 0, broken: false };
        let began = chain.get_timestamp().map(|at| {
            let (seconds, _) = at.to_unix();
            Time::from_micros((seconds as i64).saturating_mul(1_000_000))
        });
        let late = |last: Time| began.is_none_or(|began| began < last - ANNOUNCED);
        if !self.heads.known.contains(&chain) && self.heads.last.is_some_and(late) {
            self.fault(&mut place, seq, "no writer of ours announced the chain");
        }
        place
    }

    fn leave(&mut self, place: Option<Place>) {
        let Some(mut place) = place else { return };
        let said = self.heads.chains.get(&place.chain).and_then(|said| said.keys().last());
        let exported = said.copied().unwrap_or(0);
        if exported > place.seq {
            let missing = place.seq + 1;
            self.fault(&mut place, missing, "the chain was cut before it");
        }
        if self.heads.statements > 0 {
            self.verdict.unexported += u64::try_from(place.seq - exported).unwrap_or(0);
        }
        self.ends.insert(place.chain, place.seq);
    }

    fn end(mut self, index: Sum) -> Verdict {
        for (chain, said) in &self.heads.chains {
            let wrote = said.keys().last().is_some_and(|seq| *seq > 0);
            if wrote && !self.ends.contains_key(chain) {
                let reason = "the whole chain is missing";
                self.verdict.faults.push(Fault { chain: *chain, seq: 1, reason });
            }
        }
        if index != self.accesses {
            let why = "the index of accesses does not fit the log".to_owned();
            self.verdict.others.push(why);
        }
        self.verdict
    }

    fn fault(&mut self, place: &mut Place, seq: i64, reason: &'static str) {
        if !place.broken {
            place.broken = true;
            self.verdict.faults.push(Fault { chain: place.chain, seq, reason });
        }
    }
}

/// A set of rows as one number, in whichever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    fn add(&mut self, row: &Access) {
        let mut bytes = [0; 56];
        bytes[..16].copy_from_slice(row.patient.as_bytes());
        bytes[16..32].copy_from_slice(row.record.as_bytes());
        bytes[32..48].copy_from_slice(row.chain.as_bytes());
        bytes[48..].copy_from_slice(&row.seq.to_be_bytes());
        let hash = digest(&SHA256, &bytes);
        let (half, _) = hash.as_ref().split_first_chunk().unwrap_or((&[0; 16], &[]));
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*half));
        self.rows += 1;
    }
}

/// What the index of accesses holds of the entries that were walked; the log may have grown since.
async fn index(store: &Store, ends: &BTreeMap<Uuid, i64>) -> Result<Sum> {
    let mut sum = Sum::default();
    let mut last: Option<Access> = None;
    loop {
        let mut select = AccessEntity::find()
            .order_by_asc(AccessColumn::Patient)
            .order_by_asc(AccessColumn::Record)
            .order_by_asc(AccessColumn::Chain)
            .order_by_asc(AccessColumn::Seq)
            .limit(BATCH);
        if let Some(last) = &last {
            let keys = [
                (AccessColumn::Chain, last.chain),
                (AccessColumn::Record, last.record),
                (AccessColumn::Patient, last.patient),
            ];
            let later =
                keys.into_iter().fold(AccessColumn::Seq.gt(last.seq), |later, (key, id)| {
                    key.gt(id).or(key.eq(id).and(later))
                });
            select = select.filter(later);
        }
        let rows = select.all(store.reader()).await?;
        for row in &rows {
            if ends.get(&row.chain).is_some_and(|end| row.seq <= *end) {
                sum.add(row);
            }
        }
        last = match rows.into_iter().last() {
            None => return Ok(sum),
            last => last,
        };
    }
}
