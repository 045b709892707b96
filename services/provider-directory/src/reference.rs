//! What records name: other records, by name or, in a load, by identifier.
use std::collections::{HashMap, HashSet};

use caseward_core::{
    Id, Kind, Name, Result, Violations, check,
    data::{Identifier, Json},
};
use caseward_store::{Resource, Scope};
use sea_orm::{QuerySelect, entity::prelude::*};

use crate::{
    healthcare_service, identifier, insurance_plan, location, organization, practitioner,
    practitioner_role, record::Record,
};

/// How many ids one statement asks for.
const CHUNK: usize = 500;

/// The records that a request names. A request is read twice: once to learn what it names, and, when that was
/// looked up in one go, once more with the answers.
#[derive(Debug, Default)]
pub struct References {
    load: bool,
    resolved: bool,
    asked: HashSet<Key>,
    known: HashMap<Key, Uuid>,
}

/// One way to name a record of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(&'static str, Uuid),
    Identifier(&'static str, Identifier),
}

impl References {
    /// The references of a load, where a record may be named by its identifier.
    pub fn load() -> Self {
        References { load: true, ..References::default() }
    }

    /// The one record that `name` names, or none where it is empty.
    pub fn one<K: Kind>(&mut self, path: &str, name: &str, bad: &mut Violations) -> Option<Id<K>> {
        if name.is_empty() {
            return None;
        }
        let Some(key) = self.key::<K>(name) else {
            bad.add(path, format!("wants `{}`", Id::<K>::pattern()));
            return None;
        };
        match self.known.get(&key) {
            Some(id) => return Some(Id::from(*id)),
            None if self.resolved => bad.add(path, "names no record of the directory"),
            None => drop(self.asked.insert(key)),
        }
        None
    }

    /// The records that `names` name, each once.
    pub fn many<K: Kind>(
        &mut self,
        path: &str,
        names: &[String],
        most: usize,
        bad: &mut Violations,
    ) -> Json<Vec<Id<K>>> {
        if names.len() > most {
            bad.add(path, format!("wants 0 to {most} members"));
            return Json::default();
        }
        let mut ids = Vec::with_capacity(names.len());
        for (n, name) in names.iter().enumerate() {
            if name.is_empty() {
                bad.add(format!("{path}[{n}]"), "is required");
            }
            let id = self.one(&format!("{path}[{n}]"), name, bad);
            ids.extend(id.filter(|id| !ids.contains(id)));
        }
        Json(ids)
    }

    /// Looks up everything that was asked for.
    pub async fn resolve(&mut self, scope: &Scope) -> Result<()> {
        self.confirm::<organization::Entity>(scope).await?;
        self.confirm::<location::Entity>(scope).await?;
        self.confirm::<practitioner::Entity>(scope).await?;
        self.confirm::<practitioner_role::Entity>(scope).await?;
        self.confirm::<healthcare_service::Entity>(scope).await?;
        self.confirm::<insurance_plan::Entity>(scope).await?;
        self.resolved = true;
        Ok(())
    }

    /// Makes `identifiers` name the records that this very request makes.
    pub fn promise<K: Kind>(&mut self, identifiers: &HashMap<Identifier, Uuid>) {
        let keys = identifiers
            .iter()
            .map(|(each, id)| (Key::Identifier(K::COLLECTION, each.clone()), *id));
        self.known.extend(keys);
    }

    /// Takes a promise back.
    pub fn withdraw<K: Kind>(&mut self, identifier: &Identifier) {
        self.known.remove(&Key::Identifier(K::COLLECTION, identifier.clone()));
    }

    fn key<K: Kind>(&self, name: &str) -> Option<Key> {
        let by_identifier = name
            .strip_prefix(K::COLLECTION)
            .and_then(|rest| rest.strip_prefix("?identifier="))
            .filter(|_| self.load);
        if let Some(identifier) = by_identifier {
            let one = check::identifier("", identifier).ok().flatten()?;
            return Some(Key::Identifier(K::COLLECTION, one));
        }
        let id = Id::<K>::parse("", name).ok()?;
        Some(Key::Id(K::COLLECTION, id.uuid()))
    }

    async fn confirm<E: Record>(&mut self, scope: &Scope) -> Result<()> {
        let collection = E::Kind::COLLECTION;
        let (mut ids, mut identifiers) = (vec![], vec![]);
        for key in &self.asked {
            match key {
                Key::Id(of, id) if *of == collection => ids.push(*id),
                Key::Identifier(of, identifier) if *of == collection => {
                    identifiers.push(identifier.clone());
                }
                _ => {}
            }
        }
        for chunk in ids.chunks(CHUNK) {
            let found = existing::<E>(scope, chunk).await?;
            self.known.extend(found.into_iter().map(|id| (Key::Id(collection, id), id)));
        }
        let found = identifier::find(scope, collection, &identifiers).await?;
        self.known
            .extend(found.into_iter().map(|(each, id)| (Key::Identifier(collection, each), id)));
        Ok(())
    }
}

/// Those of `ids` that are records the caller may see.
async fn existing<E: Resource>(scope: &Scope, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    Ok(E::of(&scope.ctx)
        .filter(E::ID.is_in(ids.iter().copied()))
        .select_only()
        .column(E::ID)
        .into_tuple()
        .all(&scope.db)
        .await?)
}
