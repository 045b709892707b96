//! Loads from other systems: each record is found by its identifiers, and made or brought up to date.
//!
//! What a load needs to know is read first, in a handful of statements; then the whole is worked out in memory,
//! and written in another handful. One bad record costs that one only.
use std::collections::{BTreeSet, HashMap, HashSet};

use caseward_api::types::v1::{IngestOutcome, ingest_outcome::Action};
use caseward_core::{
    Error, Id, Kind, Result, Violations, check,
    data::{self, Identifier},
};
use caseward_store::Tx;
use sea_orm::{IntoActiveModel, entity::prelude::*};

use crate::{
    identifier,
    record::{self, Record},
    reference::References,
    term,
};

/// How many rows one statement writes: a row has up to thirty columns, a statement on SQLite 32,766 values.
const CHUNK: usize = 200;

/// Makes or updates each of `all`; says what became of each, in their order.
pub async fn ingest<E: Record>(tx: Tx, all: Vec<E::Wire>) -> Result<Vec<IngestOutcome>> {
    check::within(all.len(), 1..=200)
        .map_err(|why| Error::invalid(format!("{}s", E::FIELD), why))?;
    let mut refs = References::load();
    let identified: Vec<Vec<Identifier>> =
        all.iter().map(|from| identifiers::<E>(&tx, from, &mut refs)).collect();
    refs.resolve(&tx).await?;
    let wanted: HashSet<Identifier> = identified.iter().flatten().cloned().collect();
    let wanted: Vec<Identifier> = wanted.into_iter().collect();
    let mut owners = identifier::find(&tx, E::Kind::COLLECTION, &wanted).await?;
    let ids: BTreeSet<Uuid> = owners.values().copied().collect();
    let stored = E::of(&tx.ctx).filter(E::ID.is_in(ids));
    let stored: HashMap<Uuid, E::Model> = caseward_store::list(&tx, stored)
        .await?
        .into_iter()
        .map(|row| (E::id(&row), row))
        .collect();
    promise(&mut owners, &identified);

    // A record that refers to one that is refused is refused too, which may again be referred to.
    loop {
        refs.promise::<E::Kind>(&owners);
        let mut load = Load::<E> {
            tx: &tx,
            owners: &owners,
            stored: &stored,
            rows: HashMap::new(),
            order: vec![],
        };
        let outcomes: Vec<IngestOutcome> = all
            .iter()
            .zip(&identified)
            .map(|(from, identifiers)| load.one(from, identifiers, &mut refs))
            .collect();
        let broken: Vec<Identifier> = owners
            .iter()
            .filter(|(_, id)| !stored.contains_key(id) && !load.rows.contains_key(id))
            .map(|(identifier, _)| identifier.clone())
            .collect();
        if broken.is_empty() {
            load.store().await?;
            return Ok(outcomes);
        }
        for identifier in &broken {
            owners.remove(identifier);
            refs.withdraw::<E::Kind>(identifier);
        }
    }
}

/// The identifiers of one record. Its references are asked for on the way.
fn identifiers<E: Record>(tx: &Tx, from: &E::Wire, refs: &mut References) -> Vec<Identifier> {
    let mut row = E::blank(Uuid::nil(), &tx.ctx);
    record::take::<E>(&mut row, E::WRITABLE, from, refs, &mut Violations::default());
    std::mem::take(E::identifiers(&mut row))
}

/// Gives new records their ids, so that records of the same load can refer to them.
fn promise(owners: &mut HashMap<Identifier, Uuid>, identified: &[Vec<Identifier>]) {
    for identifiers in identified {
        let known = identifiers.iter().find_map(|each| owners.get(each)).copied();
        let id = known.unwrap_or_else(Uuid::now_v7);
        for identifier in identifiers {
            owners.entry(identifier.clone()).or_insert(id);
        }
    }
}

struct Load<'a, E: Record> {
    tx: &'a Tx,
    owners: &'a HashMap<Identifier, Uuid>,
    stored: &'a HashMap<Uuid, E::Model>,
    /// The records made or changed, with the fields that changed.
    rows: HashMap<Uuid, (E::Model, Vec<String>)>,
    /// In the order in which they came.
    order: Vec<Uuid>,
}

impl<E: Record> Load<'_, E> {
    fn one(
        &mut self,
        from: &E::Wire,
        identifiers: &[Identifier],
        refs: &mut References,
    ) -> IngestOutcome {
        let field = format!("{}.identifiers", E::FIELD);
        let mut bad = Violations::default();
        let owners: BTreeSet<Uuid> =
            identifiers.iter().filter_map(|each| self.owners.get(each)).copied().collect();
        if owners.len() > 1 {
            bad.add(&field, "belong to more than one record");
        }
        // One whose promise was taken back has none, and is refused again for what it was refused for.
        let id = owners.first().copied().unwrap_or_else(Uuid::now_v7);
        let (earlier, stored) = (self.rows.get(&id), self.stored.get(&id));
        let before = earlier.map(|(row, _)| row).or(stored);
        let mut row = before.cloned().unwrap_or_else(|| E::blank(id, &self.tx.ctx));
        let changed = record::take::<E>(&mut row, E::WRITABLE, from, refs, &mut bad);
        if E::identifiers(&mut row).is_empty() && bad.is_empty() {
            bad.add(&field, "a loaded record needs at least one");
        }
        let all: Vec<caseward_core::Violation> = bad.into();
        if !all.is_empty() {
            return data::refused(all);
        }
        let action = match before {
            None => Action::Created,
            Some(_) if changed.is_empty() => Action::Unchanged,
            Some(_) => Action::Updated,
        };
        if action != Action::Unchanged {
            let mut fields = match self.rows.remove(&id) {
                Some((_, fields)) => fields,
                None => {
                    self.order.push(id);
                    vec![]
                }
            };
            fields.extend(changed);
            self.rows.insert(id, (row, fields));
        }
        let name = Id::<E::Kind>::from(id).to_string();
        IngestOutcome { action: action.into(), name, violations: vec![] }
    }

    /// Writes what was made and what changed.
    async fn store(mut self) -> Result<()> {
        let (mut made, mut claims, mut terms, mut stale) = (vec![], vec![], vec![], vec![]);
        for id in std::mem::take(&mut self.order) {
            let Some((mut row, mut fields)) = self.rows.remove(&id) else { continue };
            let identifiers = E::identifiers(&mut row).clone();
            let Some(before) = self.stored.get(&id) else {
                terms.push((id, record::terms::<E>(&row)));
                claims.push((id, identifiers));
                record::created::<E>(self.tx, id);
                made.push(row.into_active_model().reset_all());
                continue;
            };
            let mut before = before.clone();
            let known = E::identifiers(&mut before);
            let new = identifiers.into_iter().filter(|each| !known.contains(each)).collect();
            claims.push((id, new));
            if record::terms::<E>(&row) != record::terms::<E>(&before) {
                stale.push(id);
                terms.push((id, record::terms::<E>(&row)));
            }
            fields.sort();
            fields.dedup();
            let mut row = caseward_store::update::<E>(self.tx, row).await?;
            record::updated::<E>(self.tx, id, *E::version(&mut row).0, fields);
        }
        let mut made = made.into_iter().peekable();
        while made.peek().is_some() {
            E::insert_many(made.by_ref().take(CHUNK)).exec_without_returning(&self.tx.db).await?;
        }
        match identifier::claim::<E>(self.tx, claims).await {
            Err(Error::AlreadyExists(_)) => {
                return Err(Error::Unavailable(
                    "another load made one of these records; try again",
                ));
            }
            done => done?,
        }
        if !stale.is_empty() {
            term::remove(self.tx, E::Kind::COLLECTION, &stale).await?;
        }
        term::put(self.tx, E::Kind::COLLECTION, terms).await
    }
}
