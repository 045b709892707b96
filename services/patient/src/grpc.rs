//! The RPC surface: open the request, do the work, answer.
use caseward_api::{
    Verb,
    patient::v1::{self as pb, patient_service_server::PatientService},
};
use caseward_core::{Ctx, Name, Page, Result, check};
use caseward_server::{AccessLogs, relation::Relations};
use caseward_store::Store;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{
    access, child, consent, coverage, disclosure, emergency_access,
    patient::{self, PatientId},
    preference, related_person,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Patients {
    pub store: Store,
    pub relations: Relations,
    pub logs: AccessLogs,
}

impl Patients {
    /// What `read` finds of `patient`, also where the caller became related to them a moment ago.
    async fn seen<T, F, Fut>(&self, ctx: &Ctx, patient: PatientId, read: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.relations.or_ask(ctx, patient.uuid(), read).await
    }

    async fn consent<Q: Verb>(
        &self,
        req: Request<Q>,
        step: consent::Step,
        effective: impl FnOnce(&Q) -> Option<Timestamp>,
    ) -> Reply<pb::Consent> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let (etag, reason, effective) =
            (req.etag().to_owned(), req.reason().to_owned(), effective(&req));
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                consent::step(tx, name, step, etag.clone(), reason.clone(), effective)
            })
            .await?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl PatientService for Patients {
    async fn get_patient(&self, req: Request<pb::GetPatientRequest>) -> Reply<pb::Patient> {
        let (ctx, req) = Ctx::open(req)?;
        let (scope, id) = (self.store.read(&ctx), Name::parse("name", &req.name)?);
        let row = self.seen(&ctx, id, || patient::get(&scope, id)).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_patients(
        &self,
        req: Request<pb::ListPatientsRequest>,
    ) -> Reply<pb::ListPatientsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let identifier = check::identifier("identifier", &req.identifier);
        let (page, identifier) = check::all((Page::open(&ctx, &req), identifier))?;
        let (rows, next_page_token) =
            patient::list(&self.store.read(&ctx), identifier, &page).await?;
        let patients = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPatientsResponse { patients, next_page_token }))
    }

    async fn create_patient(&self, req: Request<pb::CreatePatientRequest>) -> Reply<pb::Patient> {
        let (ctx, req) = Ctx::open(req)?;
        let row = patient::Model::draft(&ctx, &req.patient.clone().unwrap_or_default())?;
        let reply =
            self.store.write(&ctx, &req, move |tx| patient::register(tx, row.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_patient(&self, req: Request<pb::UpdatePatientRequest>) -> Reply<pb::Patient> {
        let (ctx, req) = Ctx::open(req)?;
        let from = req.patient.clone().unwrap_or_default();
        let id = Name::parse("patient.name", &from.name)?;
        let mask = req.update_mask.clone().unwrap_or_default();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| patient::update(tx, id, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn ingest_patients(
        &self,
        req: Request<pb::IngestPatientsRequest>,
    ) -> Reply<pb::IngestPatientsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let patients = req.patients.clone();
        let reply =
            self.store.write(&ctx, &req, move |tx| patient::ingest(tx, patients.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn get_related_person(
        &self,
        req: Request<pb::GetRelatedPersonRequest>,
    ) -> Reply<pb::RelatedPerson> {
        let (ctx, req) = Ctx::open(req)?;
        let (scope, name) =
            (self.store.read(&ctx), related_person::RelatedPersonName::parse("name", &req.name)?);
        let row =
            self.seen(&ctx, name.0, || child::get::<related_person::Entity>(&scope, name)).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_related_persons(
        &self,
        req: Request<pb::ListRelatedPersonsRequest>,
    ) -> Reply<pb::ListRelatedPersonsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let scope = self.store.read(&ctx);
        let found = || child::list::<related_person::Entity>(&scope, patient, &page);
        let (rows, next_page_token) = self.seen(&ctx, patient, found).await?;
        let related_persons = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListRelatedPersonsResponse { related_persons, next_page_token }))
    }

    async fn create_related_person(
        &self,
        req: Request<pb::CreateRelatedPersonRequest>,
    ) -> Reply<pb::RelatedPerson> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, from) =
            (Name::parse("parent", &req.parent)?, req.related_person.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                child::create::<related_person::Entity>(tx, patient, from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_related_person(
        &self,
        req: Request<pb::UpdateRelatedPersonRequest>,
    ) -> Reply<pb::RelatedPerson> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (
            req.related_person.clone().unwrap_or_default(),
            req.update_mask.clone().unwrap_or_default(),
        );
        let name = Name::parse("related_person.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                related_person::update(tx, name, from.clone(), mask.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn ingest_related_persons(
        &self,
        req: Request<pb::IngestRelatedPersonsRequest>,
    ) -> Reply<pb::IngestRelatedPersonsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let members: Vec<_> = req
            .related_persons
            .iter()
            .map(|one| (one.patient.clone(), one.related_person.clone()))
            .collect();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let outcomes = child::ingest::<related_person::Entity>(tx, members.clone());
                async move { Ok(pb::IngestRelatedPersonsResponse { outcomes: outcomes.await? }) }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn grant_caregiver_scope(
        &self,
        req: Request<pb::GrantCaregiverScopeRequest>,
    ) -> Reply<pb::RelatedPerson> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let from = req.scope.clone().unwrap_or_default();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                related_person::grant(tx, name, etag.clone(), from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn revoke_caregiver_scope(
        &self,
        req: Request<pb::RevokeCaregiverScopeRequest>,
    ) -> Reply<pb::RelatedPerson> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag, reason) =
            (Name::parse("name", &req.name)?, req.etag.clone(), req.reason.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                related_person::revoke(tx, name, etag.clone(), reason.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn get_coverage(&self, req: Request<pb::GetCoverageRequest>) -> Reply<pb::Coverage> {
        let (ctx, req) = Ctx::open(req)?;
        let (scope, name) =
            (self.store.read(&ctx), coverage::CoverageName::parse("name", &req.name)?);
        let row = self.seen(&ctx, name.0, || child::get::<coverage::Entity>(&scope, name)).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_coverages(
        &self,
        req: Request<pb::ListCoveragesRequest>,
    ) -> Reply<pb::ListCoveragesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let scope = self.store.read(&ctx);
        let found = || child::list::<coverage::Entity>(&scope, patient, &page);
        let (rows, next_page_token) = self.seen(&ctx, patient, found).await?;
        let coverages = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListCoveragesResponse { coverages, next_page_token }))
    }

    async fn create_coverage(
        &self,
        req: Request<pb::CreateCoverageRequest>,
    ) -> Reply<pb::Coverage> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, from) =
            (Name::parse("parent", &req.parent)?, req.coverage.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                child::create::<coverage::Entity>(tx, patient, from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_coverage(
        &self,
        req: Request<pb::UpdateCoverageRequest>,
    ) -> Reply<pb::Coverage> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.coverage.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("coverage.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| coverage::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn ingest_coverages(
        &self,
        req: Request<pb::IngestCoveragesRequest>,
    ) -> Reply<pb::IngestCoveragesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let members: Vec<_> =
            req.coverages.iter().map(|one| (one.patient.clone(), one.coverage.clone())).collect();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let outcomes = child::ingest::<coverage::Entity>(tx, members.clone());
                async move { Ok(pb::IngestCoveragesResponse { outcomes: outcomes.await? }) }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn get_consent(&self, req: Request<pb::GetConsentRequest>) -> Reply<pb::Consent> {
        let (ctx, req) = Ctx::open(req)?;
        let (scope, name) =
            (self.store.read(&ctx), consent::ConsentName::parse("name", &req.name)?);
        let row = self.seen(&ctx, name.0, || child::get::<consent::Entity>(&scope, name)).await?;
        Ok(Response::new(row.into()))
    }

    async fn create_consent(&self, req: Request<pb::CreateConsentRequest>) -> Reply<pb::Consent> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, from) =
            (Name::parse("parent", &req.parent)?, req.consent.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                child::create::<consent::Entity>(tx, patient, from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_consent(&self, req: Request<pb::UpdateConsentRequest>) -> Reply<pb::Consent> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.consent.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("consent.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| consent::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn ingest_consents(
        &self,
        req: Request<pb::IngestConsentsRequest>,
    ) -> Reply<pb::IngestConsentsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let members: Vec<_> =
            req.consents.iter().map(|one| (one.patient.clone(), one.consent.clone())).collect();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let outcomes = child::ingest::<consent::Entity>(tx, members.clone());
                async move { Ok(pb::IngestConsentsResponse { outcomes: outcomes.await? }) }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn list_consents(
        &self,
        req: Request<pb::ListConsentsRequest>,
    ) -> Reply<pb::ListConsentsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, page, kind, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choice("type", req.r#type),
            check::choices("states", &req.states, consent::State::known),
        ))?;
        let scope = self.store.read(&ctx);
        let found = || consent::list(&scope, patient, kind, &states, &page);
        let (rows, next_page_token) = self.seen(&ctx, patient, found).await?;
        let consents = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListConsentsResponse { consents, next_page_token }))
    }

    async fn propose_consent(&self, req: Request<pb::ProposeConsentRequest>) -> Reply<pb::Consent> {
        self.consent(req, consent::Step::Propose, |_| None).await
    }

    async fn activate_consent(
        &self,
        req: Request<pb::ActivateConsentRequest>,
    ) -> Reply<pb::Consent> {
        self.consent(req, consent::Step::Activate, |req| req.effective_time).await
    }

    async fn reject_consent(&self, req: Request<pb::RejectConsentRequest>) -> Reply<pb::Consent> {
        self.consent(req, consent::Step::Reject, |_| None).await
    }

    async fn revoke_consent(&self, req: Request<pb::RevokeConsentRequest>) -> Reply<pb::Consent> {
        self.consent(req, consent::Step::Revoke, |req| req.effective_time).await
    }

    async fn mark_consent_entered_in_error(
        &self,
        req: Request<pb::MarkConsentEnteredInErrorRequest>,
    ) -> Reply<pb::Consent> {
        self.consent(req, consent::Step::EnterInError, |_| None).await
    }

    async fn get_preference(
        &self,
        req: Request<pb::GetPreferenceRequest>,
    ) -> Reply<pb::Preference> {
        let (ctx, req) = Ctx::open(req)?;
        let (scope, patient) = (self.store.read(&ctx), preference::of("name", &req.name)?);
        let row = self.seen(&ctx, patient, || preference::get(&scope, patient)).await?;
        Ok(Response::new(row.into()))
    }

    async fn update_preference(
        &self,
        req: Request<pb::UpdatePreferenceRequest>,
    ) -> Reply<pb::Preference> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (
            req.preference.clone().unwrap_or_default(),
            req.update_mask.clone().unwrap_or_default(),
        );
        let patient = preference::of("preference.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                preference::update(tx, patient, from.clone(), mask.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn list_accesses(
        &self,
        req: Request<pb::ListAccessesRequest>,
    ) -> Reply<pb::ListAccessesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, page, actor, period) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::wanted("actor", &req.actor, access::ACTOR),
            check::between(&req.from, &req.until),
        ))?;
        let wanted = access::wanted(&ctx, patient, actor, period, &page);
        let found = || access::list(&self.store, &self.logs, &ctx, wanted.clone(), &page);
        let (accesses, next_page_token) = self.seen(&ctx, patient, found).await?;
        Ok(Response::new(pb::ListAccessesResponse { accesses, next_page_token }))
    }

    async fn request_emergency_access(
        &self,
        req: Request<pb::RequestEmergencyAccessRequest>,
    ) -> Reply<pb::EmergencyAccess> {
        let (ctx, req) = Ctx::open(req)?;
        let (ctx, patient) = (emergency_access::declared(ctx), Name::parse("parent", &req.parent)?);
        let reason = req.reason.clone();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| emergency_access::request(tx, patient, reason.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn get_emergency_access(
        &self,
        req: Request<pb::GetEmergencyAccessRequest>,
    ) -> Reply<pb::EmergencyAccess> {
        let (ctx, req) = Ctx::open(req)?;
        let name: emergency_access::EmergencyAccessName = Name::parse("name", &req.name)?;
        let scope = self.store.read(&ctx);
        let row = self.seen(&ctx, name.0, || emergency_access::get(&scope, name)).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_emergency_accesses(
        &self,
        req: Request<pb::ListEmergencyAccessesRequest>,
    ) -> Reply<pb::ListEmergencyAccessesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let patient: Result<Option<PatientId>> = match req.parent.as_str() {
            "patients/-" => Ok(None),
            parent => Name::parse("parent", parent).map(Some),
        };
        let states = check::choices("states", &req.states, emergency_access::State::known);
        let (patient, page, states) = check::all((patient, Page::open(&ctx, &req), states))?;
        let scope = self.store.read(&ctx);
        let found = || emergency_access::list(&scope, patient, &states, &page);
        let (rows, next_page_token) = match patient {
            Some(patient) => self.seen(&ctx, patient, found).await?,
            None => found().await?,
        };
        let emergency_accesses = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListEmergencyAccessesResponse { emergency_accesses, next_page_token }))
    }

    async fn end_emergency_access(
        &self,
        req: Request<pb::EndEmergencyAccessRequest>,
    ) -> Reply<pb::EmergencyAccess> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| emergency_access::end(tx, name, etag.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn review_emergency_access(
        &self,
        req: Request<pb::ReviewEmergencyAccessRequest>,
    ) -> Reply<pb::EmergencyAccess> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let (verdict, comment) = (req.verdict, req.comment.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                emergency_access::review(tx, name, etag.clone(), verdict, comment.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn create_disclosure(
        &self,
        req: Request<pb::CreateDisclosureRequest>,
    ) -> Reply<pb::Disclosure> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, from) =
            (Name::parse("parent", &req.parent)?, req.disclosure.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| disclosure::create(tx, patient, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn get_disclosure(
        &self,
        req: Request<pb::GetDisclosureRequest>,
    ) -> Reply<pb::Disclosure> {
        let (ctx, req) = Ctx::open(req)?;
        let name: disclosure::DisclosureName = Name::parse("name", &req.name)?;
        let scope = self.store.read(&ctx);
        let row = self.seen(&ctx, name.0, || disclosure::get(&scope, name)).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_disclosures(
        &self,
        req: Request<pb::ListDisclosuresRequest>,
    ) -> Reply<pb::ListDisclosuresResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (patient, page, period) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::between(&req.from, &req.until),
        ))?;
        let scope = self.store.read(&ctx);
        let found = || disclosure::list(&scope, patient, period, req.include_all, &page);
        let (rows, next_page_token) = self.seen(&ctx, patient, found).await?;
        let disclosures = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListDisclosuresResponse { disclosures, next_page_token }))
    }

    async fn mark_disclosure_entered_in_error(
        &self,
        req: Request<pb::MarkDisclosureEnteredInErrorRequest>,
    ) -> Reply<pb::Disclosure> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", &req.name)?;
        let (etag, reason) = (req.etag.clone(), req.reason.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                disclosure::enter_in_error(tx, name, etag.clone(), reason.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }
}
