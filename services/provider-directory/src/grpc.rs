//! The RPC surface: open the request, do the work, answer.
use caseward_api::{
    Mutation,
    directory::v1::{self as pb, directory_service_server::DirectoryService},
    types::v1::IngestOutcome,
};
use caseward_core::{Ctx, Page, Result, check};
use caseward_store::Store;
use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use crate::{
    healthcare_service, ingest, insurance_plan, location, organization, practitioner,
    practitioner_role,
    record::{self, Record},
    search, verification,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Directory {
    pub store: Store,
}

impl Directory {
    async fn get<E: Record<Model: Into<E::Wire>>>(&self, ctx: &Ctx, name: &str) -> Reply<E::Wire> {
        Ok(Response::new(record::get::<E>(&self.store.read(ctx), name).await?.into()))
    }

    async fn create<E, Q>(&self, ctx: &Ctx, req: &Q, from: Option<E::Wire>) -> Reply<E::Wire>
    where
        E: Record<Model: Into<E::Wire>, Wire: prost::Message + Default>,
        Q: Mutation,
    {
        let from = from.unwrap_or_default();
        let made =
            self.store.write(ctx, req, move |tx| record::create::<E>(tx, from.clone())).await?;
        Ok(Response::new(made))
    }

    async fn update<E, Q>(
        &self,
        ctx: &Ctx,
        req: &Q,
        from: Option<E::Wire>,
        mask: Option<FieldMask>,
    ) -> Reply<E::Wire>
    where
        E: Record<Model: Into<E::Wire>, Wire: prost::Message + Default>,
        Q: Mutation,
    {
        let (from, mask) = (from.unwrap_or_default(), mask.unwrap_or_default());
        let work = move |tx| record::update::<E>(tx, from.clone(), mask.clone());
        Ok(Response::new(self.store.write(ctx, req, work).await?))
    }

    async fn ingest<E, Q, R>(
        &self,
        ctx: &Ctx,
        req: &Q,
        all: Vec<E::Wire>,
        reply: fn(Vec<IngestOutcome>) -> R,
    ) -> Reply<R>
    where
        E: Record,
        Q: Mutation,
        R: prost::Message + Default + 'static,
    {
        let work = move |tx| {
            let loading = ingest::ingest::<E>(tx, all.clone());
            async move { Ok(reply(loading.await?)) }
        };
        Ok(Response::new(self.store.write(ctx, req, work).await?))
    }
}

#[tonic::async_trait]
impl DirectoryService for Directory {
    async fn get_organization(
        &self,
        req: Request<pb::GetOrganizationRequest>,
    ) -> Reply<pb::Organization> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<organization::Entity>(&ctx, &req.name).await
    }

    async fn list_organizations(
        &self,
        req: Request<pb::ListOrganizationsRequest>,
    ) -> Reply<pb::ListOrganizationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) = check::all((Page::open(&ctx, &req), organization::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let organizations = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListOrganizationsResponse { organizations, next_page_token }))
    }

    async fn create_organization(
        &self,
        req: Request<pb::CreateOrganizationRequest>,
    ) -> Reply<pb::Organization> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<organization::Entity, _>(&ctx, &req, req.organization.clone()).await
    }

    async fn update_organization(
        &self,
        req: Request<pb::UpdateOrganizationRequest>,
    ) -> Reply<pb::Organization> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.organization.clone(), req.update_mask.clone());
        self.update::<organization::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_organizations(
        &self,
        req: Request<pb::IngestOrganizationsRequest>,
    ) -> Reply<pb::IngestOrganizationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestOrganizationsResponse { outcomes };
        self.ingest::<organization::Entity, _, _>(&ctx, &req, req.organizations.clone(), reply)
            .await
    }

    async fn get_location(&self, req: Request<pb::GetLocationRequest>) -> Reply<pb::Location> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<location::Entity>(&ctx, &req.name).await
    }

    async fn list_locations(
        &self,
        req: Request<pb::ListLocationsRequest>,
    ) -> Reply<pb::ListLocationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) = check::all((Page::open(&ctx, &req), location::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let locations = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListLocationsResponse { locations, next_page_token }))
    }

    async fn create_location(
        &self,
        req: Request<pb::CreateLocationRequest>,
    ) -> Reply<pb::Location> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<location::Entity, _>(&ctx, &req, req.location.clone()).await
    }

    async fn update_location(
        &self,
        req: Request<pb::UpdateLocationRequest>,
    ) -> Reply<pb::Location> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.location.clone(), req.update_mask.clone());
        self.update::<location::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_locations(
        &self,
        req: Request<pb::IngestLocationsRequest>,
    ) -> Reply<pb::IngestLocationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestLocationsResponse { outcomes };
        self.ingest::<location::Entity, _, _>(&ctx, &req, req.locations.clone(), reply).await
    }

    async fn get_practitioner(
        &self,
        req: Request<pb::GetPractitionerRequest>,
    ) -> Reply<pb::Practitioner> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<practitioner::Entity>(&ctx, &req.name).await
    }

    async fn list_practitioners(
        &self,
        req: Request<pb::ListPractitionersRequest>,
    ) -> Reply<pb::ListPractitionersResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) = check::all((Page::open(&ctx, &req), practitioner::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let practitioners = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPractitionersResponse { practitioners, next_page_token }))
    }

    async fn create_practitioner(
        &self,
        req: Request<pb::CreatePractitionerRequest>,
    ) -> Reply<pb::Practitioner> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<practitioner::Entity, _>(&ctx, &req, req.practitioner.clone()).await
    }

    async fn update_practitioner(
        &self,
        req: Request<pb::UpdatePractitionerRequest>,
    ) -> Reply<pb::Practitioner> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.practitioner.clone(), req.update_mask.clone());
        self.update::<practitioner::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_practitioners(
        &self,
        req: Request<pb::IngestPractitionersRequest>,
    ) -> Reply<pb::IngestPractitionersResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestPractitionersResponse { outcomes };
        self.ingest::<practitioner::Entity, _, _>(&ctx, &req, req.practitioners.clone(), reply)
            .await
    }

    async fn get_practitioner_role(
        &self,
        req: Request<pb::GetPractitionerRoleRequest>,
    ) -> Reply<pb::PractitionerRole> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<practitioner_role::Entity>(&ctx, &req.name).await
    }

    async fn list_practitioner_roles(
        &self,
        req: Request<pb::ListPractitionerRolesRequest>,
    ) -> Reply<pb::ListPractitionerRolesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) =
            check::all((Page::open(&ctx, &req), practitioner_role::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let practitioner_roles = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPractitionerRolesResponse { practitioner_roles, next_page_token }))
    }

    async fn create_practitioner_role(
        &self,
        req: Request<pb::CreatePractitionerRoleRequest>,
    ) -> Reply<pb::PractitionerRole> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<practitioner_role::Entity, _>(&ctx, &req, req.practitioner_role.clone()).await
    }

    async fn update_practitioner_role(
        &self,
        req: Request<pb::UpdatePractitionerRoleRequest>,
    ) -> Reply<pb::PractitionerRole> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.practitioner_role.clone(), req.update_mask.clone());
        self.update::<practitioner_role::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_practitioner_roles(
        &self,
        req: Request<pb::IngestPractitionerRolesRequest>,
    ) -> Reply<pb::IngestPractitionerRolesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestPractitionerRolesResponse { outcomes };
        self.ingest::<practitioner_role::Entity, _, _>(
            &ctx,
            &req,
            req.practitioner_roles.clone(),
            reply,
        )
        .await
    }

    async fn get_healthcare_service(
        &self,
        req: Request<pb::GetHealthcareServiceRequest>,
    ) -> Reply<pb::HealthcareService> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<healthcare_service::Entity>(&ctx, &req.name).await
    }

    async fn list_healthcare_services(
        &self,
        req: Request<pb::ListHealthcareServicesRequest>,
    ) -> Reply<pb::ListHealthcareServicesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) =
            check::all((Page::open(&ctx, &req), healthcare_service::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let healthcare_services = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListHealthcareServicesResponse {
            healthcare_services,
            next_page_token,
        }))
    }

    async fn create_healthcare_service(
        &self,
        req: Request<pb::CreateHealthcareServiceRequest>,
    ) -> Reply<pb::HealthcareService> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<healthcare_service::Entity, _>(&ctx, &req, req.healthcare_service.clone())
            .await
    }

    async fn update_healthcare_service(
        &self,
        req: Request<pb::UpdateHealthcareServiceRequest>,
    ) -> Reply<pb::HealthcareService> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.healthcare_service.clone(), req.update_mask.clone());
        self.update::<healthcare_service::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_healthcare_services(
        &self,
        req: Request<pb::IngestHealthcareServicesRequest>,
    ) -> Reply<pb::IngestHealthcareServicesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestHealthcareServicesResponse { outcomes };
        self.ingest::<healthcare_service::Entity, _, _>(
            &ctx,
            &req,
            req.healthcare_services.clone(),
            reply,
        )
        .await
    }

    async fn get_insurance_plan(
        &self,
        req: Request<pb::GetInsurancePlanRequest>,
    ) -> Reply<pb::InsurancePlan> {
        let (ctx, req) = Ctx::open(req)?;
        self.get::<insurance_plan::Entity>(&ctx, &req.name).await
    }

    async fn list_insurance_plans(
        &self,
        req: Request<pb::ListInsurancePlansRequest>,
    ) -> Reply<pb::ListInsurancePlansResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) =
            check::all((Page::open(&ctx, &req), insurance_plan::asked(&ctx, &req)))?;
        let (rows, next_page_token) = record::list(&self.store.read(&ctx), select, &page).await?;
        let insurance_plans = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListInsurancePlansResponse { insurance_plans, next_page_token }))
    }

    async fn create_insurance_plan(
        &self,
        req: Request<pb::CreateInsurancePlanRequest>,
    ) -> Reply<pb::InsurancePlan> {
        let (ctx, req) = Ctx::open(req)?;
        self.create::<insurance_plan::Entity, _>(&ctx, &req, req.insurance_plan.clone()).await
    }

    async fn update_insurance_plan(
        &self,
        req: Request<pb::UpdateInsurancePlanRequest>,
    ) -> Reply<pb::InsurancePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (req.insurance_plan.clone(), req.update_mask.clone());
        self.update::<insurance_plan::Entity, _>(&ctx, &req, from, mask).await
    }

    async fn ingest_insurance_plans(
        &self,
        req: Request<pb::IngestInsurancePlansRequest>,
    ) -> Reply<pb::IngestInsurancePlansResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let reply = |outcomes| pb::IngestInsurancePlansResponse { outcomes };
        self.ingest::<insurance_plan::Entity, _, _>(&ctx, &req, req.insurance_plans.clone(), reply)
            .await
    }

    async fn verify_record(
        &self,
        req: Request<pb::VerifyRecordRequest>,
    ) -> Reply<pb::Verification> {
        let (ctx, req) = Ctx::open(req)?;
        let asked = req.clone();
        let reply =
            self.store.write(&ctx, &req, move |tx| verification::verify(tx, asked.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn search_services(
        &self,
        req: Request<pb::SearchServicesRequest>,
    ) -> Reply<pb::SearchServicesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, asked) = check::all((Page::open(&ctx, &req), search::asked(&ctx, &req)))?;
        let (matches, next_page_token) =
            search::services(&self.store.read(&ctx), asked, &page).await?;
        Ok(Response::new(pb::SearchServicesResponse { matches, next_page_token }))
    }
}
