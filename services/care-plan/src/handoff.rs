//! Handoffs: accountability moves to another person only when that person says yes.
use caseward_api::careplan::v1::{self as pb, handoff::State as Wire};
use caseward_core::{Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violations, check};
use caseward_store::{Resource, Scope, Transition, Tx, relation, timer};
use sea_orm::entity::prelude::*;
use time::Duration;

use crate::{
    accountability::{self, Cause},
    case::{self, CaseId, PatientId},
    member, timeline,
};

#[derive(Debug)]
pub struct Handoff;
impl Kind for Handoff {
    const COLLECTION: &'static str = "handoffs";
}
pub type HandoffId = Id<Handoff>;
pub type HandoffName = (CaseId, HandoffId);

/// The timer that ends a proposal nobody answered.
pub const EXPIRY: &str = "handoff.expiry";

/// How long a proposal waits where it does not say.
const PATIENCE: Duration = Duration::hours(72);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "handoff")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: HandoffId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub giver: String,
    pub receiver: String,
    pub reason: String,
    pub summary: String,
    pub proposer: String,
    pub expires_at: Time,
    pub state: State,
    pub answer_reason: String,
    pub answered_at: Option<Time>,
    /// The case while the proposal is open: unique, so that there is one at most.
    pub open_in: Option<CaseId>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "PROPOSED")]
    Proposed,
    #[sea_orm(string_value = "ACCEPTED")]
    Accepted,
    #[sea_orm(string_value = "DECLINED")]
    Declined,
    #[sea_orm(string_value = "WITHDRAWN")]
    Withdrawn,
    #[sea_orm(string_value = "EXPIRED")]
    Expired,
}

/// What may be done to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Accept,
    Decline,
    Withdraw,
    Expire,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[Step::Accept, Step::Decline, Step::Withdraw, Step::Expire];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Proposed, Step::Accept) => Some(State::Accepted),
            (State::Proposed, Step::Decline) => Some(State::Declined),
            (State::Proposed, Step::Withdraw) => Some(State::Withdrawn),
            (State::Proposed, Step::Expire) => Some(State::Expired),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Proposed => "PROPOSED",
            State::Accepted => "ACCEPTED",
            State::Declined => "DECLINED",
            State::Withdrawn => "WITHDRAWN",
            State::Expired => "EXPIRED",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of handoffs begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            // What staff say to each other about taking over is theirs.
            .filter(relation::visible_beyond_scope(ctx, Column::Patient))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.name()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    fn change(&self, from: &'static str) -> Transition {
        let reason = if from.is_empty() { &self.reason } else { &self.answer_reason };
        Transition::new(self.id.uuid(), self.name(), from, self.state.label(), reason)
    }
}

pub async fn get(scope: &Scope, (case, id): HandoffName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(scope: &Scope, case: CaseId, page: &Page) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    caseward_store::page(scope, Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)), page).await
}

/// The proposal of a case that is open, if one is.
pub async fn open_of(scope: &Scope, case: CaseId) -> Result<Option<Model>> {
    Ok(Entity::of(&scope.ctx).filter(Column::OpenIn.eq(case)).one(&scope.db).await?)
}

pub async fn propose(tx: Tx, case: CaseId, from: pb::Handoff) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let Some(giver) = case.accountable.clone() else {
        return Err(Error::precondition(
            "NOBODY_ACCOUNTABLE",
            "nobody is accountable for the case; enrol it first",
        ));
    };
    let now = tx.ctx.now();
    let mut bad = Violations::default();
    let receiver = bad.take("handoff.to", check::text(&from.to, 1..=200));
    if receiver.as_ref() == Some(&giver) {
        bad.add("handoff.to", "is accountable already");
    }
    let reason = bad.take("handoff.reason", check::text(&from.reason, 1..=2000));
    let summary = bad.take("handoff.summary", check::text(&from.summary, 0..=20_000));
    let expires_at = bad
        .take("handoff.expire_time", check::moment(&from.expire_time))
        .flatten()
        .unwrap_or(now + PATIENCE);
    if expires_at <= now || expires_at > now + Duration::days(30) {
        bad.add("handoff.expire_time", "wants a time in the next 30 days");
    }
    bad.finish()?;
    if let Some(open) = open_of(&tx, case.id).await? {
        let message =
            "another handoff of this case waits for an answer; withdraw it first".to_owned();
        return Err(Error::Precondition {
            reason: "HANDOFF_OPEN",
            message,
            subjects: vec![open.name()],
        });
    }
    let row = Model {
        id: HandoffId::generate(),
        organization: case.organization,
        patient: case.patient,
        case_id: case.id,
        giver,
        receiver: receiver.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        summary: summary.unwrap_or_default(),
        proposer: tx.ctx.subject().to_owned(),
        expires_at,
        state: State::Proposed,
        answer_reason: String::new(),
        answered_at: None,
        open_in: Some(case.id),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    if case.paused_at.is_none() {
        timer::set(&tx, EXPIRY, row.id.uuid(), expires_at).await?;
    }
    // Whoever is asked must see what they would take over.
    member::ensure(&tx, &case, &row.receiver, member::RECEIVER).await?;
    timeline::moved(&tx, &case, "HANDOFF_PROPOSED", row.change("")).await?;
    let event = pb::HandoffProposed {
        handoff: row.name(),
        case: row.case_id.to_string(),
        patient: row.patient.to_string(),
        revision: row.revision,
        from: row.giver.clone(),
        to: row.receiver.clone(),
        expire_time: Some(row.expires_at.into()),
    };
    tx.emit(row.name(), row.revision, &event);
    Ok(row)
}

pub async fn step(
    tx: Tx,
    name: HandoffName,
    step: Step,
    etag: String,
    reason: String,
) -> Result<Model> {
    let row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    row.state.take(step, row.name())?;
    let me = tx.ctx.subject();
    let may = match step {
        Step::Accept | Step::Decline => row.receiver == me,
        Step::Withdraw => row.proposer == me || tx.ctx.may("cases.supervise"),
        Step::Expire => false,
    };
    if !may {
        let why = "the receiver answers a handoff; the proposer or a supervisor takes it back";
        return Err(Error::precondition("NOT_YOURS", why));
    }
    answer(&tx, row, step, reason).await
}

/// Takes back the open proposal of a case, if there is one, because of what happened to the case meanwhile.
pub async fn overtake(tx: &Tx, case: CaseId, reason: &str) -> Result<()> {
    if let Some(row) = open_of(tx, case).await? {
        answer(tx, row, Step::Withdraw, reason.to_owned()).await?;
    }
    Ok(())
}

/// Lets the open proposal of a case that is paused wait: whoever is asked need not answer while the case rests.
pub async fn stop_clock(tx: &Tx, case: CaseId) -> Result<()> {
    match open_of(tx, case).await? {
        Some(row) => timer::clear(tx, EXPIRY, row.id.uuid()).await,
        None => Ok(()),
    }
}

/// Lets the open proposal of a case that goes on at `at` lapse later by the time that its clock stood since `paused`.
pub async fn start_clock(tx: &Tx, case: CaseId, paused: Time, at: Time) -> Result<()> {
    let Some(mut row) = open_of(tx, case).await? else { return Ok(()) };
    // One that was made while the case was paused never ran.
    row.expires_at = row.expires_at + (at - paused.max(row.created_at)).max(Duration::ZERO);
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timer::set(tx, EXPIRY, row.id.uuid(), row.expires_at).await
}

/// A proposal came to its end: if nobody answered, it expired.
pub async fn fire_expiry(tx: &Tx, id: HandoffId) -> Result<()> {
    let row = Entity::of(&tx.ctx).filter(Column::Id.eq(id)).one(&tx.db).await?;
    if let Some(row) = row.filter(|row| row.state == State::Proposed) {
        answer(tx, row, Step::Expire, String::new()).await?;
    }
    Ok(())
}

async fn answer(tx: &Tx, mut row: Model, step: Step, reason: String) -> Result<Model> {
    let mut case = case::hold(tx, row.case_id).await?;
    let before = row.state;
    row.state = before.take(step, row.name())?;
    row.answer_reason = reason;
    row.answered_at = Some(tx.ctx.now());
    row.open_in = None;
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timer::clear(tx, EXPIRY, row.id.uuid()).await?;
    if step == Step::Accept {
        if row.expires_at <= tx.ctx.now() && case.paused_at.is_none() {
            let why = "the proposal lapsed before it was answered; propose the handoff anew";
            return Err(Error::precondition("HANDOFF_EXPIRED", why));
        }
        if !case.state.is_accountable() {
            let why = "the case no longer needs an accountable person";
            return Err(Error::precondition("NOBODY_ACCOUNTABLE", why));
        }
        let cause = Cause { handoff: row.name(), reason: row.reason.clone(), emergency: false };
        accountability::shift(tx, &mut case, &row.receiver, cause).await?;
        case = caseward_store::update::<case::Entity>(tx, case).await?;
    }
    member::dismiss(tx, &case, &row.receiver, member::RECEIVER, "the handoff was answered").await?;
    let event = match step {
        Step::Accept => "HANDOFF_ACCEPTED",
        Step::Decline => "HANDOFF_DECLINED",
        Step::Withdraw => "HANDOFF_WITHDRAWN",
        Step::Expire => "HANDOFF_EXPIRED",
    };
    timeline::moved(tx, &case, event, row.change(before.label())).await?;
    emit(tx, &row, step);
    Ok(row)
}

fn emit(tx: &Tx, row: &Model, step: Step) {
    let (handoff, case, patient) = (row.name(), row.case_id.to_string(), row.patient.to_string());
    let (revision, from, to) = (row.revision, row.giver.clone(), row.receiver.clone());
    match step {
        Step::Accept => {
            tx.emit(
                row.name(),
                revision,
                &pb::HandoffAccepted { handoff, case, patient, revision, from, to },
            );
        }
        Step::Decline => {
            tx.emit(
                row.name(),
                revision,
                &pb::HandoffDeclined { handoff, case, patient, revision, from, to },
            );
        }
        Step::Withdraw => {
            tx.emit(
                row.name(),
                revision,
                &pb::HandoffWithdrawn { handoff, case, patient, revision, from, to },
            );
        }
        Step::Expire => {
            tx.emit(
                row.name(),
                revision,
                &pb::HandoffExpired { handoff, case, patient, revision, from, to },
            );
        }
    }
}

// === wire ===

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Proposed => Wire::Proposed,
            State::Accepted => Wire::Accepted,
            State::Declined => Wire::Declined,
            State::Withdrawn => Wire::Withdrawn,
            State::Expired => Wire::Expired,
        }
    }
}

impl From<Model> for pb::Handoff {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id: _,
            giver,
            receiver,
            reason,
            summary,
            proposer,
            expires_at,
            state,
            answer_reason,
            answered_at,
            open_in: _,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Handoff {
            name,
            from: giver,
            to: receiver,
            reason,
            summary,
            expire_time: Some(expires_at.into()),
            state: Wire::from(state).into(),
            proposer,
            answer_reason,
            answer_time: answered_at.map(Into::into),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
