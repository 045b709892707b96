//! Asks care-plan for relations that it grants and whose events are still on their way.
use caseward_api::{
    access::v1::RelationChanged,
    careplan::v1::{CheckRelationRequest, relation_service_client::RelationServiceClient},
};
use caseward_core::{Ctx, Error, Reach, Result};
use caseward_server::{Identity, Transport, relation::keep};
use caseward_store::{Store, Tx};
use tracing::warn;

use crate::{NAME, patient::PatientId};

/// Care-plan, which knows the care teams.
#[derive(Debug)]
pub struct Teams {
    pub store: Store,
    pub care_plan: Transport,
    pub identity: Identity,
}

impl Teams {
    /// Whether the caller, to whom the patient is not visible, turns out to be on a care team. It is kept if so.
    ///
    /// Where care-plan does not answer, what is known here stands: it is at most as old as an event on its way.
    pub async fn learn(&self, ctx: &Ctx, patient: PatientId) -> Result<bool> {
        if ctx.caller.reach == Reach::Organization {
            return Ok(false);
        }
        let task = Ctx {
            record: ctx.record.clone(),
            deadline: ctx.deadline,
            ..Ctx::task(NAME, "relation", ctx.organization(), ctx.clock.clone())
        };
        let signed = self.identity.sign(&task).map_err(Error::internal)?;
        let mut care_plan = RelationServiceClient::new(self.care_plan.for_caller(&signed));
        let request = CheckRelationRequest {
            subject: ctx.subject().to_owned(),
            patient: patient.to_string(),
        };
        let known = match care_plan.check_relation(request).await {
            Ok(reply) => reply.into_inner(),
            Err(status) => {
                warn!(code = ?status.code(), "care-plan was not there to be asked for a relation");
                return Ok(false);
            }
        };
        if !known.related {
            return Ok(false);
        }
        let work = move |tx: Tx| {
            let known = known.clone();
            async move {
                for basis in known.bases {
                    let said = RelationChanged {
                        subject: known.subject.clone(),
                        patient: known.patient.clone(),
                        basis: basis.basis,
                        period: basis.period,
                        revision: basis.revision,
                        source: basis.source,
                    };
                    keep(&tx, said).await?;
                }
                Ok(())
            }
        };
        self.store.task(&task, work).await?;
        Ok(true)
    }
}
