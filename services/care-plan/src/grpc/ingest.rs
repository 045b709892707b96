//! The RPC surface of loads: open the request, do the work, answer.
use caseward_api::careplan::v1::{self as pb, ingest_service_server::IngestService};
use caseward_core::Ctx;
use caseward_store::Store;
use tonic::{Request, Response, Status};

use crate::ingest;

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Ingest {
    pub store: Store,
}

#[tonic::async_trait]
impl IngestService for Ingest {
    async fn ingest_cases(
        &self,
        req: Request<pb::IngestCasesRequest>,
    ) -> Reply<pb::IngestCasesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        ingest::check_cases(&req)?;
        let bundles = req.bundles.clone();
        let reply =
            self.store.write(&ctx, &req, move |tx| ingest::cases(tx, bundles.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn ingest_problems(
        &self,
        req: Request<pb::IngestProblemsRequest>,
    ) -> Reply<pb::IngestProblemsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let problems = req.problems.clone();
        let reply =
            self.store.write(&ctx, &req, move |tx| ingest::problems(tx, problems.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn ingest_questionnaires(
        &self,
        req: Request<pb::IngestQuestionnairesRequest>,
    ) -> Reply<pb::IngestQuestionnairesResponse> {
        let (_, req) = Ctx::open(req)?;
        Ok(Response::new(ingest::questionnaires(req.questionnaires)?))
    }
}
