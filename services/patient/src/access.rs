//! Who looked at or changed the record of a patient, from the audit log of this service.
use caseward_api::patient::v1 as pb;
use caseward_core::{Ctx, Error, Page, Result, check};
use caseward_store::{
    Store,
    audit::{self, Model, Wanted},
};

use crate::patient::{self, PatientId};

pub async fn list(
    store: &Store,
    ctx: &Ctx,
    patient: PatientId,
    req: &pb::ListAccessesRequest,
    page: &Page,
) -> Result<(Vec<pb::AccessRecord>, String)> {
    // An auditor reads the log of every patient; others that of the patients they may see.
    if !ctx.may("audit.read") {
        patient::get(&store.read(ctx), patient).await?;
    }
    let moment = |field: &str, at| check::moment(at).map_err(|why| Error::invalid(field, why));
    let wanted = Wanted {
        organization: ctx.organization(),
        patient: patient.uuid(),
        actor: req.actor.clone(),
        from: moment("from", &req.from)?,
        until: moment("until", &req.until)?,
        before: page.after_id(),
        most: page.limit(),
    };
    let mut rows = audit::accesses(store, wanted).await?;
    let next = page.close(&mut rows, |row| row.record.as_bytes().to_vec());
    Ok((rows.into_iter().map(|row| wire(row, patient)).collect(), next))
}

fn wire(row: Model, patient: PatientId) -> pb::AccessRecord {
    pb::AccessRecord {
        access_time: Some(row.at.into()),
        actor: row.subject,
        role: row.roles,
        method: row.method,
        resource: patient.to_string(),
        outcome: row.outcome,
        basis: row.purpose,
    }
}
