//! Loads from other systems: each record is found by its identifiers, and made or brought up to date.
//!
//! What a load needs to know is read first, in a handful of statements; then the whole is worked out in memory,
//! and written in another handful. One bad record costs that one only.
use std::collections::{BTreeSet, HashMap, HashSet};

use caseward_api::types::v1::{IngestOutcome, Violation, ingest_outcome::Action};
use caseward_core::{
    Error, Id, Kind, Result, Violations, check,
    data::{self, Identifier},
};
use caseward_store::Tx;
use sea_orm::{IntoActiveModel, entity::prelude::*};

use crate::{
    identifier::{self, Said},
    likeness,
    record::{self, Record},
    reference::References,
    term,
    word::{self, Words},
};

/// How many rows one statement writes: a row has up to thirty columns, a statement on SQLite 32,766 values.
const CHUNK: usize = 200;

/// Makes or updates each of `all`; says what became of each, in their order.
pub async fn ingest<E: Record>(tx: Tx, all: Vec<E::Wire>) -> Result<Vec<IngestOutcome>> {
    check::within(all.len(), 1..=200)
        .map_err(|why| Error::invalid(format!("{}s", E::FIELD), why))?;
    let mut refs = References::load();
    let mut newcomers: Vec<Newcomer> =
        all.iter().map(|from| newcomer::<E>(&tx, from, &mut refs)).collect();
    refs.resolve(&tx).await?;
    let wanted: HashSet<Identifier> = newcomers.iter().flat_map(|one| one.order.clone()).collect();
    let wanted: Vec<Identifier> = wanted.into_iter().collect();
    let mut owners = identifier::find(&tx, E::Kind::COLLECTION, &wanted).await?;
    let ids: BTreeSet<Uuid> = owners.values().copied().collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let said = identifier::words(&tx, E::Kind::COLLECTION, &ids).await?;
    let stored = E::of(&tx.ctx).filter(E::ID.is_in(ids));
    let stored: HashMap<Uuid, E::Model> = caseward_store::list(&tx, stored)
        .await?
        .into_iter()
        .map(|row| (E::id(&row), row))
        .collect();
    recognize::<E>(&tx, &mut newcomers, &all, &mut owners, &stored, &mut refs);

    // A record that refers to one that is refused is refused too, which may again be referred to.
    loop {
        refs.promise::<E::Kind>(&owners);
        let mut load = Load::<E> {
            tx: &tx,
            stored: &stored,
            rows: HashMap::new(),
            order: vec![],
            said: said.clone(),
            news: BTreeSet::new(),
        };
        let outcomes: Vec<IngestOutcome> = all
            .iter()
            .zip(&newcomers)
            .map(|(from, newcomer)| load.one(from, newcomer, &mut refs))
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

/// Which record it is that a source sends.
struct Newcomer {
    /// Its identifiers as the source gives them, the one that it counts by first.
    order: Vec<Identifier>,
    identity: Identity,
}

enum Identity {
    /// One that is here, or a new one: with the identifiers that are its own, the first of which tells its source from
    /// others, and whether others have the rest.
    Known { id: Uuid, own: Vec<Identifier>, shares: bool },
    /// None, and why.
    None(&'static str),
    /// None, for all that it is known by is another's.
    Taken,
}

/// Reads what a source sends. What it refers to is asked for on the way.
fn newcomer<E: Record>(tx: &Tx, from: &E::Wire, refs: &mut References) -> Newcomer {
    let (mut row, mut bad) = (E::blank(Uuid::nil(), &tx.ctx), Violations::default());
    for field in E::WRITABLE {
        record::take_one::<E>(&mut row, field, from, refs, &mut bad);
    }
    // One that is refused whatever it refers to has no claim to anything.
    let order: Vec<Identifier> = match bad.is_empty() {
        true => E::given(from).iter().cloned().map(Into::into).collect(),
        false => vec![],
    };
    Newcomer { order, identity: Identity::None("a loaded record needs at least one") }
}

/// Finds out which record each newcomer is, and gives the new ones their ids, so that records of the same load can refer
/// to them. An identifier stays with whoever had it first.
fn recognize<E: Record>(
    tx: &Tx,
    newcomers: &mut [Newcomer],
    all: &[E::Wire],
    owners: &mut HashMap<Identifier, Uuid>,
    stored: &HashMap<Uuid, E::Model>,
    refs: &mut References,
) {
    let mut made: HashMap<Uuid, E::Model> = HashMap::new();
    for (newcomer, from) in newcomers.iter_mut().zip(all) {
        if newcomer.order.is_empty() {
            continue;
        }
        let mut row = E::blank(Uuid::nil(), &tx.ctx);
        record::take::<E>(&mut row, E::WRITABLE, from, refs, &mut Violations::default());
        let mut shared: Vec<(Uuid, Vec<Identifier>)> = vec![];
        for each in &newcomer.order {
            let Some(owner) = owners.get(each) else { continue };
            match shared.iter_mut().find(|(id, _)| id == owner) {
                Some((_, all)) => all.push(each.clone()),
                None => shared.push((*owner, vec![each.clone()])),
            }
        }
        let (ids, mut candidates): (Vec<_>, Vec<_>) = shared
            .into_iter()
            .filter_map(|(id, all)| Some((id, (made.get(&id).or(stored.get(&id))?.clone(), all))))
            .unzip();
        let id = match likeness::same::<E>(&mut row, &newcomer.order, &mut candidates) {
            Ok(found) => found.map(|at| ids[at]),
            Err(likeness::Several) => {
                newcomer.identity = Identity::None("belong to more than one record");
                continue;
            }
        };
        let mine = |each: &&Identifier| owners.get(*each).is_none_or(|owner| Some(*owner) == id);
        let own: Vec<Identifier> = newcomer.order.iter().filter(mine).cloned().collect();
        if own.is_empty() {
            newcomer.identity = Identity::Taken;
            continue;
        }
        let shares = own.len() < newcomer.order.len();
        let id = id.unwrap_or_else(|| {
            let id = Uuid::now_v7();
            E::identifiers(&mut row).retain(|each| own.contains(each));
            made.insert(id, row);
            id
        });
        owners.extend(own.iter().map(|each| (each.clone(), id)));
        newcomer.identity = Identity::Known { id, own, shares };
    }
}

struct Load<'a, E: Record> {
    tx: &'a Tx,
    stored: &'a HashMap<Uuid, E::Model>,
    /// The records made or changed, with the fields that changed.
    rows: HashMap<Uuid, (E::Model, Vec<String>)>,
    /// In the order in which they came.
    order: Vec<Uuid>,
    /// What the sources of each record said last.
    said: HashMap<Uuid, Said>,
    /// Of which records which sources say something else than last.
    news: BTreeSet<(Uuid, Identifier)>,
}

impl<E: Record> Load<'_, E> {
    fn one(&mut self, from: &E::Wire, newcomer: &Newcomer, refs: &mut References) -> IngestOutcome {
        let field = format!("{}.identifiers", E::FIELD);
        let (id, own, shares) = match &newcomer.identity {
            Identity::Known { id, own, shares } => (*id, own.as_slice(), *shares),
            Identity::None(_) | Identity::Taken => (Uuid::nil(), &[][..], true),
        };
        let mut bad = Violations::default();
        let mut row = E::blank(id, &self.tx.ctx);
        record::take::<E>(&mut row, E::WRITABLE, from, refs, &mut bad);
        if let (Identity::None(why), true) = (&newcomer.identity, bad.is_empty()) {
            bad.add(&field, *why);
        }
        let description = "belong to another record, which keeps them".to_owned();
        let left_out = shares.then_some(Violation { field, description }).into_iter().collect();
        if matches!(newcomer.identity, Identity::Taken) && bad.is_empty() {
            return IngestOutcome { left_out, ..data::taken(Action::Ignored, "") };
        }
        let before = self.rows.get(&id).map(|(row, _)| row).or(self.stored.get(&id)).cloned();
        let now = Words::said::<E>(from, refs, &E::blank(Uuid::nil(), &self.tx.ctx));
        let mut changed = vec![];
        match &before {
            // In the order in which they are kept, so that a second load finds them so.
            None => E::identifiers(&mut row).retain(|each| own.contains(each)),
            Some(before) if bad.is_empty() => {
                row = before.clone();
                changed = self.hear(&mut row, from, own, &now, refs);
                E::check(&mut row, &mut bad);
            }
            Some(_) => {}
        }
        if !bad.is_empty() {
            return data::refused(bad.into());
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
        let said = self.said.entry(id).or_default();
        if said.get(&own[0]) != Some(&now) {
            said.insert(own[0].clone(), now);
            self.news.insert((id, own[0].clone()));
        }
        let name = Id::<E::Kind>::from(id);
        IngestOutcome { left_out, ..data::taken(action, name) }
    }

    /// Takes into a record what is news of its source; the fields that changed.
    fn hear(
        &self,
        row: &mut E::Model,
        from: &E::Wire,
        own: &[Identifier],
        now: &Words,
        refs: &mut References,
    ) -> Vec<String> {
        let stands = Words::of::<E>(row, &E::blank(Uuid::nil(), &self.tx.ctx));
        let (none, nobody) = (Words::default(), Said::default());
        let said = self.said.get(&E::id(row)).unwrap_or(&nobody);
        let last = said.get(&own[0]).unwrap_or(&none);
        let others = said.iter().filter(|(source, _)| **source != own[0]);
        let others: Vec<&Words> = others.map(|(_, words)| words).collect();
        let mut changed = vec![];
        for field in word::fields::<E>() {
            if now.are_news(field, last, &stands, &others)
                && record::take_one::<E>(row, field, from, refs, &mut Violations::default())
            {
                changed.push(field.to_owned());
            }
        }
        // What another source knows the record by is kept.
        let known = E::identifiers(row).clone();
        identifier::join(E::identifiers(row), own);
        if *E::identifiers(row) != known {
            changed.push("identifiers".to_owned());
        }
        changed
    }

    /// Writes what was made, what changed, and what was said.
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
        let claimed: HashSet<Identifier> =
            claims.iter().flat_map(|(_, identifiers)| identifiers.clone()).collect();
        match identifier::claim::<E>(self.tx, claims, &self.said).await {
            Err(Error::AlreadyExists(_)) => {
                return Err(Error::Unavailable(
                    "another load made one of these records; try again",
                ));
            }
            done => done?,
        }
        for (id, source) in self.news.into_iter().filter(|(_, source)| !claimed.contains(source)) {
            let Some(words) = self.said.get_mut(&id).and_then(|said| said.remove(&source)) else {
                continue;
            };
            identifier::note::<E>(self.tx, source, words).await?;
        }
        if !stale.is_empty() {
            term::remove(self.tx, E::Kind::COLLECTION, &stale).await?;
        }
        term::put(self.tx, E::Kind::COLLECTION, terms).await
    }
}
