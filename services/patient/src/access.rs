//! Who looked at or changed the data of a patient, from the audit logs of all services.
use caseward_api::{audit::v1::Access, patient::v1 as pb};
use caseward_core::{Ctx, Error, Page, Purpose, Result, Time, check};
use caseward_server::AccessLogs;
use caseward_store::{Store, audit::Wanted};
use prost::Message;
use uuid::Uuid;

use crate::{
    emergency_access,
    patient::{self, PatientId},
};

/// How long the name of an actor is, at most: a service has one that is longer than a caller's.
pub const ACTOR: usize = 300;

/// What the logs are asked for.
pub fn wanted(
    ctx: &Ctx,
    patient: PatientId,
    actor: Option<String>,
    (from, until): (Option<Time>, Option<Time>),
    page: &Page,
) -> Wanted {
    Wanted {
        organization: ctx.organization(),
        patient: patient.uuid(),
        actor: actor.unwrap_or_default(),
        from,
        until,
        before: page.after_id(),
        most: page.limit(),
    }
}

pub async fn list(
    store: &Store,
    logs: &AccessLogs,
    ctx: &Ctx,
    wanted: Wanted,
    page: &Page,
) -> Result<(Vec<pb::AccessRecord>, String)> {
    let (scope, patient) = (store.read(ctx), PatientId::from(wanted.patient));
    // An auditor reads the log of every patient; others that of the patients they may see.
    if !ctx.may("audit.read") {
        patient::get(&scope, patient).await?;
    }
    let mut accesses = logs.list(ctx, wanted).await?;
    let next = page.close(&mut accesses, Access::encoded_len, |access| {
        Uuid::try_parse(&access.call).unwrap_or_default().as_bytes().to_vec()
    });
    let emergencies = emergency_access::periods(&scope, patient).await?;
    let wire = |access| wire(access, patient, &emergencies);
    Ok((accesses.into_iter().map(wire).collect::<Result<_>>()?, next))
}

fn wire(
    access: Access,
    patient: PatientId,
    emergencies: &[(String, Time, Time)],
) -> Result<pb::AccessRecord> {
    let Access { call: _, access_time, actor, roles, method, purpose, outcome } = access;
    let at =
        check::timestamp(&access_time).map_err(|_| Error::internal("an access without a time"))?;
    let emergency = emergencies
        .iter()
        .any(|(subject, from, until)| *subject == actor && *from <= at && at < *until);
    let basis = if emergency { Purpose::Emergency.code().to_owned() } else { purpose };
    let resource = patient.to_string();
    Ok(pb::AccessRecord { access_time, actor, role: roles, method, resource, outcome, basis })
}
