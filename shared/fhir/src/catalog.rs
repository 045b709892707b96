//! Which entries are the same resource, and by which identifiers our services know it.
//!
//! Entries with the same full URL, or the same type and id, are one resource: the one updated last is what it is now,
//! and the one read last where they do not say when they were.
//! So are entries of different files that share a business identifier and a name. Everything else is apart: within one
//! file, resources with ids of their own are different whatever identifiers they share. An identifier that different
//! resources carry identifies none of them and is left out. What nothing else identifies is known by what it says.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use caseward_api::types::v1::Identifier;
use serde_json::Value;

use crate::{
    Entry, moment,
    node::{Node, Notes},
    reference::{self, Key},
};

/// One resource of the input.
pub(crate) struct Resource {
    /// Its type.
    pub(crate) resource_type: Arc<str>,
    /// The entries it was read from, as positions in the input; the last says what it is.
    pub(crate) entries: Vec<usize>,
    /// What our services know it by, the surest first; never empty.
    pub(crate) identifiers: Vec<Identifier>,
    primary: Option<Key>,
    label: Label,
}
caseward_core::confidential!(Resource);

/// Every resource of the input, and how to find it.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) resources: Vec<Resource>,
    by_key: HashMap<Key, Vec<usize>>,
    in_file: HashMap<(Arc<str>, Key), Vec<usize>>,
    notes: Vec<Notes>,
}
caseward_core::confidential!(Catalog);

/// What a person would tell two resources apart by.
#[derive(Clone, Default, PartialEq, Eq)]
struct Label {
    name: String,
    birth_date: String,
}
caseward_core::confidential!(Label);

impl Label {
    fn of(json: &Value) -> Label {
        let name = match json.get("name") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Array(names)) => {
                let part = |part| names.iter().find_map(|name| name.get(part)?.as_str());
                part("family").or_else(|| part("text")).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        let birth_date = json.get("birthDate").and_then(Value::as_str).unwrap_or_default();
        Label { name: name.trim().to_lowercase(), birth_date: birth_date.to_owned() }
    }

    /// Whether both can be labels of one resource: nothing that both say differs.
    fn agrees(&self, other: &Label) -> bool {
        let agree = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        agree(&self.name, &other.name) && agree(&self.birth_date, &other.birth_date)
    }
}

impl Catalog {
    /// Sorts out the entries. `source` names the server they come from, where the caller knows it.
    pub(crate) fn of(entries: &[Entry], source: &str) -> Catalog {
        let mut catalog = Catalog::default();
        let mut sharers: HashMap<Key, Vec<usize>> = HashMap::new();
        for (n, entry) in entries.iter().enumerate() {
            let notes = Notes::default();
            let business = business(entry, &notes);
            catalog.notes.push(notes);
            let keys = keys(entry);
            let label = Label::of(&entry.json);
            let known = catalog.same(entry, entries, &keys, &business, &label, &sharers);
            let at = known.unwrap_or(catalog.resources.len());
            if known.is_none() {
                catalog.resources.push(Resource {
                    resource_type: entry.resource_type.as_str().into(),
                    entries: vec![],
                    identifiers: vec![],
                    primary: keys.first().cloned(),
                    label: Label::default(),
                });
            }
            let resource = &mut catalog.resources[at];
            match resource.entries.last() {
                Some(last) if is_older(entry, &entries[*last]) => {
                    resource.entries.insert(resource.entries.len() - 1, n);
                }
                _ => {
                    resource.entries.push(n);
                    resource.label = label;
                }
            }
            for key in keys.iter().chain(&business) {
                note_once(catalog.by_key.entry(key.clone()).or_default(), at);
                let in_file = (entry.file.clone(), key.clone());
                note_once(catalog.in_file.entry(in_file).or_default(), at);
            }
            for key in keys.into_iter().take(1).chain(business) {
                note_once(sharers.entry(key.clone()).or_default(), at);
                let identifier = key.identifier(source);
                let identifiers = &mut catalog.resources[at].identifiers;
                if !identifiers.contains(&identifier) {
                    identifiers.push(identifier);
                }
            }
        }
        catalog.keep_apart(sharers, entries, source);
        catalog.name_the_rest(entries);
        catalog
    }

    /// Gives a resource that nothing identifies the one thing that is its own: what it says.
    fn name_the_rest(&mut self, entries: &[Entry]) {
        for resource in self.resources.iter_mut().filter(|one| one.identifiers.is_empty()) {
            let n = resource.entries[resource.entries.len() - 1];
            let Entry { json, resource_type, .. } = &entries[n];
            resource.identifiers.push(reference::of_content(resource_type, json));
            Node::root(json, resource_type, &self.notes[n]).warn(
                "has no identity of its own; when it says something else, it is taken as another",
            );
        }
    }

    /// The resource that the entry is another version of, if it is in the catalog.
    fn same(
        &self,
        entry: &Entry,
        entries: &[Entry],
        keys: &[Key],
        business: &[Key],
        label: &Label,
        sharers: &HashMap<Key, Vec<usize>>,
    ) -> Option<usize> {
        let version = |json: &Value| json.get("version").map(Value::to_string);
        let of_type = |at: &&usize| {
            let Resource { resource_type, entries: known, .. } = &self.resources[**at];
            // Every version of a form stays: answers were given to its words.
            **resource_type == *entry.resource_type
                && (entry.resource_type != "Questionnaire"
                    || known.iter().all(|n| version(&entries[*n].json) == version(&entry.json)))
        };
        let shares = |at: usize| {
            business.iter().any(|key| sharers.get(key).is_some_and(|all| all.contains(&at)))
        };
        if let Some(key) = keys.first() {
            let mut same = self.by_key.get(key).into_iter().flatten().filter(of_type).copied();
            // A URI is unique, and so is an id within a file. Two servers may each have a `Patient/1`.
            let same = same.find(|at| {
                matches!(key, Key::Uri(_))
                    || business.is_empty()
                    || self.resources[*at].entries.iter().any(|n| entries[*n].file == entry.file)
                    || shares(*at)
                    || self.resources[*at].label.agrees(label)
            });
            if same.is_some() {
                return same;
            }
        }
        let all = business.iter().filter_map(|key| sharers.get(key)).flatten().filter(of_type);
        let mut all = all.copied();
        all.find(|at| {
            let resource = &self.resources[*at];
            let elsewhere = resource.entries.iter().all(|n| entries[*n].file != entry.file);
            let may = keys.is_empty() || resource.primary.is_none() || elsewhere;
            may && resource.label.agrees(label)
        })
    }

    /// Takes away the identifiers that several resources carry.
    fn keep_apart(&mut self, sharers: HashMap<Key, Vec<usize>>, entries: &[Entry], source: &str) {
        let shared: BTreeMap<Key, Vec<usize>> =
            sharers.into_iter().filter(|(_, all)| all.len() > 1).collect();
        for (key, all) in shared {
            let mut by_type: HashMap<&str, Vec<usize>> = HashMap::new();
            for at in &all {
                by_type.entry(&self.resources[*at].resource_type).or_default().push(*at);
            }
            let identifier = key.identifier(source);
            let apart: Vec<usize> =
                by_type.into_values().filter(|all| all.len() > 1).flatten().collect();
            for at in apart {
                let resource = &mut self.resources[at];
                resource.identifiers.retain(|own| *own != identifier);
                let n = resource.entries[resource.entries.len() - 1];
                let member = if matches!(key, Key::Business(..)) { "identifier" } else { "id" };
                let node = Node::root(&entries[n].json, &entries[n].resource_type, &self.notes[n]);
                node.warn_at(
                    member,
                    "is shared by different resources and identifies none of them",
                );
            }
        }
    }

    /// What was noted about an entry while it was sorted in.
    pub(crate) fn take_notes(&mut self, entry: usize) -> Notes {
        std::mem::take(&mut self.notes[entry])
    }

    /// The resource of one of the types that the keys lead to, seen from a file: its own resources come first.
    pub(crate) fn find(&self, file: &Arc<str>, keys: &[Key], types: &[&str]) -> Found {
        let of_type = |at: &&usize| types.contains(&&*self.resources[**at].resource_type);
        for key in keys {
            for all in [self.in_file.get(&(file.clone(), key.clone())), self.by_key.get(key)] {
                let mut all = all.into_iter().flatten().filter(of_type);
                match (all.next(), all.next()) {
                    (Some(_), Some(_)) => return Found::Several,
                    (Some(at), None) => return Found::One(*at),
                    (None, _) => {}
                }
            }
        }
        Found::None
    }
}

/// What a reference leads to within the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    None,
    /// A resource, by its position in the catalog.
    One(usize),
    /// Resources that only their files tell apart.
    Several,
}

/// Whether an entry says that it was updated before the other was.
fn is_older(entry: &Entry, than: &Entry) -> bool {
    let updated = |of: &Entry| {
        let at = moment::parse(of.json.pointer("/meta/lastUpdated")?.as_str()?)?.begins();
        Some((at.seconds, at.nanos))
    };
    matches!((updated(entry), updated(than)), (Some(one), Some(other)) if one < other)
}

fn note_once(all: &mut Vec<usize>, at: usize) {
    if !all.contains(&at) {
        all.push(at);
    }
}

/// The keys of an entry's own address, the surest first.
fn keys(entry: &Entry) -> Vec<Key> {
    let mut keys = entry.full_url.as_deref().map(Key::of_uri).unwrap_or_default();
    // A full URL without scheme is just a type and an id.
    keys.retain(|key| !matches!(key, Key::Uri(uri) if !uri.contains(':')));
    if let Some(id) = entry.id.as_deref().filter(|id| (1..=100).contains(&id.len())) {
        let key = Key::local(&entry.resource_type, id);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// The business identifiers of an entry that can identify it.
fn business(entry: &Entry, notes: &Notes) -> Vec<Key> {
    let mut keys = vec![];
    let mut seen = HashSet::new();
    for at in Node::root(&entry.json, &entry.resource_type, notes).list_of("identifier", 40) {
        let (system, value) = (at.text("system", 200), at.text("value", 200));
        if value.is_empty() {
            at.warn("is an identifier without a value; left out");
            continue;
        }
        if system.is_empty() {
            at.warn("is an identifier without a system; left out");
            continue;
        }
        if matches!(&*at.text("use", 20), "secondary" | "temp" | "old") {
            at.warn("is a secondary, temporary or old identifier; left out");
            continue;
        }
        let key = Key::Business(entry.resource_type.clone(), system, value);
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Place;

    fn entry(file: &str, full_url: &str, json: Value) -> Entry {
        Entry {
            file: file.into(),
            place: Place::default(),
            full_url: (!full_url.is_empty()).then(|| full_url.to_owned()),
            resource_type: json["resourceType"].as_str().unwrap().to_owned(),
            id: json["id"].as_str().map(str::to_owned),
            json,
        }
    }

    fn patient(id: &str, mrn: &str, family: &str) -> Value {
        json!({"resourceType": "Patient", "id": id, "name": [{"family": family}],
            "identifier": [{"system": "urn:mrn", "value": mrn}]})
    }

    #[test]
    fn the_same_uuid_is_the_same_resource_in_every_file() {
        let uuid = "urn:uuid:0de9633c-54dd-39cb-947c-8ab5ecdf93a2";
        let json = json!({"resourceType": "Organization", "name": "A"});
        let later = json!({"resourceType": "Organization", "id": &uuid[9..], "name": "B"});
        let catalog = Catalog::of(&[entry("1", uuid, json), entry("2", "", later)], "");
        assert_eq!(catalog.resources.len(), 1);
        assert_eq!(catalog.resources[0].entries, [0, 1]);
        assert_eq!(catalog.resources[0].identifiers[0].value, uuid);
    }

    #[test]
    fn two_persons_with_the_same_plain_id_stay_two_and_are_found_from_their_own_files() {
        let one = entry("1", "", patient("example", "1", "Chalmers"));
        let two = entry("2", "", patient("example", "2", "Shaw"));
        let catalog = Catalog::of(&[one, two], "");
        assert_eq!(catalog.resources.len(), 2);
        assert_eq!(catalog.resources[0].identifiers.len(), 1);
        let keys = [Key::local("Patient", "example")];
        assert_eq!(catalog.find(&"2".into(), &keys, &["Patient"]), Found::One(1));
        assert_eq!(catalog.find(&"3".into(), &keys, &["Patient"]), Found::Several);
        assert_eq!(catalog.find(&"1".into(), &keys, &["Practitioner"]), Found::None);
    }

    #[test]
    fn an_identifier_that_different_resources_share_identifies_none() {
        let entries = [
            entry("1", "", patient("betsy", "ID-100", "Johnson")),
            entry("2", "", patient("patricia", "ID-100", "Noelle")),
        ];
        let catalog = Catalog::of(&entries, "");
        let values: Vec<_> =
            catalog.resources.iter().map(|one| &*one.identifiers[0].value).collect();
        assert_eq!(values, ["Patient/betsy", "Patient/patricia"]);
        assert_eq!(catalog.notes[0].warnings.borrow()[0].path, "Patient.identifier");
    }

    #[test]
    fn one_person_in_two_exports_is_one() {
        let entries =
            [entry("1", "", patient("a", "100", "Ng")), entry("2", "", patient("b", "100", "NG "))];
        let catalog = Catalog::of(&entries, "");
        assert_eq!(catalog.resources.len(), 1);
        assert_eq!(catalog.resources[0].identifiers.len(), 3);
    }
}
