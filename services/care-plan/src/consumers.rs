//! What the service does when others speak: what reached nobody, and a death, become work of whoever is accountable.
use caseward_api::{
    careplan::v1::task::Priority,
    notification::v1::MessageHardFailed,
    patient::v1::{
        GetPatientRequest, PatientUpdated, patient_service_client::PatientServiceClient,
    },
};
use caseward_core::{Ctx, Name as _, Result};
use caseward_events::{Consumer, Event};
use caseward_server::OwnPeer;
use caseward_store::{Resource, Tx};
use prost::Name;
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};
use time::Duration;
use tonic::Code;

use crate::{
    NAME,
    case::{Column, Entity, Model, PatientId},
    task::{self, Raised},
    timeline,
};

/// How soon a person is to be reached in person whom no message reached.
const CONTACT: Duration = Duration::days(1);

/// A message that no channel took becomes a task: somebody makes contact in person.
pub fn unreached() -> Consumer {
    let subjects = [MessageHardFailed::full_name()];
    Consumer::new("care-plan.unreached", NAME, subjects, |event, tx| async move {
        match event.decode::<MessageHardFailed>()? {
            Some(failed) if !failed.patient.is_empty() => make_contact(&tx, failed).await,
            _ => Ok(()),
        }
    })
}

async fn make_contact(tx: &Tx, failed: MessageHardFailed) -> Result<()> {
    let MessageHardFailed { message, patient, case, purpose, .. } = failed;
    let open = open(tx, PatientId::parse("patient", &patient)?).await?;
    // Where its case has ended, or it was about none, whoever looks after the person in another hears of it.
    let named = open.iter().find(|one| one.id.to_string() == case);
    let looked_after = || open.iter().find(|one| one.accountable.is_some());
    let Some(case) = named.or_else(looked_after).or(open.first()) else { return Ok(()) };
    let raised = Raised {
        title: "Make contact in person: a message reached nobody".to_owned(),
        description: format!("It was sent for `{purpose}`; {message} says how each attempt ended."),
        focus: String::new(),
        cause: message,
        owner: case.accountable.clone().unwrap_or_default(),
        priority: Priority::Urgent,
        due_at: Some(tx.ctx.now() + CONTACT),
    };
    task::raise(tx, case, raised).await?;
    Ok(())
}

/// Where a patient died, what was to be done with them is not any more, and somebody sees to the rest.
pub fn deaths(patients: OwnPeer) -> Consumer {
    Consumer::asking(
        "care-plan.deaths",
        NAME,
        [PatientUpdated::full_name()],
        move |ctx, event| {
            let patients = patients.clone();
            async move { dead(&patients, &ctx, &event).await }
        },
        |_, dead, tx| async move {
            match dead {
                Some(patient) => after_death(&tx, patient).await,
                None => Ok(()),
            }
        },
    )
}

/// The patient of `event`, if they are dead now: the event may tell of a mistake mended.
async fn dead(patients: &OwnPeer, ctx: &Ctx, event: &Event) -> Result<Option<PatientId>> {
    let Some(PatientUpdated { patient: name, changed_fields, .. }) = event.decode()? else {
        return Ok(None);
    };
    if !changed_fields.iter().any(|field| field == "deceased") {
        return Ok(None);
    }
    let id = PatientId::parse("patient", &name)?;
    let mut patients = PatientServiceClient::new(patients.in_task(ctx)?);
    match patients.get_patient(GetPatientRequest { name }).await {
        Ok(reply) => Ok(reply.into_inner().deceased.then_some(id)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

async fn after_death(tx: &Tx, patient: PatientId) -> Result<()> {
    let cause = patient.to_string();
    for case in open(tx, patient).await? {
        task::cancel_all(tx, &case, &cause, "the patient died").await?;
        // One that is left was raised for this before.
        if !task::open_of(tx, case.id).await?.is_empty() {
            continue;
        }
        timeline::add(tx, &case, "PATIENT_DIED", case.id.to_string()).await?;
        let raised = Raised {
            title: "The patient died: see to what is open, and close the case".to_owned(),
            description: String::new(),
            focus: String::new(),
            cause: cause.clone(),
            owner: case.accountable.clone().unwrap_or_default(),
            priority: Priority::Urgent,
            due_at: None,
        };
        task::raise(tx, &case, raised).await?;
    }
    Ok(())
}

/// The cases of a patient that have not ended, the newest first, held like [`crate::case::hold`].
pub async fn open(tx: &Tx, patient: PatientId) -> Result<Vec<Model>> {
    let select = Entity::of(&tx.ctx).filter(Column::Patient.eq(patient)).order_by_desc(Column::Id);
    let all = select.lock_exclusive().all(&tx.db).await?;
    Ok(all.into_iter().filter(|case| !case.state.is_end()).collect())
}
