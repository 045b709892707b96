//! What other services' events mean for whom: who is told what, and what need not be said any more.
use caseward_api::{
    careplan::v1::{
        self as cp, AccountabilityMoved, CaseClosed, CaseEnrolled, CaseReturnedFromWaitlist,
        CriticalItemRaised, HandoffDeclined, HandoffExpired, HandoffProposed, PlanActivated,
        TaskAssigned, TaskOverdue, case::CloseReason,
    },
    patient::v1::{ConsentRevoked, EmergencyAccessGranted, caregiver_scope::Topic, consent},
};
use caseward_core::{Ctx, Result};
use caseward_events::Event;
use prost::Name;

use crate::{judge, message::Recipient, recipient::Patients, shipped};

/// What one event means.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notice {
    pub(crate) patient: String,
    pub(crate) case: String,
    pub(crate) told: Vec<Told>,
    /// What waits is cancelled first.
    pub(crate) cancels: Option<Cancels>,
}

/// One thing that is told, to all who are to hear it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The template.
    pub(crate) key: &'static str,
    pub(crate) recipients: Vec<Recipient>,
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
pub(crate) fn subjects() -> [String; 13] {
    [
        CaseEnrolled::full_name(),
        CaseReturnedFromWaitlist::full_name(),
        AccountabilityMoved::full_name(),
        HandoffProposed::full_name(),
        HandoffDeclined::full_name(),
        HandoffExpired::full_name(),
        TaskAssigned::full_name(),
        TaskOverdue::full_name(),
        CriticalItemRaised::full_name(),
        PlanActivated::full_name(),
        CaseClosed::full_name(),
        ConsentRevoked::full_name(),
        EmergencyAccessGranted::full_name(),
    ]
}

/// What `event` means, with everybody close to the patient who is to hear of it.
pub(crate) async fn read(patients: &Patients, ctx: &Ctx, event: &Event) -> Result<Notice> {
    let mut notice = meaning(event)?;
    for told in &mut notice.told {
        if told.recipients.iter().any(|to| matches!(to, Recipient::Patient(_))) {
            let topic: Topic = judge::topic(told.key);
            let caregivers = patients.caregivers(ctx, &notice.patient, topic).await?;
            told.recipients.extend(caregivers.iter().filter_map(|name| Recipient::read(name)));
        }
    }
    Ok(notice)
}

fn meaning(event: &Event) -> Result<Notice> {
    if let Some(CaseEnrolled { case, patient, accountable, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case)
            .tell_patient(shipped::CASE_ENROLLED)
            .tell_staff(shipped::CASE_ASSIGNED, accountable));
    }
    if let Some(returned) = event.decode()? {
        let CaseReturnedFromWaitlist { case, patient, accountable, .. } = returned;
        return Ok(Notice::about(patient, case).tell_staff(shipped::CASE_ASSIGNED, accountable));
    }
    if let Some(moved) = event.decode()? {
        return Ok(accountability_moved(moved));
    }
    if let Some(HandoffProposed { case, patient, to, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::HANDOFF_PROPOSED, to));
    }
    if let Some(HandoffDeclined { case, patient, from, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::HANDOFF_DECLINED, from));
    }
    if let Some(HandoffExpired { case, patient, from, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::HANDOFF_EXPIRED, from));
    }
    if let Some(TaskOverdue { case, patient, owner, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::TASK_OVERDUE, owner));
    }
    if let Some(TaskAssigned { case, patient, owner, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::TASK_ASSIGNED, owner));
    }
    if let Some(CriticalItemRaised { case, patient, accountable, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_staff(shipped::CRITICAL_ITEM, accountable));
    }
    if let Some(PlanActivated { case, patient, .. }) = event.decode()? {
        return Ok(Notice::about(patient, case).tell_patient(shipped::PLAN_ACTIVATED));
    }
    if let Some(closed) = event.decode()? {
        return Ok(case_closed(closed));
    }
    if let Some(ConsentRevoked { patient, r#type, .. }) = event.decode()? {
        let ends = [consent::Type::Messaging, consent::Type::Participation].map(i32::from);
        let cancels = ends.contains(&r#type).then_some(Cancels::Patient);
        return Ok(Notice { patient, cancels, ..Notice::default() });
    }
    if let Some(EmergencyAccessGranted { patient, .. }) = event.decode()? {
        return Ok(Notice::about(patient, String::new()).tell_patient(shipped::EMERGENCY_ACCESS));
    }
    Ok(Notice::default())
}

fn accountability_moved(moved: AccountabilityMoved) -> Notice {
    let AccountabilityMoved { case, patient, from, to, emergency, .. } = moved;
    let notice = Notice::about(patient, case)
        .tell_patient(shipped::ACCOUNTABILITY_MOVED)
        .tell_staff(shipped::CASE_TAKEN_OVER, from);
    // Whoever accepted a handoff knows.
    if emergency { notice.tell_staff(shipped::CASE_ASSIGNED, to) } else { notice }
}

fn case_closed(cp::CaseClosed { case, patient, close_reason, .. }: cp::CaseClosed) -> Notice {
    let notice = Notice { cancels: Some(Cancels::Case), ..Notice::about(patient, case) };
    if close_reason == i32::from(CloseReason::Deceased) {
        return notice;
    }
    notice.tell_patient(shipped::CASE_CLOSED)
}

impl Notice {
    fn about(patient: String, case: String) -> Self {
        Notice { patient, case, ..Notice::default() }
    }

    fn tell_patient(mut self, key: &'static str) -> Self {
        let recipients = Recipient::read(&self.patient).into_iter().collect();
        self.told.push(Told { key, recipients });
        self
    }

    /// A task in the pool, or a case without anybody accountable, has nobody to tell.
    fn tell_staff(mut self, key: &'static str, subject: String) -> Self {
        if !subject.is_empty() {
            self.told.push(Told { key, recipients: vec![Recipient::Subject(subject)] });
        }
        self
    }
}
