//! Activities: what is done to reach goals, by whom, when, at what cost.
use caseward_api::careplan::v1::{self as pb, activity::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violations,
    check::{self, Checked},
    data::{self, Concept, Identifier, Json, Money, Period},
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    care_plan::{self, CarePlanId},
    case::{self, CaseId, PatientId},
    delivery::{self, Confirmation},
    goal::{self, GoalId},
    note, recurrence, reference, task, timeline, transition,
};

#[derive(Debug)]
pub struct Activity;
impl Kind for Activity {
    const COLLECTION: &'static str = "activities";
}
pub type ActivityId = Id<Activity>;
pub type ActivityName = (CaseId, CarePlanId, ActivityId);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "activity")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ActivityId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub plan_id: CarePlanId,
    pub identifiers: Json<Vec<Identifier>>,
    pub code: Option<Json<Concept>>,
    pub description: String,
    pub kind: i32,
    pub goals: Json<Vec<GoalId>>,
    pub owner: String,
    pub performer: String,
    pub performer_display: String,
    pub location: String,
    pub schedule: Option<Json<Schedule>>,
    pub expected_effect: String,
    pub cost_estimate: Option<Json<Money>>,
    pub state: State,
    /// Where a held activity goes on.
    pub held_in: Option<State>,
    pub state_reason: String,
    pub evidence: Option<Json<Evidence>>,
    /// What each side last said about whether it was delivered.
    pub confirmations: Option<Json<Vec<Confirmation>>>,
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// The same activity in the plan that this one's plan revises.
    pub carried_from: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// When something happens.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub period: Period,
    pub recurrence: String,
    pub time_zone: String,
    pub text: String,
}
caseward_core::confidential!(Schedule);

/// What shows that it was done.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub kind: i32,
    pub note: String,
    pub text: String,
}
caseward_core::confidential!(Evidence);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "NOT_STARTED")]
    NotStarted,
    #[sea_orm(string_value = "SCHEDULED")]
    Scheduled,
    #[sea_orm(string_value = "IN_PROGRESS")]
    InProgress,
    #[sea_orm(string_value = "ON_HOLD")]
    OnHold,
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
    #[sea_orm(string_value = "STOPPED")]
    Stopped,
    #[sea_orm(string_value = "UNKNOWN")]
    Unknown,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to an activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Schedule,
    Start,
    Hold,
    /// Goes on as scheduled.
    ReleaseToSchedule,
    /// Goes on in progress.
    ReleaseToProgress,
    Complete,
    Cancel,
    Stop,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Schedule,
        Step::Start,
        Step::Hold,
        Step::ReleaseToSchedule,
        Step::ReleaseToProgress,
        Step::Complete,
        Step::Cancel,
        Step::Stop,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::NotStarted, Step::Schedule) => Some(State::Scheduled),
            (State::Scheduled, Step::Start) => Some(State::InProgress),
            (State::Scheduled | State::InProgress, Step::Hold) => Some(State::OnHold),
            (State::OnHold, Step::ReleaseToSchedule) => Some(State::Scheduled),
            (State::OnHold, Step::ReleaseToProgress) => Some(State::InProgress),
            (State::InProgress, Step::Complete) => Some(State::Completed),
            (State::NotStarted | State::Scheduled, Step::Cancel) => Some(State::Cancelled),
            (State::InProgress, Step::Stop) => Some(State::Stopped),
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::NotStarted => "NOT_STARTED",
            State::Scheduled => "SCHEDULED",
            State::InProgress => "IN_PROGRESS",
            State::OnHold => "ON_HOLD",
            State::Completed => "COMPLETED",
            State::Cancelled => "CANCELLED",
            State::Stopped => "STOPPED",
            State::Unknown => "UNKNOWN",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

impl State {
    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, State::NotStarted | State::Scheduled | State::InProgress | State::OnHold)
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
            reason = "the one place where a query of activities begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_in(ctx, Column::Patient, &[Topic::Plan]))
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

/// The fields that a caller may set, as the mask names them.
pub const WRITABLE: [&str; 12] = [
    "identifiers",
    "code",
    "description",
    "kind",
    "goals",
    "owner",
    "performer",
    "performer_display",
    "location",
    "schedule",
    "expected_effect",
    "cost_estimate",
];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.case_id, self.plan_id, self.id)
    }

    /// A new row of `plan` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, plan: &care_plan::Model, from: &pb::Activity) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: ActivityId::generate(),
            organization: plan.organization,
            patient: plan.patient,
            case_id: plan.case_id,
            plan_id: plan.id,
            identifiers: Json::default(),
            code: None,
            description: String::new(),
            kind: 0,
            goals: Json::default(),
            owner: String::new(),
            performer: String::new(),
            performer_display: String::new(),
            location: String::new(),
            schedule: None,
            expected_effect: String::new(),
            cost_estimate: None,
            state: State::NotStarted,
            held_in: None,
            state_reason: String::new(),
            evidence: None,
            confirmations: None,
            started_at: None,
            ended_at: None,
            carried_from: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from)?;
        Ok(row)
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    pub fn take(&mut self, fields: &[&str], from: &pb::Activity) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("activity.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "code" => {
                    let code =
                        from.code.is_some().then(|| data::concept(path, &from.code, &mut bad));
                    self.code = code.flatten().map(Json);
                }
                "description" => {
                    bad.put(&mut self.description, path, check::text(&from.description, 0..=4000))
                }
                "kind" => bad.put(
                    &mut self.kind,
                    path,
                    data::enumeration::<pb::activity::Kind>(from.kind),
                ),
                "goals" => self.goals = Json(self.goals(path, &from.goals, &mut bad)),
                "owner" => bad.put(&mut self.owner, path, check::text(&from.owner, 0..=200)),
                "performer" => {
                    bad.put(&mut self.performer, path, check::text(&from.performer, 0..=200))
                }
                "performer_display" => {
                    bad.put(
                        &mut self.performer_display,
                        path,
                        check::text(&from.performer_display, 0..=300),
                    );
                }
                "location" => {
                    bad.put(&mut self.location, path, check::text(&from.location, 0..=200))
                }
                "schedule" => bad.put(&mut self.schedule, path, schedule(&from.schedule)),
                "expected_effect" => {
                    bad.put(
                        &mut self.expected_effect,
                        path,
                        check::text(&from.expected_effect, 0..=2000),
                    );
                }
                "cost_estimate" => {
                    bad.put(
                        &mut self.cost_estimate,
                        path,
                        data::money(&from.cost_estimate).map(|m| m.map(Json)),
                    );
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        let says = |concept: &Json<Concept>| {
            !concept.0.text.is_empty()
                || concept.0.codings.iter().any(|coding| !coding.display.is_empty())
        };
        if self.description.is_empty() && !self.code.as_ref().is_some_and(says) {
            bad.add("activity.description", "is required where the code has no text or display");
        }
        bad.finish()
    }

    /// The ids of goals, which must be of the same plan.
    fn goals(&self, field: &str, names: &[String], bad: &mut Violations) -> Vec<GoalId> {
        let prefix = format!("{}/{}/", self.case_id, self.plan_id);
        let short: Vec<String> = names
            .iter()
            .map(|name| {
                name.strip_prefix(&prefix)
                    .map_or(name.clone(), |rest| format!("{}/{rest}", self.case_id))
            })
            .collect();
        reference::all_within(self.case_id, field, &short, 50, bad)
    }

    /// What the activity says, apart from where it stands: what is agreed to and compared.
    pub fn content(&self) -> pb::Activity {
        let wire = pb::Activity::from(self.clone());
        pb::Activity {
            code: wire.code,
            description: wire.description,
            kind: wire.kind,
            owner: wire.owner,
            performer: wire.performer,
            performer_display: wire.performer_display,
            location: wire.location,
            schedule: wire.schedule,
            expected_effect: wire.expected_effect,
            cost_estimate: wire.cost_estimate,
            ..Default::default()
        }
    }

    /// How far an activity came on its way.
    fn stage(&self) -> u8 {
        match (self.state, self.held_in) {
            (State::NotStarted, _) => 0,
            (State::Scheduled, _) | (State::OnHold, Some(State::Scheduled)) => 1,
            (State::InProgress | State::OnHold, _) => 2,
            (
                State::Completed
                | State::Cancelled
                | State::Stopped
                | State::Unknown
                | State::EnteredInError,
                _,
            ) => 3,
        }
    }

    /// The step that releases an activity to where it was held; of a loaded one only whether it had begun is known.
    fn release(&self) -> Step {
        match self.held_in {
            Some(State::InProgress) => Step::ReleaseToProgress,
            None if self.started_at.is_some() => Step::ReleaseToProgress,
            _ => Step::ReleaseToSchedule,
        }
    }

    /// The step that ends an activity whose plan or case ended: before it began, or after.
    fn ending(&self) -> Option<Step> {
        match (self.state, self.held_in) {
            (State::NotStarted | State::Scheduled, _) => Some(Step::Cancel),
            (State::InProgress, _) => Some(Step::Stop),
            _ => None,
        }
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

fn schedule(from: &Option<pb::Schedule>) -> Checked<Option<Json<Schedule>>> {
    let Some(from) = from else { return Ok(None) };
    let recurrence = match from.recurrence.as_str() {
        "" => Ok(String::new()),
        rule => recurrence::checked(rule).map_err(|why| format!("recurrence {why}")),
    };
    Ok(Some(Json(Schedule {
        period: data::period(&from.period)?,
        recurrence: recurrence?,
        time_zone: check::time_zone(&from.time_zone).map_err(|why| format!("time_zone {why}"))?,
        text: check::text(&from.text, 0..=500)?,
    })))
}

pub async fn get(scope: &Scope, (case, plan, id): ActivityName) -> Result<Model> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::PlanId.eq(plan))
        .filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{plan}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    plan: care_plan::CarePlanName,
    states: Vec<State>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let plan = care_plan::get(scope, plan).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::PlanId.eq(plan.id));
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    caseward_store::page(scope, select, page).await
}

/// Every activity of a plan, in the order they were made. A plan has at most a few hundred.
pub async fn of_plan(scope: &Scope, plan: CarePlanId) -> Result<Vec<Model>> {
    caseward_store::list(scope, Entity::of(&scope.ctx).filter(Column::PlanId.eq(plan))).await
}

pub async fn create(tx: Tx, plan: care_plan::CarePlanName, from: pb::Activity) -> Result<Model> {
    let case = case::open(&tx, plan.0).await?;
    let plan = care_plan::writable(&tx, plan).await?;
    let row = Model::draft(&tx.ctx, &plan, &from)?;
    known_goals(&tx, &row).await?;
    insert(&tx, &case, row).await
}

/// Refuses goals that are not of the same plan.
pub async fn known_goals(scope: &Scope, row: &Model) -> Result<()> {
    if row.goals.0.is_empty() {
        return Ok(());
    }
    let known = goal::of_plan(scope, row.plan_id).await?;
    let mut bad = Violations::default();
    for (n, goal) in row.goals.0.iter().enumerate() {
        if !known.iter().any(|known| known.id == *goal) {
            bad.add(format!("activity.goals[{n}]"), "is not a goal of this plan");
        }
    }
    bad.finish()
}

/// Stores a checked row, with its history.
pub async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    timeline::moved(tx, case, "ACTIVITY_CREATED", row.change("")).await?;
    let (activity, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::ActivityCreated { activity, case, patient, revision: row.revision },
    );
    Ok(row)
}

pub async fn update(
    tx: Tx,
    name: ActivityName,
    from: pb::Activity,
    mask: FieldMask,
) -> Result<Model> {
    let before = get(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    let case = case::open(&tx, name.0).await?;
    care_plan::writable(&tx, (name.0, name.1)).await?;
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from)?;
    known_goals(&tx, &row).await?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "ACTIVITY_UPDATED", row.name()).await?;
    updated(&tx, &row, fields.into_iter().map(str::to_owned).collect());
    Ok(row)
}

/// What a step brings along, beside its reason.
#[derive(Clone, Default)]
pub struct Along {
    pub schedule: Option<pb::Schedule>,
    pub evidence: Option<pb::Evidence>,
    pub effective: Option<prost_types::Timestamp>,
}
caseward_core::confidential!(Along);

/// What a caller asks for; where a release leads depends on the activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Step(Step),
    Release,
}

pub async fn step(
    tx: Tx,
    name: ActivityName,
    wish: Wish,
    etag: String,
    reason: String,
    along: Along,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let step = match wish {
        Wish::Step(step) => step,
        Wish::Release => row.release(),
    };
    let case = case::of_step(&tx, name.0, step == Step::EnterInError).await?;
    // A refused step names what is allowed before any other rule is asked.
    row.state.take(step, row.name())?;
    let mut bad = Violations::default();
    let effective = bad.take("effective_time", check::moment(&along.effective)).flatten();
    if effective.is_some_and(|at| at > tx.ctx.now()) {
        bad.add("effective_time", "is in the future");
    }
    match step {
        Step::Schedule => {
            if along.schedule.is_some() {
                bad.put(&mut row.schedule, "schedule", schedule(&along.schedule));
            }
            if row.schedule.is_none() {
                bad.add("schedule", "is required; the activity has none");
            }
        }
        Step::EnterInError => transition::retractable(&tx, row.id.uuid()).await?,
        Step::Complete => row.evidence = evidence(&tx, &case, &along.evidence, &mut bad).await?,
        _ => {}
    }
    bad.finish()?;
    let plan = (name.0, name.1);
    match step {
        Step::Start => care_plan::active(&tx, plan).await?,
        Step::ReleaseToProgress => care_plan::goes_on(&tx, plan).await?,
        Step::Hold | Step::Complete => care_plan::begun(&tx, plan).await?,
        Step::Cancel | Step::Stop => care_plan::unsealed(&tx, plan).await?,
        Step::Schedule if along.schedule.is_some() => care_plan::unsealed(&tx, plan).await?,
        Step::Schedule | Step::ReleaseToSchedule | Step::EnterInError => {}
    }
    let before = row.clone();
    let row = moved(&tx, &case, row, step, reason, effective).await?;
    if matches!(step, Step::Cancel | Step::Stop | Step::EnterInError) {
        task::cancel_caused(&tx, &case, &[row.name()], &row.state_reason).await?;
    }
    delivery::clarify(&tx, &case, &before, &row).await?;
    Ok(row)
}

/// A note of the same case, or words of somebody who saw it.
async fn evidence(
    tx: &Tx,
    case: &case::Model,
    from: &Option<pb::Evidence>,
    bad: &mut Violations,
) -> Result<Option<Json<Evidence>>> {
    let Some(from) = from else {
        bad.add("evidence", "is required: a note, or who confirmed it");
        return Ok(None);
    };
    let kind = bad.take("evidence.kind", check::known::<pb::evidence::Kind>(from.kind));
    let text = bad.take("evidence.text", check::text(&from.text, 0..=2000));
    match kind {
        Some(pb::evidence::Kind::Note) if from.note.is_empty() => {
            bad.add("evidence.note", "is required where the kind is NOTE");
        }
        Some(pb::evidence::Kind::Note) => {
            let note = reference::within(case.id, "evidence.note", &from.note, bad);
            let known = match note {
                Some(id) => note::get(tx, (case.id, id)).await.is_ok(),
                None => true,
            };
            if !known {
                bad.add("evidence.note", "is not a note of this case");
            }
        }
        Some(_) if from.text.is_empty() => {
            bad.add("evidence.text", "is required where the kind is not NOTE")
        }
        _ => {}
    }
    let (Some(kind), Some(text)) = (kind, text) else { return Ok(None) };
    Ok(Some(Json(Evidence { kind: kind.into(), note: from.note.clone(), text })))
}

/// Takes a step that is allowed, with its history.
pub async fn moved(
    tx: &Tx,
    case: &case::Model,
    mut row: Model,
    step: Step,
    reason: String,
    effective: Option<Time>,
) -> Result<Model> {
    let before = row.state;
    row.state = before.take(step, row.name())?;
    row.state_reason = reason;
    row.held_in = (row.state == State::OnHold).then_some(before);
    let at = effective.unwrap_or(tx.ctx.now());
    match step {
        Step::Start => row.started_at = Some(at),
        Step::Complete | Step::Cancel | Step::Stop => row.ended_at = Some(at),
        _ => {}
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    let change = Transition { effective, ..row.change(before.label()) };
    timeline::moved(tx, case, "ACTIVITY_MOVED", change).await?;
    emit(tx, &row, step);
    Ok(row)
}

/// Ends every open activity of a plan that ended, and answers with their names.
pub async fn end_all(
    tx: &Tx,
    case: &case::Model,
    plan: CarePlanId,
    reason: &str,
) -> Result<Vec<String>> {
    let mut ended = vec![];
    for row in of_plan(tx, plan).await?.into_iter().filter(|row| row.state.is_open()) {
        ended.push(end(tx, case, row, reason).await?);
    }
    Ok(ended)
}

/// Ends an open activity that its plan no longer has, and answers with its name: one that has not begun is cancelled,
/// another stopped.
pub async fn end(tx: &Tx, case: &case::Model, mut row: Model, reason: &str) -> Result<String> {
    if row.state == State::OnHold {
        let release = row.release();
        row = moved(tx, case, row, release, reason.to_owned(), None).await?;
    }
    if let Some(step) = row.ending() {
        row = moved(tx, case, row, step, reason.to_owned(), None).await?;
    }
    Ok(row.name())
}

/// Brings an activity of a revision to where `original` stands in the plan that is carried out, unless the revision took
/// it further.
pub async fn keep_up(tx: &Tx, case: &case::Model, copy: Model, original: &Model) -> Result<Model> {
    if !copy.state.is_open() || original.stage() < copy.stage() {
        return Ok(copy);
    }
    let row = Model {
        schedule: copy.schedule.clone().or_else(|| original.schedule.clone()),
        state: original.state,
        held_in: original.held_in,
        state_reason: original.state_reason.clone(),
        evidence: original.evidence.clone(),
        confirmations: original.confirmations.clone(),
        started_at: original.started_at,
        ended_at: original.ended_at,
        ..copy.clone()
    };
    if row == copy {
        return Ok(copy);
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    if row.state != copy.state {
        timeline::moved(tx, case, "ACTIVITY_MOVED", row.change(copy.state.label())).await?;
    }
    updated(tx, &row, vec!["state".to_owned()]);
    Ok(row)
}

fn updated(tx: &Tx, row: &Model, changed_fields: Vec<String>) {
    let ((activity, case, patient), revision) = (names(row), row.revision);
    let event = pb::ActivityUpdated { activity, case, patient, revision, changed_fields };
    tx.emit(row.name(), revision, &event);
}

fn emit(tx: &Tx, row: &Model, step: Step) {
    let (activity, case, patient) = names(row);
    let (revision, owner, about) = (row.revision, row.owner.clone(), row.name());
    match step {
        Step::Schedule => tx.emit(
            about,
            revision,
            &pb::ActivityScheduled { activity, case, patient, revision, owner },
        ),
        Step::Start => tx.emit(
            about,
            revision,
            &pb::ActivityStarted { activity, case, patient, revision, owner },
        ),
        Step::Hold => {
            tx.emit(about, revision, &pb::ActivityHeld { activity, case, patient, revision, owner })
        }
        Step::ReleaseToSchedule | Step::ReleaseToProgress => {
            tx.emit(
                about,
                revision,
                &pb::ActivityReleased { activity, case, patient, revision, owner },
            );
        }
        Step::Complete => tx.emit(
            about,
            revision,
            &pb::ActivityCompleted { activity, case, patient, revision, owner },
        ),
        Step::Cancel => tx.emit(
            about,
            revision,
            &pb::ActivityCancelled { activity, case, patient, revision, owner },
        ),
        Step::Stop => tx.emit(
            about,
            revision,
            &pb::ActivityStopped { activity, case, patient, revision, owner },
        ),
        Step::EnterInError => {
            tx.emit(
                about,
                revision,
                &pb::ActivityMarkedInError { activity, case, patient, revision, owner },
            );
        }
    }
}

pub fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        let state = match Wire::try_from(number) {
            Ok(Wire::NotStarted) => State::NotStarted,
            Ok(Wire::Scheduled) => State::Scheduled,
            Ok(Wire::InProgress) => State::InProgress,
            Ok(Wire::OnHold) => State::OnHold,
            Ok(Wire::Completed) => State::Completed,
            Ok(Wire::Cancelled) => State::Cancelled,
            Ok(Wire::Stopped) => State::Stopped,
            Ok(Wire::Unknown) => State::Unknown,
            Ok(Wire::EnteredInError) => State::EnteredInError,
            Ok(Wire::Unspecified) | Err(_) => {
                return Err(Error::invalid("states", "holds a value that is not known"));
            }
        };
        Ok(state)
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::NotStarted => Wire::NotStarted,
            State::Scheduled => Wire::Scheduled,
            State::InProgress => Wire::InProgress,
            State::OnHold => Wire::OnHold,
            State::Completed => Wire::Completed,
            State::Cancelled => Wire::Cancelled,
            State::Stopped => Wire::Stopped,
            State::Unknown => Wire::Unknown,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Activity {
    fn from(row: Model) -> Self {
        let (name, disputed) = (row.name(), delivery::is_disputed(&row));
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id,
            plan_id,
            identifiers,
            code,
            description,
            kind,
            goals,
            owner,
            performer,
            performer_display,
            location,
            schedule,
            expected_effect,
            cost_estimate,
            state,
            held_in: _,
            state_reason,
            evidence,
            confirmations,
            started_at,
            ended_at,
            carried_from,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Activity {
            name,
            identifiers: data::wire(identifiers),
            code: code.map(|code| code.0.into()),
            description,
            kind,
            goals: goals.0.into_iter().map(|id| format!("{case_id}/{plan_id}/{id}")).collect(),
            owner,
            performer,
            performer_display,
            location,
            schedule: schedule.map(|schedule| schedule.0.into()),
            expected_effect,
            cost_estimate: cost_estimate.map(|money| money.0.into()),
            state: Wire::from(state).into(),
            state_reason,
            evidence: evidence.map(|evidence| evidence.0.into()),
            start_time: started_at.map(Into::into),
            end_time: ended_at.map(Into::into),
            carried_from: carried_from.unwrap_or_default(),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
            confirmations: confirmations
                .into_iter()
                .flat_map(|said| said.0)
                .map(Into::into)
                .collect(),
            disputed,
        }
    }
}

impl From<Schedule> for pb::Schedule {
    fn from(Schedule { period, recurrence, time_zone, text }: Schedule) -> Self {
        pb::Schedule { period: Some(period.into()), recurrence, time_zone, text }
    }
}

impl From<Evidence> for pb::Evidence {
    fn from(Evidence { kind, note, text }: Evidence) -> Self {
        pb::Evidence { kind, note, text }
    }
}
