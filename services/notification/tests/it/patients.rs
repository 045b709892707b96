//! A patient service that answers what the test says.
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
};

use caseward_api::{
    patient::v1::{patient_service_server::PatientService, *},
    types::v1::{ContactPoint, contact_point},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Who there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patients(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) patient: Patient,
    pub(crate) preference: Preference,
    pub(crate) consents: Vec<Consent>,
    pub(crate) related: Vec<RelatedPerson>,
}

impl Patients {
    /// A patient with an email address, in New York, who signs in as `pat` and agreed to being written to.
    pub(crate) fn add(&self, with: impl FnOnce(&mut Known)) -> String {
        let name = format!("patients/{}", Uuid::now_v7());
        let patient = Patient {
            name: name.clone(),
            telecoms: vec![email("pat@example.org")],
            time_zone: "America/New_York".to_owned(),
            subject: "pat".to_owned(),
            ..Default::default()
        };
        let consents = vec![consent(&name, consent::Type::Messaging)];
        let mut known = Known { patient, consents, ..Default::default() };
        with(&mut known);
        self.0.lock().unwrap().insert(name.clone(), known);
        name
    }

    pub(crate) fn change(&self, name: &str, with: impl FnOnce(&mut Known)) {
        with(self.0.lock().unwrap().get_mut(name).unwrap());
    }

    /// Knows the patient whom `other` knows by `name`.
    pub(crate) fn share(&self, other: &Patients, name: &str) {
        let known = other.0.lock().unwrap()[name].clone();
        self.0.lock().unwrap().insert(name.to_owned(), known);
    }

    fn known(&self, name: &str) -> Result<Known, Status> {
        let patient = name.split('/').take(2).collect::<Vec<_>>().join("/");
        let known = self.0.lock().unwrap().get(&patient).cloned();
        known.ok_or_else(|| Status::not_found("not found"))
    }
}

pub(crate) fn email(value: &str) -> ContactPoint {
    let system = contact_point::System::Email.into();
    ContactPoint { system, value: value.to_owned(), ..Default::default() }
}

/// What `grantor` agreed to.
pub(crate) fn consent(grantor: &str, kind: consent::Type) -> Consent {
    let patient = grantor.split("/relatedPersons/").next().unwrap();
    Consent {
        name: format!("{patient}/consents/{}", Uuid::now_v7()),
        r#type: kind.into(),
        decision: consent::Decision::Permit.into(),
        grantor: grantor.to_owned(),
        state: consent::State::Active.into(),
        ..Default::default()
    }
}

type Reply<T> = Result<Response<T>, Status>;

macro_rules! unused {
    ($($method:ident: $ask:ident => $reply:ident,)*) => {$(
        fn $method<'life, 'async_trait>(
            &'life self,
            _: Request<$ask>,
        ) -> Pin<Box<dyn Future<Output = Reply<$reply>> + Send + 'async_trait>>
        where
            'life: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented("not asked by this service")) })
        }
    )*};
}

#[tonic::async_trait]
impl PatientService for Patients {
    async fn get_patient(&self, ask: Request<GetPatientRequest>) -> Reply<Patient> {
        Ok(Response::new(self.known(&ask.get_ref().name)?.patient))
    }

    async fn get_preference(&self, ask: Request<GetPreferenceRequest>) -> Reply<Preference> {
        Ok(Response::new(self.known(&ask.get_ref().name)?.preference))
    }

    async fn list_consents(
        &self,
        ask: Request<ListConsentsRequest>,
    ) -> Reply<ListConsentsResponse> {
        let ask = ask.into_inner();
        let mut consents = self.known(&ask.parent)?.consents;
        consents.retain(|one| one.r#type == ask.r#type && ask.states.contains(&one.state));
        Ok(Response::new(ListConsentsResponse { consents, ..Default::default() }))
    }

    async fn get_related_person(
        &self,
        ask: Request<GetRelatedPersonRequest>,
    ) -> Reply<RelatedPerson> {
        let name = &ask.get_ref().name;
        let related = self.known(name)?.related;
        let found = related.into_iter().find(|person| person.name == *name);
        found.map(Response::new).ok_or_else(|| Status::not_found("not found"))
    }

    async fn list_related_persons(
        &self,
        ask: Request<ListRelatedPersonsRequest>,
    ) -> Reply<ListRelatedPersonsResponse> {
        let related_persons = self.known(&ask.get_ref().parent)?.related;
        Ok(Response::new(ListRelatedPersonsResponse { related_persons, ..Default::default() }))
    }

    unused! {
        list_patients: ListPatientsRequest => ListPatientsResponse,
        create_patient: CreatePatientRequest => Patient,
        update_patient: UpdatePatientRequest => Patient,
        ingest_patients: IngestPatientsRequest => IngestPatientsResponse,
        create_related_person: CreateRelatedPersonRequest => RelatedPerson,
        update_related_person: UpdateRelatedPersonRequest => RelatedPerson,
        grant_caregiver_scope: GrantCaregiverScopeRequest => RelatedPerson,
        revoke_caregiver_scope: RevokeCaregiverScopeRequest => RelatedPerson,
        get_coverage: GetCoverageRequest => Coverage,
        list_coverages: ListCoveragesRequest => ListCoveragesResponse,
        create_coverage: CreateCoverageRequest => Coverage,
        update_coverage: UpdateCoverageRequest => Coverage,
        get_consent: GetConsentRequest => Consent,
        create_consent: CreateConsentRequest => Consent,
        update_consent: UpdateConsentRequest => Consent,
        propose_consent: ProposeConsentRequest => Consent,
        activate_consent: ActivateConsentRequest => Consent,
        reject_consent: RejectConsentRequest => Consent,
        revoke_consent: RevokeConsentRequest => Consent,
        mark_consent_entered_in_error: MarkConsentEnteredInErrorRequest => Consent,
        update_preference: UpdatePreferenceRequest => Preference,
        list_accesses: ListAccessesRequest => ListAccessesResponse,
        ingest_related_persons: IngestRelatedPersonsRequest => IngestRelatedPersonsResponse,
        ingest_coverages: IngestCoveragesRequest => IngestCoveragesResponse,
        ingest_consents: IngestConsentsRequest => IngestConsentsResponse,
        request_emergency_access: RequestEmergencyAccessRequest => EmergencyAccess,
        get_emergency_access: GetEmergencyAccessRequest => EmergencyAccess,
        list_emergency_accesses: ListEmergencyAccessesRequest => ListEmergencyAccessesResponse,
        end_emergency_access: EndEmergencyAccessRequest => EmergencyAccess,
        review_emergency_access: ReviewEmergencyAccessRequest => EmergencyAccess,
        create_disclosure: CreateDisclosureRequest => Disclosure,
        get_disclosure: GetDisclosureRequest => Disclosure,
        list_disclosures: ListDisclosuresRequest => ListDisclosuresResponse,
        mark_disclosure_entered_in_error: MarkDisclosureEnteredInErrorRequest => Disclosure,
    }
}
