//! References between resources, turned into names of our services.
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use caseward_api::types::v1::Identifier;
use serde_json::Value;

use crate::{
    Entry,
    catalog::{Catalog, Found},
    node::Node,
    reference::{Key, Reference},
};

/// What is known of the names that our services gave.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By the position of the resource in the catalog.
    of_resources: HashMap<usize, Fate>,
    /// What the services answered about resources that are not in the input.
    found: HashMap<Wanted, Option<String>>,
    /// What has to be asked before references can be followed.
    wanted: RefCell<BTreeSet<Wanted>>,
}

/// A resource outside the input: its type and what it should carry.
pub(crate) type Wanted = (String, String, String);

/// What became of a resource of the input.
#[derive(Clone, Debug)]
enum Fate {
    Stored(String),
    Refused,
}

impl Names {
    /// Notes the name that a resource got.
    pub(crate) fn stored(&mut self, resource: usize, name: String) {
        self.of_resources.insert(resource, Fate::Stored(name));
    }

    /// Notes that a resource got none.
    pub(crate) fn refused(&mut self, resource: usize) {
        self.of_resources.insert(resource, Fate::Refused);
    }

    /// Notes what the services know about a resource outside the input.
    pub(crate) fn answered(&mut self, wanted: Wanted, name: Option<String>) {
        self.found.insert(wanted, name);
    }

    /// What has to be asked; nothing the second time.
    pub(crate) fn take_wanted(&mut self) -> BTreeSet<Wanted> {
        self.wanted.take()
    }
}

/// Follows the references of one entry.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    /// The file of the entry, whose own resources come first.
    pub(crate) file: &'a Arc<str>,
    /// Everything that was read.
    pub(crate) entries: &'a [Entry],
    /// The resources of the input.
    pub(crate) catalog: &'a Catalog,
    /// Their names, and those of others.
    pub(crate) names: &'a Names,
    /// What the caller calls the server that the input comes from.
    pub(crate) source: &'a str,
}

/// Where a reference leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The FHIR type.
    pub(crate) resource_type: String,
    /// The name, such as `patients/…`, or `{collection}?identifier={system}|{value}` for a resource of the same load.
    pub(crate) name: String,
}

impl<'a> Links<'a> {
    /// What a resource of the input is now: its last version.
    pub(crate) fn json(&self, resource: usize) -> &'a Value {
        let entries = &self.catalog.resources[resource].entries;
        &self.entries[entries[entries.len() - 1]].json
    }

    /// The name that the reference at `member` leads to; empty, with a warning, where it leads nowhere.
    pub(crate) fn name(&self, of: &Node<'_>, member: &str, types: &[&str]) -> String {
        of.get(member).and_then(|at| self.target(&at, types)).map(|to| to.name).unwrap_or_default()
    }

    /// The names that a list of references leads to, each once, without those that lead nowhere.
    pub(crate) fn names(
        &self,
        of: &Node<'_>,
        member: &str,
        most: usize,
        types: &[&str],
    ) -> Vec<String> {
        let mut names: Vec<String> = vec![];
        for at in of.list_of(member, most) {
            if let Some(to) = self.target(&at, types)
                && !names.contains(&to.name)
            {
                names.push(to.name);
            }
        }
        names
    }

    /// The name of the patient that a resource cannot be without.
    pub(crate) fn patient(&self, of: &Node<'_>, member: &str) -> Option<String> {
        let Some(at) = of.get(member) else {
            of.fail_at(member, "is required");
            return None;
        };
        match self.follow(&at, &["Patient"]) {
            Ok(Some(to)) => Some(to.name),
            Ok(None) => {
                at.fail("wants a reference to a patient");
                None
            }
            Err(why) => {
                at.fail(why);
                None
            }
        }
    }

    /// Where the reference at a place leads. Nowhere, with a warning, where it leads to nothing we have.
    pub(crate) fn target(&self, at: &Node<'_>, types: &[&str]) -> Option<Target> {
        self.follow(at, types).unwrap_or_else(|why| {
            at.warn(why);
            None
        })
    }

    /// The resource of the input that the reference at a place leads to.
    pub(crate) fn resource(&self, at: &Node<'_>, types: &[&str]) -> Option<usize> {
        match Reference::at(at, types[0])? {
            Reference::Contained(_) => None,
            Reference::Keys(keys) => match self.catalog.find(self.file, &keys, types) {
                Found::One(at) => Some(at),
                Found::None | Found::Several => None,
            },
        }
    }

    fn follow(&self, at: &Node<'_>, types: &[&str]) -> Result<Option<Target>, String> {
        // Words without a reference are no mistake.
        let Some(reference) = Reference::at(at, types[0]) else { return Ok(None) };
        let keys = match reference {
            Reference::Contained(_) => {
                return Err("refers to a contained resource; left out".into());
            }
            Reference::Keys(keys) => keys,
        };
        match self.catalog.find(self.file, &keys, types) {
            Found::One(n) => {
                let resource = &self.catalog.resources[n];
                let resource_type = resource.resource_type.to_string();
                match self.names.of_resources.get(&n) {
                    Some(Fate::Stored(name)) => {
                        Ok(Some(Target { resource_type, name: name.clone() }))
                    }
                    Some(Fate::Refused) => Err("refers to a resource that was refused".into()),
                    None => match (resource.identifiers.first(), collection(&resource_type)) {
                        (Some(Identifier { system, value }), Some(collection)) => {
                            let name = format!("{collection}?identifier={system}|{value}");
                            Ok(Some(Target { resource_type, name }))
                        }
                        _ => Err("refers to a resource that has no identifier of its own".into()),
                    },
                }
            }
            Found::Several => Err("refers to a resource that only its file tells apart".into()),
            Found::None => self.outside(&keys, types),
        }
    }

    fn outside(&self, keys: &[Key], types: &[&str]) -> Result<Option<Target>, String> {
        for key in keys {
            let said = match key {
                Key::Local(kind, _) | Key::Business(kind, ..) => Some(&**kind),
                Key::Uri(_) => None,
            };
            let Identifier { system, value } = key.identifier(self.source);
            for kind in types.iter().filter(|kind| said.is_none_or(|said| said == **kind)) {
                let wanted = ((*kind).to_owned(), system.clone(), value.clone());
                match self.names.found.get(&wanted) {
                    Some(Some(name)) => {
                        return Ok(Some(Target { resource_type: wanted.0, name: name.clone() }));
                    }
                    Some(None) => {}
                    None => {
                        self.names.wanted.borrow_mut().insert(wanted);
                    }
                }
            }
        }
        Err("refers to a resource that is neither in the input nor known".into())
    }
}

/// The collection of the directory and patient services that keeps resources of a type.
pub(crate) fn collection(resource_type: &str) -> Option<&'static str> {
    Some(match resource_type {
        "Organization" => "organizations",
        "Location" => "locations",
        "Practitioner" => "practitioners",
        "PractitionerRole" => "practitionerRoles",
        "HealthcareService" => "healthcareServices",
        "InsurancePlan" => "insurancePlans",
        "Patient" => "patients",
        _ => return None,
    })
}
