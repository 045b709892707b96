//! What other services' events mean for whom: who is told what, and what need not be said any more.
use caseward_api::{
    careplan::v1::{
        self as cp, AccountabilityMoved, CaseClosed, CaseEnrolled, CaseReturnedFromWaitlist,
        CriticalItemRaised, HandoffDeclined, HandoffExpired, HandoffProposed, PlanActivated,
        TaskAssigned, TaskOverdue, case::CloseReason,
    },
    patient::v1::{
        CaregiverScopeRevoked, ConsentActivated, ConsentChanged, ConsentExpired, ConsentRevoked,
        EmergencyAccessGranted, PatientUpdated, PreferenceUpdated, caregiver_scope::Topic, consent,
    },
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
    /// What waits is seen to first.
    pub(crate) waiting: Option<Waiting>,
}

/// One thing that is told, to all who are to hear it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The template.
    pub(crate) key: &'static str,
    pub(crate) recipients: Vec<Recipient>,
}

/// What becomes of messages that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Those about the case have lost their cause.
    CaseEnded,
    /// Those to the patient and to those close to them have lost their cause.
    ParticipationEnded,
    /// Those to the patient and to those close to them may be forbidden now.
    Reconsider,
}

/// The events that mean something.
pub(crate) fn subjects() -> [String; 19] {
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
        ConsentActivated::full_name(),
        ConsentChanged::full_name(),
        ConsentExpired::full_name(),
        ConsentRevoked::full_name(),
        CaregiverScopeRevoked::full_name(),
        PreferenceUpdated::full_name(),
        PatientUpdated::full_name(),
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
    if let Some(EmergencyAccessGranted { patient, .. }) = event.decode()? {
        return Ok(Notice::about(patient, String::new()).tell_patient(shipped::EMERGENCY_ACCESS));
    }
    permission(event)
}

/// What a change in what the patient allows means for what waits.
fn permission(event: &Event) -> Result<Notice> {
    let reconsider = |patient: String, matters: bool| {
        let waiting = matters.then_some(Waiting::Reconsider);
        Ok(Notice { patient, waiting, ..Notice::default() })
    };
    let messaging = |kind: i32| kind == i32::from(consent::Type::Messaging);
    if let Some(ConsentRevoked { patient, r#type, .. }) = event.decode()? {
        if r#type == i32::from(consent::Type::Participation) {
            let waiting = Some(Waiting::ParticipationEnded);
            return Ok(Notice { patient, waiting, ..Notice::default() });
        }
        return reconsider(patient, messaging(r#type));
    }
    if let Some(ConsentActivated { patient, r#type, .. }) = event.decode()? {
        return reconsider(patient, messaging(r#type));
    }
    if let Some(ConsentExpired { patient, r#type, .. }) = event.decode()? {
        return reconsider(patient, messaging(r#type));
    }
    if let Some(ConsentChanged { patient, r#type, .. }) = event.decode()? {
        return reconsider(patient, messaging(r#type));
    }
    if let Some(CaregiverScopeRevoked { patient, .. }) = event.decode()? {
        return reconsider(patient, true);
    }
    if let Some(PreferenceUpdated { patient, changed_fields, .. }) = event.decode()? {
        let matters = changed_fields.iter().any(|field| field == "opted_out_channels");
        return reconsider(patient, matters);
    }
    if let Some(PatientUpdated { patient, changed_fields, .. }) = event.decode()? {
        let matters = changed_fields.iter().any(|field| field == "deceased");
        return reconsider(patient, matters);
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
    let notice = Notice { waiting: Some(Waiting::CaseEnded), ..Notice::about(patient, case) };
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
