//! What other services' events mean for whom: who is told what, and what need not be said any more.
use caseward_api::{
    careplan::v1::{
        self as cp, AccountabilityMoved, CaseClosed, CaseEnrolled, CaseMarkedInError, CasePaused,
        CaseResumed, CaseReturnedFromWaitlist, ClosureProposed, ClosureReturned,
        CriticalItemRaised, HandoffDeclined, HandoffExpired, HandoffProposed, PlanActivated,
        PlanApproved, PlanMarkedInError, PlanReturned, PlanRevoked, PlanSubmitted, TaskAssigned,
        TaskOffered, TaskOverdue, case::CloseReason,
    },
    patient::v1::{
        CaregiverScopeRevoked, ConsentActivated, ConsentChanged, ConsentExpired, ConsentRevoked,
        EmergencyAccessGranted, PatientUpdated, PreferenceUpdated, caregiver_scope::Topic, consent,
    },
};
use caseward_core::{Ctx, Result, SUPERVISOR};
use caseward_events::Event;
use prost::Name;

use crate::{judge, message::Recipient, recipient::Patients, shipped, team::Teams};

/// What one event means.
#[derive(Clone, Default)]
pub(crate) struct Notice {
    pub(crate) patient: String,
    pub(crate) case: String,
    pub(crate) told: Vec<Told>,
    /// What the care team is told, until it is known who that is.
    team: Option<&'static str>,
    /// What waits is seen to first.
    pub(crate) waiting: Option<Waiting>,
}
caseward_core::confidential!(Notice);

/// One thing that is told, to all who are to hear it.
#[derive(Clone)]
pub(crate) struct Told {
    /// The template.
    pub(crate) key: &'static str,
    pub(crate) recipients: Vec<Recipient>,
}
caseward_core::confidential!(Told);

/// What becomes of messages that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Those about the case have lost their cause, for this reason.
    CaseEnded(&'static str),
    /// Those about the plan that the event is about have.
    PlanEnded(&'static str),
    /// Those to the patient and to those close to them have lost their cause, unless another consent is in force.
    ParticipationEnded,
    /// Those to the patient and to those close to them may be forbidden now.
    Reconsider,
}

/// The events that mean something.
pub(crate) fn subjects() -> [String; 30] {
    [
        CaseEnrolled::full_name(),
        CaseReturnedFromWaitlist::full_name(),
        CasePaused::full_name(),
        CaseResumed::full_name(),
        ClosureProposed::full_name(),
        ClosureReturned::full_name(),
        CaseClosed::full_name(),
        CaseMarkedInError::full_name(),
        AccountabilityMoved::full_name(),
        HandoffProposed::full_name(),
        HandoffDeclined::full_name(),
        HandoffExpired::full_name(),
        TaskAssigned::full_name(),
        TaskOffered::full_name(),
        TaskOverdue::full_name(),
        CriticalItemRaised::full_name(),
        PlanSubmitted::full_name(),
        PlanReturned::full_name(),
        PlanApproved::full_name(),
        PlanActivated::full_name(),
        PlanRevoked::full_name(),
        PlanMarkedInError::full_name(),
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

/// What `event` means, with everybody close to the patient or on the care team who is to hear of it.
pub(crate) async fn read(
    patients: &Patients,
    teams: &Teams,
    ctx: &Ctx,
    event: &Event,
) -> Result<Notice> {
    let mut notice = meaning(event)?;
    if notice.waiting == Some(Waiting::ParticipationEnded)
        && patients.take_part(ctx, &notice.patient).await?
    {
        notice.waiting = None;
    }
    for told in &mut notice.told {
        if told.recipients.iter().any(|to| matches!(to, Recipient::Patient(_))) {
            let topic: Topic = judge::topic(told.key);
            let caregivers = patients.caregivers(ctx, &notice.patient, topic).await?;
            told.recipients.extend(caregivers.iter().filter_map(|name| Recipient::read(name)));
        }
    }
    if let Some(key) = notice.team.take() {
        let recipients = teams.staff(ctx, &notice.case).await?;
        notice.told.push(Told { key, recipients });
    }
    Ok(notice)
}

fn meaning(event: &Event) -> Result<Notice> {
    for kind in [of_case, of_handoff, of_work, of_plan, of_record] {
        if let Some(notice) = kind(event)? {
            return Ok(notice);
        }
    }
    Ok(Notice::default())
}

fn of_case(event: &Event) -> Result<Option<Notice>> {
    Ok(Some(if let Some(event) = event.decode()? {
        let CaseEnrolled { case, patient, accountable, .. } = event;
        Notice::about(patient, case)
            .tell_patient(shipped::CASE_ENROLLED)
            .tell_staff(shipped::CASE_ASSIGNED, accountable)
    } else if let Some(event) = event.decode()? {
        let CaseReturnedFromWaitlist { case, patient, accountable, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::CASE_ASSIGNED, accountable)
    } else if let Some(event) = event.decode()? {
        let CasePaused { case, patient, .. } = event;
        Notice::about(patient, case)
            .tell_patient(shipped::CASE_PAUSED)
            .tell_team(shipped::CASE_PAUSED_TEAM)
    } else if let Some(event) = event.decode()? {
        let CaseResumed { case, patient, .. } = event;
        Notice::about(patient, case)
            .tell_patient(shipped::CASE_RESUMED)
            .tell_team(shipped::CASE_RESUMED_TEAM)
    } else if let Some(event) = event.decode()? {
        let ClosureProposed { case, patient, .. } = event;
        Notice::about(patient, case).tell_supervisors(shipped::CLOSURE_PROPOSED)
    } else if let Some(event) = event.decode()? {
        let ClosureReturned { case, patient, accountable, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::CLOSURE_RETURNED, accountable)
    } else if let Some(event) = event.decode()? {
        case_closed(event)
    } else if let Some(event) = event.decode()? {
        let CaseMarkedInError { case, patient, .. } = event;
        Notice::about(patient, case).end(Waiting::CaseEnded(IN_ERROR))
    } else if let Some(event) = event.decode()? {
        accountability_moved(event)
    } else {
        return Ok(None);
    }))
}

fn of_handoff(event: &Event) -> Result<Option<Notice>> {
    Ok(Some(if let Some(event) = event.decode()? {
        let HandoffProposed { case, patient, to, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::HANDOFF_PROPOSED, to)
    } else if let Some(event) = event.decode()? {
        let HandoffDeclined { case, patient, from, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::HANDOFF_DECLINED, from)
    } else if let Some(event) = event.decode()? {
        let HandoffExpired { case, patient, from, .. } = event;
        Notice::about(patient, case)
            .tell_staff(shipped::HANDOFF_EXPIRED, from)
            .tell_supervisors(shipped::HANDOFF_UNANSWERED)
    } else {
        return Ok(None);
    }))
}

/// What is to be done is told to whoever is to do it, and to supervisors where that is nobody.
fn of_work(event: &Event) -> Result<Option<Notice>> {
    Ok(Some(if let Some(event) = event.decode()? {
        let TaskAssigned { case, patient, owner, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::TASK_ASSIGNED, owner)
    } else if let Some(event) = event.decode()? {
        let TaskOffered { case, patient, candidate_role, .. } = event;
        let notice = Notice::about(patient, case);
        match candidate_role == SUPERVISOR {
            true => notice.tell_supervisors(shipped::TASK_OFFERED),
            // The team finds it in the pool.
            false => notice,
        }
    } else if let Some(event) = event.decode()? {
        let TaskOverdue { case, patient, owner, .. } = event;
        let notice = Notice::about(patient, case);
        match owner.is_empty() {
            true => notice.tell_supervisors(shipped::TASK_UNCLAIMED),
            false => notice.tell_staff(shipped::TASK_OVERDUE, owner),
        }
    } else if let Some(event) = event.decode()? {
        let CriticalItemRaised { case, patient, accountable, owner, .. } = event;
        let notice = Notice::about(patient, case);
        // One told of before there were owners names whoever is accountable.
        match [owner, accountable].into_iter().find(|who| !who.is_empty()) {
            Some(who) => notice.tell_staff(shipped::CRITICAL_ITEM, who),
            None => notice.tell_supervisors(shipped::CRITICAL_ITEM),
        }
    } else {
        return Ok(None);
    }))
}

fn of_plan(event: &Event) -> Result<Option<Notice>> {
    Ok(Some(if let Some(event) = event.decode()? {
        let PlanSubmitted { case, patient, .. } = event;
        Notice::about(patient, case).tell_supervisors(shipped::PLAN_SUBMITTED)
    } else if let Some(event) = event.decode()? {
        let PlanReturned { case, patient, author, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::PLAN_RETURNED, author)
    } else if let Some(event) = event.decode()? {
        let PlanApproved { case, patient, author, .. } = event;
        Notice::about(patient, case).tell_staff(shipped::PLAN_APPROVED, author)
    } else if let Some(event) = event.decode()? {
        let PlanActivated { case, patient, .. } = event;
        Notice::about(patient, case)
            .tell_patient(shipped::PLAN_ACTIVATED)
            .tell_team(shipped::PLAN_COPY)
    } else if let Some(event) = event.decode()? {
        let PlanRevoked { case, patient, .. } = event;
        Notice::about(patient, case).end(Waiting::PlanEnded("PLAN_REVOKED"))
    } else if let Some(event) = event.decode()? {
        let PlanMarkedInError { case, patient, .. } = event;
        Notice::about(patient, case).end(Waiting::PlanEnded(IN_ERROR))
    } else {
        return Ok(None);
    }))
}

/// Why messages are withdrawn that are about what never was.
const IN_ERROR: &str = "ENTERED_IN_ERROR";

/// What happens to the record of a patient, and what a change in what they allow means for what waits.
fn of_record(event: &Event) -> Result<Option<Notice>> {
    let reconsider = |patient: String, matters: bool| {
        let waiting = matters.then_some(Waiting::Reconsider);
        Ok(Some(Notice { patient, waiting, ..Notice::default() }))
    };
    if let Some(EmergencyAccessGranted { patient, .. }) = event.decode()? {
        let notice = Notice::about(patient, String::new());
        return Ok(Some(notice.tell_patient(shipped::EMERGENCY_ACCESS)));
    }
    let messaging = |kind: i32| kind == i32::from(consent::Type::Messaging);
    if let Some(ConsentRevoked { patient, r#type, .. }) = event.decode()? {
        if r#type == i32::from(consent::Type::Participation) {
            let notice = Notice { patient, ..Notice::default() };
            return Ok(Some(notice.end(Waiting::ParticipationEnded)));
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
    Ok(None)
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
    let notice = Notice::about(patient, case).end(Waiting::CaseEnded("CASE_CLOSED"));
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

    /// Where nobody is accountable, nobody is told.
    fn tell_staff(mut self, key: &'static str, subject: String) -> Self {
        if !subject.is_empty() {
            self.told.push(Told { key, recipients: vec![Recipient::Subject(subject)] });
        }
        self
    }

    fn tell_team(mut self, key: &'static str) -> Self {
        self.team = Some(key);
        self
    }

    fn tell_supervisors(mut self, key: &'static str) -> Self {
        self.told.push(Told { key, recipients: vec![Recipient::Supervisors] });
        self
    }

    fn end(self, waiting: Waiting) -> Self {
        Notice { waiting: Some(waiting), ..self }
    }
}
