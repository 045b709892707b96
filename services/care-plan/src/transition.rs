//! The changes of state of a case and of everything below it, as the store logged them.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Error, Page, Result, check, weight};
use caseward_store::{Scope, Tx, transition};
use uuid::Uuid;

use crate::{
    case::{self, CaseId},
    sight,
};

/// The resource whose transitions are asked for: the case of the request, one below it, or none in particular.
pub fn asked(req: &pb::ListTransitionsRequest) -> Result<&str> {
    check::wanted("resource", &req.resource, 300)?;
    let below = req.resource.strip_prefix(&req.parent);
    if req.resource.is_empty()
        || below.is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
    {
        return Ok(&req.resource);
    }
    Err(Error::invalid("resource", "wants the case or a resource below it"))
}

/// One page of the transitions of a case; of one resource of it where `resource` names one.
pub async fn list(
    scope: &Scope,
    case: CaseId,
    resource: &str,
    page: &Page,
) -> Result<(Vec<pb::Transition>, String)> {
    let root = case::get(scope, case).await?;
    let mut rows =
        transition::below(scope, case.uuid(), resource, page.after_id(), page.limit()).await?;
    let next = page.close(&mut rows, weight, |row| row.id.as_bytes().to_vec());
    let rows = sight::shown(scope, &root, rows, |row| &row.name).await?;
    Ok((rows.into_iter().map(wire).collect(), next))
}

/// Refuses a caller who neither wrote a resource nor supervises: who else may say that it never should have been?
pub async fn retractable(tx: &Tx, entity: Uuid) -> Result<()> {
    if tx.ctx.may("cases.supervise") {
        return Ok(());
    }
    let log = transition::of(tx, entity).await?;
    if log.first().is_some_and(|made| made.actor == tx.ctx.subject()) {
        return Ok(());
    }
    Err(Error::precondition("NOT_AUTHOR", "only its author or a supervisor marks it as an error"))
}

fn wire(row: transition::Model) -> pb::Transition {
    pb::Transition {
        resource: row.name,
        from_state: row.from_state,
        to_state: row.to_state,
        effective_time: Some(row.effective_at.into()),
        record_time: Some(row.recorded_at.into()),
        actor: row.actor,
        role: row.role,
        reason_code: row.reason_code,
        reason: row.reason_text,
    }
}
