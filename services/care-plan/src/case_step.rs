//! The steps of a case: what each demands, what it brings about.
use caseward_api::careplan::v1::{self as pb, case::State as Wire};
use caseward_core::{Error, Machine, Result, Time, Violations, check, data::Json};
use caseward_store::{Transition, Tx, transition};
use time::Duration;

use crate::{
    accountability::{self, Cause},
    assessment, care_plan,
    case::{self, Attempt, CaseId, Entity, Model, State, Step, When},
    evaluation, handoff, obligation, task,
    timeline::{self, Detail},
};

/// How many attempts without reaching the person end outreach.
const ATTEMPTS: usize = 3;

/// How many attempts of one outreach the case itself shows; its timeline has them all.
const KEPT: usize = 50;

/// For how long after its end a case may be opened again; afterwards a new case is made.
const REOPENING: Duration = Duration::days(180);

/// What a step brings along; each step reads what concerns it.
#[derive(Clone, Default)]
pub struct Along {
    pub reason: String,
    pub effective: Option<prost_types::Timestamp>,
    pub accountable: String,
    pub consent: String,
    pub consented: Consented,
    pub consent_statement: String,
    pub expected_return: Option<prost_types::Timestamp>,
    pub close_reason: i32,
    pub waiver: String,
}
caseward_core::confidential!(Along);

/// What the patient service says to the caller of the consent that they name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consented {
    /// None is named.
    #[default]
    Unnamed,
    /// The person takes part.
    InForce,
    /// It is of another kind, says no, or does not hold now.
    NotInForce,
    /// There is none, or not for this caller.
    Absent,
}

/// What a caller asks for; where a waiting case returns to depends on the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Step(Step),
    ReturnFromWaitlist,
}

pub async fn step(tx: Tx, id: CaseId, wish: Wish, etag: String, along: Along) -> Result<Model> {
    let mut row = case::hold(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    let step = match (wish, row.waitlisted_from) {
        (Wish::Step(step), _) => step,
        (Wish::ReturnFromWaitlist, Some(State::Assessing)) => Step::ReturnToAssessing,
        (Wish::ReturnFromWaitlist, _) => Step::ReturnToOutreach,
    };
    // A refused step names what is allowed before any other rule is asked.
    let (before, held) = (row.state, row.accountable.clone());
    let after = before.take(step, id)?;
    let since = transition::of(&tx, id.uuid()).await?.last().map(|last| last.effective_at);
    let when = checked(&tx, &mut row, step, &along, since)?;
    let at = when.at;
    demands(&tx, &row, step, &along).await?;

    match step {
        Step::Enrol => {
            row.enrolled_at = Some(begin(&tx, &mut row, &along, when).await?);
        }
        Step::ReturnToAssessing => {
            begin(&tx, &mut row, &along, when).await?;
        }
        Step::Waitlist => {
            row.waitlisted_from = Some(before);
            handoff::overtake(&tx, id, &along.reason).await?;
            accountability::end(&tx, &mut row, when).await?;
        }
        Step::Pause => {
            row.paused_at = Some(at);
            rest(&tx, id, at).await?;
        }
        Step::Resume => resume(&tx, &mut row, at).await?,
        Step::ProposeClosure if before == State::Paused => resume(&tx, &mut row, at).await?,
        Step::Decline | Step::GiveUp | Step::Close | Step::EnterInError => {
            finish(&tx, &mut row, when, &along).await?;
        }
        Step::Reopen => {
            row.reopened_from = Some(before);
            row.closed_at = None;
            row.close_reason = 0;
            row.closure_waiver = String::new();
            row.contact_attempts = Json::default();
        }
        _ => {}
    }
    row.state = after;
    row.state_reason.clone_from(&along.reason);
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let change = Transition { effective: Some(at), ..row.change(before.label()) };
    timeline::moved(&tx, &row, "CASE_MOVED", change).await?;
    emit(&tx, &row, before, held, step, at);
    Ok(row)
}

/// Checks what the step brings along and puts it into the row, which stands where it does `since` then; answers when
/// the step happened.
fn checked(
    tx: &Tx,
    row: &mut Model,
    step: Step,
    along: &Along,
    since: Option<Time>,
) -> Result<When> {
    let now = tx.ctx.now();
    let mut bad = Violations::default();
    let given = bad.take("effective_time", check::moment(&along.effective)).flatten();
    let when = When::of(given, now);
    if when.at > now {
        bad.add("effective_time", "is in the future");
    }
    let after = when.after(since);
    if after.is_none() {
        bad.add("effective_time", "is before the step that came before it");
    }
    let demanded = matches!(
        step,
        Step::Decline
            | Step::Waitlist
            | Step::Pause
            | Step::ReturnClosure
            | Step::Reopen
            | Step::EnterInError
    );
    let most = match step {
        Step::ProposeClosure | Step::ReturnClosure | Step::Close | Step::Reopen => 2000,
        _ => 1000,
    };
    bad.take("reason", check::text(&along.reason, usize::from(demanded)..=most));
    bad.take("accountable", check::text(&along.accountable, 0..=200));
    match step {
        Step::Enrol => {
            bad.put(
                &mut row.consent_statement,
                "consent_statement",
                check::text(&along.consent_statement, 0..=1000),
            );
            if along.consent.is_empty() && along.consent_statement.is_empty() {
                bad.add("consent", "is required: the consent on record, or consent_statement");
            }
            if !along.consent.is_empty()
                && !along.consent.starts_with(&format!("{}/consents/", row.patient))
            {
                bad.add("consent", "wants a consent of the patient");
            } else if along.consented == Consented::Absent {
                bad.add("consent", "is not a consent that is known");
            }
            row.consent.clone_from(&along.consent);
        }
        Step::Pause => {
            let back = bad.take("expected_return_time", check::timestamp(&along.expected_return));
            if back.is_some_and(|back| back <= now) {
                bad.add("expected_return_time", "is not in the future");
            }
            row.expected_return_at = back;
        }
        Step::ProposeClosure => {
            let reason =
                bad.take("close_reason", check::known::<pb::case::CloseReason>(along.close_reason));
            row.close_reason = reason.map_or(0, Into::into);
        }
        Step::Close => {
            if along.close_reason != 0 {
                let reason = bad.take(
                    "close_reason",
                    check::known::<pb::case::CloseReason>(along.close_reason),
                );
                row.close_reason = reason.map_or(0, Into::into);
            }
            bad.put(&mut row.closure_waiver, "waiver", check::text(&along.waiver, 0..=2000));
        }
        _ => {}
    }
    bad.finish()?;
    Ok(after.unwrap_or(when))
}

/// The rules that a step must meet beside its state.
async fn demands(tx: &Tx, row: &Model, step: Step, along: &Along) -> Result<()> {
    match step {
        Step::Enrol if along.consented == Consented::NotInForce => {
            let why = "the consent does not let the person take part now; activate one of type \
                       PARTICIPATION, or say in consent_statement how they agreed";
            return Err(Error::precondition("CONSENT_NOT_IN_FORCE", why));
        }
        Step::GiveUp => {
            let missed = row.contact_attempts.0.iter();
            let missed = missed
                .filter(|one| one.outcome != pb::contact_attempt::Outcome::Reached as i32)
                .count();
            if missed < ATTEMPTS {
                let why = format!(
                    "record {ATTEMPTS} attempts that did not reach the person first; there are {missed}"
                );
                return Err(Error::precondition("TOO_FEW_ATTEMPTS", why));
            }
        }
        Step::Activate => {
            if !assessment::has_completed(tx, row.id).await? {
                return Err(Error::precondition("NO_ASSESSMENT", "complete an assessment first"));
            }
            if !care_plan::has_any(tx, row.id).await? {
                return Err(Error::precondition("NO_PLAN", "draft a care plan first"));
            }
        }
        Step::ProposeClosure if !evaluation::exists_in(tx, row.id).await? => {
            return Err(Error::precondition("NO_EVALUATION", "evaluate the care first"));
        }
        Step::Close => {
            let open = obligation::of(tx, row.id).await?;
            if !open.is_empty() && along.waiver.is_empty() {
                let message = format!(
                    "{} obligations are open; end them, or waive them with a reason",
                    open.len()
                );
                let subjects = open.into_iter().map(|one| one.resource).collect();
                return Err(Error::Precondition { reason: "OPEN_OBLIGATIONS", message, subjects });
            }
        }
        Step::Reopen => {
            let ended = row.closed_at.unwrap_or(row.updated_at);
            if tx.ctx.now() - ended > REOPENING {
                let why = format!(
                    "it ended more than {} days ago; make a new case",
                    REOPENING.whole_days()
                );
                return Err(Error::precondition("TOO_LATE_TO_REOPEN", why));
            }
        }
        _ => {}
    }
    Ok(())
}

async fn begin(tx: &Tx, row: &mut Model, along: &Along, when: When) -> Result<Time> {
    let person =
        if along.accountable.is_empty() { tx.ctx.subject() } else { &along.accountable }.to_owned();
    accountability::begin(tx, row, &person, when, Cause::default()).await
}

/// Stops the clocks of what is in a case that rests from `at` on.
pub async fn rest(tx: &Tx, case: CaseId, at: Time) -> Result<()> {
    task::stop_clocks(tx, case, at).await?;
    handoff::stop_clock(tx, case).await
}

/// Lets the clocks run on.
pub async fn resume(tx: &Tx, row: &mut Model, at: Time) -> Result<()> {
    task::start_clocks(tx, row.id, at).await?;
    if let Some(since) = row.paused_at.take() {
        handoff::start_clock(tx, row.id, since, at).await?;
    }
    row.expected_return_at = None;
    Ok(())
}

async fn finish(tx: &Tx, row: &mut Model, when: When, along: &Along) -> Result<()> {
    let reason = if along.waiver.is_empty() { &along.reason } else { &along.waiver };
    wind_up(tx, row, reason, |_| true).await?;
    accountability::end(tx, row, when).await?;
    row.closed_at.get_or_insert(when.at);
    row.paused_at = None;
    row.expected_return_at = None;
    Ok(())
}

/// Ends what is open in a case that ended: `plans`, tasks, a handoff.
pub async fn wind_up(
    tx: &Tx,
    case: &Model,
    reason: &str,
    plans: impl Fn(&care_plan::Model) -> bool,
) -> Result<()> {
    let why = if reason.is_empty() { "the case ended" } else { reason };
    care_plan::revoke_all(tx, case, why, plans).await?;
    task::cancel_all(tx, case, &case.id.to_string(), why).await?;
    handoff::overtake(tx, case.id, why).await
}

pub async fn record_attempt(
    tx: Tx,
    id: CaseId,
    etag: String,
    from: pb::ContactAttempt,
) -> Result<Model> {
    let mut row = case::get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    if row.state != State::Outreach {
        let why = format!("{id} is {}; attempts are recorded in OUTREACH", row.state.label());
        return Err(Error::precondition("NOT_IN_OUTREACH", why));
    }
    let now = tx.ctx.now();
    let mut bad = Violations::default();
    let at = bad
        .take("attempt.attempt_time", check::moment(&from.attempt_time))
        .flatten()
        .unwrap_or(now);
    if at > now {
        bad.add("attempt.attempt_time", "is in the future");
    }
    let mode = bad.take("attempt.mode", check::known::<pb::ContactMode>(from.mode));
    let outcome =
        bad.take("attempt.outcome", check::known::<pb::contact_attempt::Outcome>(from.outcome));
    let note = bad.take("attempt.note", check::text(&from.note, 0..=1000));
    bad.finish()?;
    let attempt = Attempt {
        at,
        mode: mode.map_or(0, Into::into),
        outcome: outcome.map_or(0, Into::into),
        note: note.unwrap_or_default(),
        author: tx.ctx.subject().to_owned(),
    };
    let attempts = &mut row.contact_attempts.0;
    if attempts.len() == KEPT {
        attempts.remove(0);
    }
    attempts.push(attempt);
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let detail = Detail { effective: Some(at), ..Detail::default() };
    timeline::tell(&tx, &row, "CONTACT_ATTEMPTED", id.to_string(), detail).await?;
    let (case, patient, revision) = (id.to_string(), row.patient.to_string(), row.revision);
    tx.emit(
        id,
        revision,
        &pb::ContactAttempted { case, patient, revision, effective_time: Some(at.into()) },
    );
    Ok(row)
}

/// Moves accountability at once, without a handoff; an open handoff is withdrawn by it.
pub async fn reassign(
    tx: Tx,
    id: CaseId,
    etag: String,
    person: String,
    reason: String,
) -> Result<Model> {
    let mut row = case::get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &etag)?;
    let mut bad = Violations::default();
    bad.take("accountable", check::text(&person, 1..=200));
    bad.take("reason", check::text(&reason, 1..=2000));
    bad.finish()?;
    if !row.state.is_accountable() {
        let why = format!("{id} is {}; nobody is accountable then", row.state.label());
        return Err(Error::precondition("NOBODY_ACCOUNTABLE", why));
    }
    handoff::overtake(&tx, id, &reason).await?;
    let cause = Cause { emergency: true, reason, handoff: String::new() };
    accountability::shift(&tx, &mut row, &person, cause).await?;
    caseward_store::update::<Entity>(&tx, row).await
}

/// Tells of a step; `held` is who was accountable before it, which is who was to the end where the case ended.
fn emit(tx: &Tx, row: &Model, before: State, held: Option<String>, step: Step, at: Time) {
    let (case, patient, revision) = (row.id.to_string(), row.patient.to_string(), row.revision);
    let accountable = row.accountable.clone().or(held).unwrap_or_default();
    let (from_state, state): (i32, i32) = (Wire::from(before).into(), Wire::from(row.state).into());
    let (close_reason, effective_time) = (row.close_reason, Some(at.into()));
    let expected_return_time = row.expected_return_at.map(Into::into);
    let id = row.id;
    match step {
        Step::StartOutreach => {
            tx.emit(id, revision, &pb::CaseIdentified { case, patient, revision, effective_time });
        }
        Step::Enrol => {
            tx.emit(
                id,
                revision,
                &pb::CaseEnrolled { case, patient, revision, accountable, effective_time },
            );
        }
        Step::Decline | Step::GiveUp => {
            tx.emit(
                id,
                revision,
                &pb::CaseNotEnrolled { case, patient, revision, state, effective_time },
            );
        }
        Step::Waitlist => {
            tx.emit(
                id,
                revision,
                &pb::CaseWaitlisted { case, patient, revision, from_state, effective_time },
            );
        }
        Step::ReturnToOutreach | Step::ReturnToAssessing => {
            let event = pb::CaseReturnedFromWaitlist {
                case,
                patient,
                revision,
                state,
                effective_time,
                accountable,
            };
            tx.emit(id, revision, &event);
        }
        Step::Activate => {
            tx.emit(
                id,
                revision,
                &pb::CaseActivated { case, patient, revision, accountable, effective_time },
            );
        }
        Step::Pause => {
            let event =
                pb::CasePaused { case, patient, revision, expected_return_time, effective_time };
            tx.emit(id, revision, &event);
        }
        Step::Resume => {
            tx.emit(id, revision, &pb::CaseResumed { case, patient, revision, effective_time })
        }
        Step::ProposeClosure => {
            let event = pb::ClosureProposed {
                case,
                patient,
                revision,
                close_reason,
                accountable,
                effective_time,
            };
            tx.emit(id, revision, &event);
        }
        Step::ReturnClosure => {
            tx.emit(
                id,
                revision,
                &pb::ClosureReturned { case, patient, revision, accountable, effective_time },
            );
        }
        Step::Close => {
            let waived = !row.closure_waiver.is_empty();
            let event = pb::CaseClosed {
                case,
                patient,
                revision,
                close_reason,
                accountable,
                waived,
                effective_time,
            };
            tx.emit(id, revision, &event);
        }
        Step::Reopen => {
            tx.emit(
                id,
                revision,
                &pb::CaseReopened { case, patient, revision, from_state, effective_time },
            );
        }
        Step::EnterInError => {
            tx.emit(id, revision, &pb::CaseMarkedInError { case, patient, revision })
        }
    }
}
