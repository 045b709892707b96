//! The import: resources in the order in which they need each other, batch by batch, into whatever takes them.
//!
//! Free of input and output: files are read before (`Reading`), and services are called by the `Sink`.
use std::{future::Future, sync::Arc};

use caseward_api::{
    careplan::v1::{CaseBundle, CaseBundleOutcome, PatientProblem, Questionnaire},
    directory::v1::{
        HealthcareService, InsurancePlan, Location, Organization, Practitioner, PractitionerRole,
    },
    patient::v1::{Patient, PatientConsent, PatientCoverage, PatientRelatedPerson},
    types::v1::{Identifier, IngestOutcome},
};
use prost::Message;

use crate::{
    Entry, Reading, Report, care_plan, care_team, case,
    catalog::Catalog,
    condition, consent, coverage, goal,
    link::{Links, Names},
    node::{Node, Notes},
    organization, patient, practitioner, questionnaire,
    report::{End, Site},
};

/// The most resources of one request, as the contracts say.
const MAX_BATCH: usize = 200;

/// The most bytes of one request; half of the largest message that is taken.
const MAX_BATCH_BYTES: usize = 2 << 20;

/// The most questionnaires of one request, and the most cases.
const MAX_LARGE: usize = 50;

/// The most parts of the cases of one request.
const MAX_PARTS: usize = 2000;

/// Resources of one kind for one call of one service, at most 200 and 2 MiB.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// For `DirectoryService.IngestOrganizations`.
    Organizations(Vec<Organization>),
    /// For `DirectoryService.IngestLocations`.
    Locations(Vec<Location>),
    /// For `DirectoryService.IngestPractitioners`.
    Practitioners(Vec<Practitioner>),
    /// For `DirectoryService.IngestHealthcareServices`.
    HealthcareServices(Vec<HealthcareService>),
    /// For `DirectoryService.IngestPractitionerRoles`.
    PractitionerRoles(Vec<PractitionerRole>),
    /// For `DirectoryService.IngestInsurancePlans`.
    InsurancePlans(Vec<InsurancePlan>),
    /// For `PatientService.IngestPatients`.
    Patients(Vec<Patient>),
    /// For `PatientService.IngestRelatedPersons`.
    RelatedPersons(Vec<PatientRelatedPerson>),
    /// For `PatientService.IngestCoverages`.
    Coverages(Vec<PatientCoverage>),
    /// For `PatientService.IngestConsents`.
    Consents(Vec<PatientConsent>),
    /// For `IngestService.IngestQuestionnaires`.
    Questionnaires(Vec<Questionnaire>),
    /// For `IngestService.IngestProblems`.
    Problems(Vec<PatientProblem>),
}

/// What takes an import: the services, or a test.
pub trait Sink {
    /// Why a call could not be made at all. It ends the import.
    type Error;

    /// Loads a batch. Answers one outcome for each member, in order.
    fn ingest(
        &mut self,
        batch: Batch,
    ) -> impl Future<Output = Result<Vec<IngestOutcome>, Self::Error>> + Send;

    /// Loads cases. Answers one outcome for each, in order.
    fn ingest_cases(
        &mut self,
        bundles: Vec<CaseBundle>,
    ) -> impl Future<Output = Result<Vec<CaseBundleOutcome>, Self::Error>> + Send;

    /// Finds the name of a resource of that FHIR type with that identifier, loaded some time before.
    fn find(
        &mut self,
        resource_type: &str,
        identifier: &Identifier,
    ) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// Hears how many of how many resources are done, for whoever watches.
    fn progress(&mut self, _done: usize, _of: usize) {}
}

/// Imports what was read. `source` names the server it comes from where its ids are plain words or numbers that
/// another source may use too; empty where they are not.
///
/// The report is filled as the import goes, so that it is true also where the sink ends it early.
pub async fn import<S: Sink + Send>(
    reading: Reading,
    source: &str,
    sink: &mut S,
    report: &mut Report,
) -> Result<(), S::Error> {
    let Reading { mut entries, failures, others, skipped } = reading;
    entries.extend(coverage::contained(&entries));
    report.failures.extend(failures);
    report.skipped.extend(skipped);
    for (resource_type, count) in others {
        report.count(&resource_type, End::Ignored, count);
    }
    let mut catalog = Catalog::of(&entries, source);
    let notes = (0..entries.len()).map(|n| catalog.take_notes(n)).collect();
    let total = catalog.resources.len();
    let mut run = Run {
        entries,
        catalog,
        notes,
        names: Names::default(),
        source,
        sink,
        report,
        done: 0,
        total,
    };
    run.count_copies();
    run.directory().await?;
    run.people().await?;
    run.care().await
}

/// One import on its way.
struct Run<'a, S> {
    entries: Vec<Entry>,
    catalog: Catalog,
    /// What was noted about each entry so far.
    notes: Vec<Notes>,
    names: Names,
    source: &'a str,
    sink: &'a mut S,
    report: &'a mut Report,
    done: usize,
    total: usize,
}

impl<S: Sink + Send> Run<'_, S> {
    /// Copies of a resource change nothing; what only helps to read others is of no use itself.
    fn count_copies(&mut self) {
        for resource in &self.catalog.resources {
            let copies = resource.entries.len() as u64 - 1;
            match &*resource.resource_type {
                helper @ ("ExplanationOfBenefit" | "ServiceRequest" | "MedicationRequest") => {
                    self.report.count(helper, End::Ignored, copies + 1);
                }
                resource_type => self.report.count(resource_type, End::Unchanged, copies),
            }
        }
    }

    async fn directory(&mut self) -> Result<(), S::Error> {
        self.phase("Organization", organization::read, MAX_BATCH, Batch::Organizations).await?;
        self.phase("Location", organization::location, MAX_BATCH, Batch::Locations).await?;
        self.phase("Practitioner", practitioner::read, MAX_BATCH, Batch::Practitioners).await?;
        let services = Batch::HealthcareServices;
        self.phase("HealthcareService", organization::healthcare_service, MAX_BATCH, services)
            .await?;
        self.phase("PractitionerRole", practitioner::role, MAX_BATCH, Batch::PractitionerRoles)
            .await?;
        self.phase("InsurancePlan", organization::insurance_plan, MAX_BATCH, Batch::InsurancePlans)
            .await
    }

    async fn people(&mut self) -> Result<(), S::Error> {
        self.phase("Patient", patient::read, MAX_BATCH, Batch::Patients).await?;
        let related = Batch::RelatedPersons;
        self.phase("RelatedPerson", patient::related_person, MAX_BATCH, related).await?;
        self.phase("Coverage", coverage::read, MAX_BATCH, Batch::Coverages).await?;
        self.phase("Consent", consent::read, MAX_BATCH, Batch::Consents).await?;
        self.phase("Questionnaire", questionnaire::read, MAX_LARGE, Batch::Questionnaires).await
    }

    /// Loads all resources of one type.
    async fn phase<P: Message>(
        &mut self,
        resource_type: &str,
        read: impl Fn(&Node<'_>, &Links<'_>, Vec<Identifier>) -> Option<P>,
        most: usize,
        batch: impl Fn(Vec<P>) -> Batch,
    ) -> Result<(), S::Error> {
        let members = self.read_all(resource_type, read).await?;
        self.send(resource_type, members, most, batch).await
    }

    /// Reads all resources of one type. Those that are wrong or of no use are reported and left out.
    async fn read_all<P>(
        &mut self,
        resource_type: &str,
        read: impl Fn(&Node<'_>, &Links<'_>, Vec<Identifier>) -> Option<P>,
    ) -> Result<Vec<(usize, P)>, S::Error> {
        let resources = self.in_order(resource_type);
        // A dry round, to learn which resources outside the input are spoken of.
        for resource in &resources {
            self.read(*resource, resource_type, &Notes::default(), &read);
        }
        for wanted in self.names.take_wanted() {
            let (kind, system, value) = wanted.clone();
            let name = self.sink.find(&kind, &Identifier { system, value }).await?;
            self.names.answered(wanted, name);
        }
        let mut members = vec![];
        for resource in resources {
            let entry = self.last(resource);
            let notes = std::mem::take(&mut self.notes[entry]);
            let site = self.site(resource);
            let read = self.read(resource, resource_type, &notes, &read);
            match read {
                Some(member) if notes.is_clean() => members.push((resource, member)),
                None if notes.is_clean() => self.end(resource, End::Ignored),
                Some(_) | None => self.end(resource, End::Failed),
            }
            self.report.note(&site, notes);
        }
        Ok(members)
    }

    fn read<P>(
        &self,
        resource: usize,
        resource_type: &str,
        notes: &Notes,
        read: impl Fn(&Node<'_>, &Links<'_>, Vec<Identifier>) -> Option<P>,
    ) -> Option<P> {
        let entry = &self.entries[self.last(resource)];
        let links = Links {
            file: &entry.file,
            entries: &self.entries,
            catalog: &self.catalog,
            names: &self.names,
            source: self.source,
        };
        let node = Node::root(&entry.json, resource_type, notes);
        read(&node, &links, self.catalog.resources[resource].identifiers.clone())
    }

    /// The resources of a type, a whole before its parts: a load finds `partOf` in what came before or with it.
    fn in_order(&self, resource_type: &str) -> Vec<usize> {
        let all: Vec<usize> = (0..self.catalog.resources.len())
            .filter(|n| *self.catalog.resources[*n].resource_type == *resource_type)
            .collect();
        if !matches!(resource_type, "Organization" | "Location") {
            return all;
        }
        let wholes = |resource: usize| {
            let depth = std::iter::successors(Some(resource), |part| {
                let notes = Notes::default();
                let whole = |at: &Node<'_>, links: &Links<'_>, _: Vec<Identifier>| {
                    at.get("partOf").and_then(|at| links.resource(&at, &[resource_type]))
                };
                self.read(*part, resource_type, &notes, whole)
            });
            // A ring of parts has no beginning; the load refuses it.
            depth.take(100).count()
        };
        let mut ordered: Vec<(usize, usize)> = all.into_iter().map(|n| (wholes(n), n)).collect();
        ordered.sort_unstable();
        ordered.into_iter().map(|(_, n)| n).collect()
    }

    /// Sends what was read, in batches that the service takes.
    async fn send<P: Message>(
        &mut self,
        resource_type: &str,
        members: Vec<(usize, P)>,
        most: usize,
        batch: impl Fn(Vec<P>) -> Batch,
    ) -> Result<(), S::Error> {
        let sizes = members.iter().map(|(_, member)| (1, member.encoded_len())).collect();
        let mut members = members.into_iter();
        for size in batches(sizes, most, usize::MAX) {
            let (resources, part): (Vec<usize>, Vec<P>) = members.by_ref().take(size).unzip();
            let outcomes = self.sink.ingest(batch(part)).await?;
            for (n, resource) in resources.into_iter().enumerate() {
                self.settle(resource, resource_type, outcomes.get(n));
            }
        }
        Ok(())
    }

    /// Notes what a service said about a resource.
    fn settle(&mut self, resource: usize, resource_type: &str, outcome: Option<&IngestOutcome>) {
        let end = outcome.map_or(End::Failed, End::from);
        match outcome {
            Some(outcome) if end != End::Failed => {
                match end {
                    End::Ignored => self.names.refused(resource),
                    _ => self.names.stored(resource, outcome.name.clone()),
                }
                self.report.left_out(&self.site(resource), resource_type, &outcome.left_out);
            }
            _ => {
                let violations = outcome.map(|one| one.violations.clone()).unwrap_or_default();
                self.report.refused(&self.site(resource), resource_type, &violations);
            }
        }
        self.end(resource, end);
    }

    /// Counts a resource that is done with.
    fn end(&mut self, resource: usize, end: End) {
        if end == End::Failed {
            self.names.refused(resource);
        }
        let resource_type = Arc::clone(&self.catalog.resources[resource].resource_type);
        self.report.count(&resource_type, end, 1);
        self.done += 1;
        self.sink.progress(self.done, self.total);
    }

    /// Loads the plans, goals, teams and conditions as cases, and the problems that belong to none.
    async fn care(&mut self) -> Result<(), S::Error> {
        let mut care = case::Care {
            problems: self.read_all("Condition", condition::read).await?.into_iter().collect(),
            goals: self.read_all("Goal", goal::read).await?.into_iter().collect(),
            teams: self.read_all("CareTeam", care_team::read).await?.into_iter().collect(),
            ..case::Care::default()
        };
        care.plans = self.read_all("CarePlan", care_plan::read).await?.into_iter().collect();
        let empty: Vec<usize> = care
            .teams
            .iter()
            .filter(|(_, team)| team.members.is_empty())
            .map(|(n, _)| *n)
            .collect();
        for team in empty {
            // Nobody is on it, so nothing of it would be kept.
            care.teams.remove(&team);
            self.end(team, End::Ignored);
        }
        let (mut drafts, problems) = care.cases();
        let sizes =
            drafts.iter().map(|draft| (draft.parts(), draft.bundle.encoded_len())).collect();
        // A part may stand in several cases; it is what the worst of its ends is.
        let mut ends = std::collections::BTreeMap::<usize, (End, IngestOutcome)>::new();
        for size in batches(sizes, MAX_LARGE, MAX_PARTS) {
            let mut part: Vec<case::Draft> = drafts.drain(..size).collect();
            let bundles = part.iter_mut().map(|draft| std::mem::take(&mut draft.bundle)).collect();
            let outcomes = self.sink.ingest_cases(bundles).await?;
            for (n, draft) in part.iter().enumerate() {
                for (resource, outcome) in
                    draft.outcomes(outcomes.get(n).unwrap_or(&CaseBundleOutcome::default()))
                {
                    let end = End::from(&outcome);
                    if ends.get(&resource).is_none_or(|(known, _)| end > *known) {
                        ends.insert(resource, (end, outcome));
                    }
                }
            }
        }
        for (resource, (_, outcome)) in ends {
            let resource_type = Arc::clone(&self.catalog.resources[resource].resource_type);
            self.settle(resource, &resource_type, Some(&outcome));
        }
        self.send("Condition", problems, MAX_BATCH, Batch::Problems).await
    }

    fn last(&self, resource: usize) -> usize {
        let entries = &self.catalog.resources[resource].entries;
        entries[entries.len() - 1]
    }

    fn site(&self, resource: usize) -> Site {
        let entry = &self.entries[self.last(resource)];
        Site { file: entry.file.clone(), entry: entry.place.to_string() }
    }
}

/// How many members each batch has, where each member weighs so many parts and bytes. One too heavy goes alone.
fn batches(weights: Vec<(usize, usize)>, most: usize, most_parts: usize) -> Vec<usize> {
    let mut sizes = vec![];
    let (mut size, mut parts, mut bytes) = (0, 0, 0);
    for (more_parts, more_bytes) in weights {
        let full =
            size == most || parts + more_parts > most_parts || bytes + more_bytes > MAX_BATCH_BYTES;
        if full && size > 0 {
            sizes.push(size);
            (size, parts, bytes) = (0, 0, 0);
        }
        size += 1;
        parts += more_parts;
        bytes += more_bytes;
    }
    if size > 0 {
        sizes.push(size);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_no_more_than_a_service_takes() {
        assert_eq!(batches(vec![(1, 10); 5], 2, 100), [2, 2, 1]);
        assert_eq!(batches(vec![(60, 10), (60, 10), (500, 10)], 50, 100), [1, 1, 1]);
        assert_eq!(batches(vec![(1, MAX_BATCH_BYTES - 1), (1, 2)], 50, 100), [1, 1]);
        assert!(batches(vec![], 50, 100).is_empty());
    }
}
