//! A sink that keeps what it is given, and answers as the services do.
use std::{collections::HashMap, convert::Infallible};

use caseward_api::{
    careplan::v1::{CaseBundle, CaseBundleOutcome, PlanBundleOutcome},
    types::v1::{Identifier, IngestOutcome, Violation, ingest_outcome::Action},
};
use caseward_fhir::{Batch, Sink};
use prost::Message;

/// Everything that was loaded.
#[derive(Default)]
pub(crate) struct Memory {
    /// Names by type, scope and identifier.
    names: HashMap<(String, Identity), String>,
    /// The bytes of each resource, by name.
    stored: HashMap<String, Vec<u8>>,
    /// The batches as they came.
    pub(crate) batches: Vec<Batch>,
    /// The cases as they came.
    pub(crate) cases: Vec<CaseBundle>,
}

type Identity = (String, String);

impl Memory {
    /// Keeps one resource, found by its identifiers within `kind`, which may be a type or a type within a parent.
    fn put(
        &mut self,
        kind: &str,
        identifiers: &[Identifier],
        message: &impl Message,
    ) -> IngestOutcome {
        let keys: Vec<(String, Identity)> = identifiers
            .iter()
            .map(|one| (kind.to_owned(), (one.system.clone(), one.value.clone())))
            .collect();
        let mut known: Vec<String> =
            keys.iter().filter_map(|key| self.names.get(key)).cloned().collect();
        known.sort();
        known.dedup();
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        if keys.is_empty() || known.len() > 1 || sorted.len() < keys.len() {
            let field = "identifiers".to_owned();
            let violation = Violation { field, description: "want one resource".to_owned() };
            let action = Action::Failed as i32;
            return IngestOutcome { action, violations: vec![violation], ..Default::default() };
        }
        let name = known.pop().unwrap_or_else(|| format!("{kind}/{}", self.stored.len()));
        for key in keys {
            self.names.insert(key, name.clone());
        }
        let bytes = message.encode_to_vec();
        let action = match self.stored.insert(name.clone(), bytes.clone()) {
            None => Action::Created,
            Some(before) if before == bytes => Action::Unchanged,
            Some(_) => Action::Updated,
        };
        IngestOutcome { action: action as i32, name, ..Default::default() }
    }

    fn case(&mut self, bundle: &CaseBundle) -> CaseBundleOutcome {
        let case = bundle.case.as_ref().unwrap();
        let outcome = self.put("Case", &case.identifiers, case);
        let within = outcome.name.clone();
        let kind = |kind: &str| format!("{within}/{kind}");
        let members = bundle
            .members
            .iter()
            .map(|one| self.put(&kind("members"), &one.identifiers, one))
            .collect();
        let problems = bundle
            .problems
            .iter()
            .map(|one| self.put(&kind("problems"), &one.identifiers, one))
            .collect();
        let mut plans = vec![];
        for plan in &bundle.plans {
            let care_plan = plan.care_plan.as_ref().unwrap();
            let care_plan = self.put(&kind("carePlans"), &care_plan.identifiers, care_plan);
            let goals = plan
                .goals
                .iter()
                .map(|one| self.put(&kind("goals"), &one.identifiers, one))
                .collect();
            let activities = plan.activities.iter();
            let activities = activities
                .map(|one| self.put(&kind("activities"), &one.identifiers, one))
                .collect();
            plans.push(PlanBundleOutcome { care_plan: Some(care_plan), goals, activities });
        }
        CaseBundleOutcome { case: Some(outcome), members, problems, plans }
    }
}

impl Sink for Memory {
    type Error = Infallible;

    async fn ingest(&mut self, batch: Batch) -> Result<Vec<IngestOutcome>, Infallible> {
        let mut outcomes = vec![];
        match &batch {
            Batch::Organizations(all) => {
                outcomes
                    .extend(all.iter().map(|one| self.put("Organization", &one.identifiers, one)));
            }
            Batch::Locations(all) => {
                outcomes.extend(all.iter().map(|one| self.put("Location", &one.identifiers, one)));
            }
            Batch::Practitioners(all) => {
                outcomes
                    .extend(all.iter().map(|one| self.put("Practitioner", &one.identifiers, one)));
            }
            Batch::HealthcareServices(all) => {
                outcomes.extend(
                    all.iter().map(|one| self.put("HealthcareService", &one.identifiers, one)),
                );
            }
            Batch::PractitionerRoles(all) => {
                outcomes.extend(
                    all.iter().map(|one| self.put("PractitionerRole", &one.identifiers, one)),
                );
            }
            Batch::InsurancePlans(all) => {
                outcomes
                    .extend(all.iter().map(|one| self.put("InsurancePlan", &one.identifiers, one)));
            }
            Batch::Patients(all) => {
                outcomes.extend(all.iter().map(|one| self.put("Patient", &one.identifiers, one)));
            }
            Batch::Questionnaires(all) => {
                outcomes
                    .extend(all.iter().map(|one| self.put("Questionnaire", &one.identifiers, one)));
            }
            Batch::RelatedPersons(all) => outcomes.extend(all.iter().map(|one| {
                let inner = one.related_person.as_ref().unwrap();
                self.put(&format!("{}/RelatedPerson", one.patient), &inner.identifiers, one)
            })),
            Batch::Coverages(all) => outcomes.extend(all.iter().map(|one| {
                let inner = one.coverage.as_ref().unwrap();
                self.put(&format!("{}/Coverage", one.patient), &inner.identifiers, one)
            })),
            Batch::Consents(all) => outcomes.extend(all.iter().map(|one| {
                let inner = one.consent.as_ref().unwrap();
                self.put(&format!("{}/Consent", one.patient), &inner.identifiers, one)
            })),
            Batch::Problems(all) => outcomes.extend(all.iter().map(|one| {
                let inner = one.problem.as_ref().unwrap();
                self.put(&format!("{}/Condition", one.patient), &inner.identifiers, one)
            })),
        }
        self.batches.push(batch);
        Ok(outcomes)
    }

    async fn ingest_cases(
        &mut self,
        bundles: Vec<CaseBundle>,
    ) -> Result<Vec<CaseBundleOutcome>, Infallible> {
        let outcomes = bundles.iter().map(|bundle| self.case(bundle)).collect();
        self.cases.extend(bundles);
        Ok(outcomes)
    }

    async fn find(&mut self, kind: &str, one: &Identifier) -> Result<Option<String>, Infallible> {
        let key = (kind.to_owned(), (one.system.clone(), one.value.clone()));
        Ok(self.names.get(&key).cloned())
    }
}
