//! What became of the input: per resource type how many, and everything that failed.
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use caseward_api::types::v1::{IngestOutcome, Violation, ingest_outcome::Action};
use serde::Serialize;

use crate::{Failure, Warning, finding::unnumbered, node::Notes};

/// How many resources of one type met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Were new.
    pub created: u64,
    /// Were there and differed.
    pub updated: u64,
    /// Were there and were the same, or were another copy of a resource of this input.
    pub unchanged: u64,
    /// Are of no use to the suite.
    pub ignored: u64,
    /// Were refused.
    pub failed: u64,
}

/// The report of an import. Its JSON is what `caseward import --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// By FHIR resource type.
    pub resources: BTreeMap<String, Counts>,
    /// Everything that was not taken.
    pub failures: Vec<Failure>,
    /// What was taken although it is odd, equal ones together.
    pub warnings: Vec<Warning>,
    /// Files whose names say that they hold something else.
    pub skipped: Vec<String>,
}

/// The end that a resource met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Ignored,
    Unchanged,
    Updated,
    Created,
    Failed,
}

impl From<&IngestOutcome> for End {
    fn from(outcome: &IngestOutcome) -> Self {
        match outcome.action() {
            Action::Created => End::Created,
            Action::Updated => End::Updated,
            Action::Unchanged => End::Unchanged,
            Action::Ignored => End::Ignored,
            Action::Failed | Action::Unspecified => End::Failed,
        }
    }
}

/// Where an entry stands, as reports name it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) file: Arc<str>,
    pub(crate) entry: String,
}

impl Report {
    /// Whether everything was taken.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// How many entries, and files as a whole, were not taken; each may have several failures.
    pub fn lost(&self) -> usize {
        let places = self.failures.iter().map(|failure| (&failure.file, &failure.entry));
        places.collect::<HashSet<_>>().len()
    }

    /// The counts of all types together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for Counts { created, updated, unchanged, ignored, failed } in self.resources.values() {
            total.created += created;
            total.updated += updated;
            total.unchanged += unchanged;
            total.ignored += ignored;
            total.failed += failed;
        }
        total
    }

    /// Counts resources of one type that met the same end.
    pub(crate) fn count(&mut self, resource_type: &str, end: End, how_many: u64) {
        if how_many == 0 {
            return;
        }
        let counts = self.resources.entry(resource_type.to_owned()).or_default();
        *match end {
            End::Created => &mut counts.created,
            End::Updated => &mut counts.updated,
            End::Unchanged => &mut counts.unchanged,
            End::Ignored => &mut counts.ignored,
            End::Failed => &mut counts.failed,
        } += how_many;
    }

    /// Takes over what was noted about an entry.
    pub(crate) fn note(&mut self, site: &Site, notes: Notes) {
        for note in notes.failures.take() {
            self.failures.push(Failure {
                file: site.file.clone(),
                entry: site.entry.clone(),
                path: note.path,
                reason: note.reason,
            });
        }
        for note in notes.warnings.take() {
            self.warn(site, &note.path, note.reason);
        }
    }

    /// Takes over why a service refused an entry.
    pub(crate) fn refused(&mut self, site: &Site, resource_type: &str, violations: &[Violation]) {
        for Violation { field, description } in violations {
            self.failures.push(Failure {
                file: site.file.clone(),
                entry: site.entry.clone(),
                path: fhir_path(resource_type, field),
                reason: description.clone(),
            });
        }
        if violations.is_empty() {
            self.failures.push(Failure {
                file: site.file.clone(),
                entry: site.entry.clone(),
                path: resource_type.to_owned(),
                reason: "was refused by the service".to_owned(),
            });
        }
    }

    /// Takes over what a service left out of an entry that it took.
    pub(crate) fn left_out(&mut self, site: &Site, resource_type: &str, all: &[Violation]) {
        for Violation { field, description } in all {
            self.warn(site, &fhir_path(resource_type, field), description.clone());
        }
    }

    fn warn(&mut self, site: &Site, path: &str, reason: String) {
        let path = unnumbered(path);
        let known = self.warnings.iter_mut().find(|one| one.path == path && one.reason == reason);
        match known {
            Some(warning) => warning.count += 1,
            None => self.warnings.push(Warning {
                path,
                reason,
                count: 1,
                file: site.file.clone(),
                entry: site.entry.clone(),
            }),
        }
    }
}

/// The field of a contract as a FHIR path, as near as the two are: `goals[3].targets[0].due_date` is
/// `Goal.target[0].dueDate`.
fn fhir_path(resource_type: &str, field: &str) -> String {
    // The first part is the request's, or the message's within it; FHIR JSON has paths of its own.
    let own = field.split_once('.').map_or("", |(_, own)| own);
    let (own, json) = own.strip_prefix("json").map_or((own, false), |own| (own, true));
    let mut path = resource_type.to_owned();
    for part in own.split('.').filter(|part| !part.is_empty()) {
        path.push('.');
        let (name, position) = part.split_at(part.find('[').unwrap_or(part.len()));
        if json {
            path += name;
        } else {
            path += &camel_case(singular(name));
        }
        path += position;
    }
    path
}

/// Our lists are called by many, FHIR's by one.
fn singular(name: &str) -> String {
    match name {
        _ if name.ends_with("ss") || name.ends_with("us") || name == "alias" => name.to_owned(),
        _ if name.ends_with("ies") => format!("{}y", &name[..name.len() - 3]),
        _ if name.ends_with("sses") || name.ends_with("iases") => name[..name.len() - 2].to_owned(),
        _ => name.strip_suffix('s').unwrap_or(name).to_owned(),
    }
}

fn camel_case(name: String) -> String {
    let mut words = name.split('_');
    let mut all = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        all += &first.to_ascii_uppercase();
        all += rest;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_request_reads_as_a_fhir_path() {
        for (resource_type, field, path) in [
            ("Patient", "patients[3].birth_date", "Patient.birthDate"),
            ("Patient", "patient.addresses[1].lines[0]", "Patient.address[1].line[0]"),
            ("Goal", "goal.targets[0]", "Goal.target[0]"),
            ("CarePlan", "care_plan.categories", "CarePlan.category"),
            ("Questionnaire", "questionnaire.json.item[0].linkId", "Questionnaire.item[0].linkId"),
            ("Patient", "patients[0]", "Patient"),
            ("Patient", "patient", "Patient"),
        ] {
            assert_eq!(fhir_path(resource_type, field), path);
        }
    }

    #[test]
    fn equal_warnings_are_one_with_a_count() {
        let mut report = Report::default();
        let site = Site { file: "a".into(), entry: "entry[0]".to_owned() };
        report.warn(&site, "Patient.name[0].text", "is odd".to_owned());
        report.warn(&site, "Patient.name[1].text", "is odd".to_owned());
        assert_eq!((report.warnings.len(), report.warnings[0].count), (1, 2));
    }

    #[test]
    fn the_json_has_the_names_that_programs_rely_on() {
        let mut report = Report::default();
        report.count("Patient", End::Created, 2);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["resources"]["Patient"]["created"], 2);
        assert_eq!(json["failures"], serde_json::json!([]));
    }
}
