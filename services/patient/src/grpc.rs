//! The RPC surface: open the request, do the work, answer.
use caseward_api::patient::v1::{self as pb, patient_service_server::PatientService};
use caseward_core::{Ctx, Name, Page};
use caseward_store::Store;
use tonic::{Request, Response, Status};

use crate::patient;

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Patients {
    pub store: Store,
}

#[tonic::async_trait]
impl PatientService for Patients {
    async fn get_patient(&self, req: Request<pb::GetPatientRequest>) -> Reply<pb::Patient> {
        let (ctx, req) = Ctx::open(req)?;
        let row = patient::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_patients(
        &self,
        req: Request<pb::ListPatientsRequest>,
    ) -> Reply<pb::ListPatientsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let page = Page::open(&ctx, &req)?;
        let (rows, next_page_token) =
            patient::list(&self.store.read(&ctx), &req.identifier, &page).await?;
        let patients = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPatientsResponse { patients, next_page_token }))
    }

    async fn create_patient(&self, req: Request<pb::CreatePatientRequest>) -> Reply<pb::Patient> {
        let (ctx, req) = Ctx::open(req)?;
        let row = patient::Model::draft(&ctx, &req.patient.clone().unwrap_or_default())?;
        let reply =
            self.store.write(&ctx, &req, move |tx| patient::create(tx, row.clone())).await?;
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
}
