//! What other services' events mean for whom: who is told what, and what need not be said any more.
use caseward_api::{
    careplan::v1::{
        self as cp, AccountabilityMoved, CaseClosed, CaseEnrolled, CriticalItemRaised,
        HandoffProposed, PlanActivated, TaskAssigned, case::CloseReason,
    },
    patient::v1::{ConsentRevoked, caregiver_scope::Topic, consent},
};
use caseward_core::{Ctx, Result};
use caseward_events::Event;
use prost::Name;

use crate::{judge, message::Recipient, recipient::Patients, shipped};

/// What one event means.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notice {
    /// The template of what is told; empty where nobody is.
    pub(crate) key: &'static str,
    pub(crate) patient: String,
    pub(crate) case: String,
    pub(crate) recipients: Vec<Recipient>,
    /// What waits is cancelled first.
    pub(crate) cancels: Option<Cancels>,
}

/// Which waiting messages have lost their cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancels {
    /// Those about the case.
    Case,
    /// Those to the patient and to those close to them.
    Patient,
}

/// The events that mean something.
pub(crate) fn subjects() -> [String; 8] {
    [
        CaseEnrolled::full_name(),
        AccountabilityMoved::full_name(),
        HandoffProposed::full_name(),
        TaskAssigned::full_name(),
        CriticalItemRaised::full_name(),
        PlanActivated::full_name(),
        CaseClosed::full_name(),
        ConsentRevoked::full_name(),
    ]
}

/// What `event` means, with everybody close to the patient who is to hear of it.
pub(crate) async fn read(patients: &Patients, ctx: &Ctx, event: &Event) -> Result<Notice> {
    let mut notice = meaning(event)?;
    let to_patient = notice.recipients.iter().any(|to| matches!(to, Recipient::Patient(_)));
    if to_patient {
        let topic: Topic = judge::topic(notice.key);
        let caregivers = patients.caregivers(ctx, &notice.patient, topic).await?;
        notice.recipients.extend(caregivers.iter().filter_map(|name| Recipient::read(name)));
    }
    Ok(notice)
}

fn meaning(event: &Event) -> Result<Notice> {
    if let Some(CaseEnrolled { case, patient, .. }) = event.decode()? {
        return Ok(to_patient(shipped::CASE_ENROLLED, patient, case));
    }
    if let Some(AccountabilityMoved { case, patient, from, .. }) = event.decode()? {
        // The first one is introduced by the enrolment.
        let told = !from.is_empty();
        return Ok(if told {
            to_patient(shipped::ACCOUNTABILITY_MOVED, patient, case)
        } else {
            Notice::default()
        });
    }
    if let Some(HandoffProposed { case, patient, to, .. }) = event.decode()? {
        return Ok(to_staff(shipped::HANDOFF_PROPOSED, patient, case, to));
    }
    if let Some(TaskAssigned { case, patient, owner, .. }) = event.decode()? {
        return Ok(to_staff(shipped::TASK_ASSIGNED, patient, case, owner));
    }
    if let Some(CriticalItemRaised { case, patient, accountable, .. }) = event.decode()? {
        return Ok(to_staff(shipped::CRITICAL_ITEM, patient, case, accountable));
    }
    if let Some(PlanActivated { case, patient, .. }) = event.decode()? {
        return Ok(to_patient(shipped::PLAN_ACTIVATED, patient, case));
    }
    if let Some(closed) = event.decode::<CaseClosed>()? {
        return Ok(case_closed(closed));
    }
    if let Some(ConsentRevoked { patient, r#type, .. }) = event.decode()? {
        let ends = [consent::Type::Messaging, consent::Type::Participation].map(i32::from);
        let cancels = ends.contains(&r#type).then_some(Cancels::Patient);
        return Ok(Notice { patient, cancels, ..Notice::default() });
    }
    Ok(Notice::default())
}

fn case_closed(cp::CaseClosed { case, patient, close_reason, .. }: cp::CaseClosed) -> Notice {
    let cancels = Some(Cancels::Case);
    if close_reason == i32::from(CloseReason::Deceased) {
        return Notice { patient, case, cancels, ..Notice::default() };
    }
    Notice { cancels, ..to_patient(shipped::CASE_CLOSED, patient, case) }
}

fn to_patient(key: &'static str, patient: String, case: String) -> Notice {
    let recipients = Recipient::read(&patient).into_iter().collect();
    Notice { key, patient, case, recipients, cancels: None }
}

/// A task in the pool, or a case without anybody accountable, has nobody to tell.
fn to_staff(key: &'static str, patient: String, case: String, subject: String) -> Notice {
    let recipients = if subject.is_empty() { vec![] } else { vec![Recipient::Subject(subject)] };
    Notice { key, patient, case, recipients, cancels: None }
}
