//! What other services ask: who may see whom, before the event about it reached them.
use caseward_api::careplan::v1::{self as pb, relation_service_server::RelationService};
use caseward_core::{Ctx, Error, Name, check, data::Period};
use caseward_store::{Store, relation};
use tonic::{Request, Response, Status};

use crate::case::PatientId;

#[derive(Debug)]
pub struct Relations {
    pub store: Store,
}

#[tonic::async_trait]
impl RelationService for Relations {
    async fn check_relation(
        &self,
        req: Request<pb::CheckRelationRequest>,
    ) -> Result<Response<pb::Relation>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        let patient: PatientId = Name::parse("patient", &req.patient)?;
        check::text(&req.subject, 1..=200).map_err(|why| Error::invalid("subject", why))?;
        let rows = relation::between(&self.store.read(&ctx), &req.subject, patient.uuid()).await?;
        ctx.record.saw(patient.uuid());
        let related = !rows.is_empty();
        let bases = rows.into_iter().map(wire).collect();
        Ok(Response::new(pb::Relation {
            subject: req.subject,
            patient: req.patient,
            related,
            bases,
        }))
    }
}

fn wire(row: relation::Model) -> pb::RelationBasis {
    let period = Period { start: Some(row.starts_at), end: row.ends_at };
    pb::RelationBasis {
        basis: caseward_server::relation::wire(row.basis).into(),
        period: Some(period.into()),
        // The key of the key is the resource again.
        source: relation::key(row.source, row.basis).to_string(),
        topics: caseward_server::relation::topics(&row),
        revision: row.revision,
    }
}
