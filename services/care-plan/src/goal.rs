//! Goals: what the person wants to reach, how it is measured, how far it is.
use caseward_api::careplan::v1::{self as pb, goal::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violations, check,
    data::{self, Concept, Identifier, Json, PartialDate, Quantity},
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
    evaluation::EvaluationId,
    problem::{self, ProblemId},
    reference, task, timeline, transition,
};

#[derive(Debug)]
pub struct Goal;
impl Kind for Goal {
    const COLLECTION: &'static str = "goals";
}
pub type GoalId = Id<Goal>;
pub type GoalName = (CaseId, CarePlanId, GoalId);

/// How many observations a goal keeps to show; all are in its transitions and events.
const SHOWN: usize = 50;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "goal")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: GoalId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub plan_id: CarePlanId,
    pub identifiers: Json<Vec<Identifier>>,
    pub description: Json<Concept>,
    pub statement: String,
    pub categories: Json<Vec<Concept>>,
    pub problems: Json<Vec<ProblemId>>,
    pub targets: Json<Vec<Target>>,
    pub priority: i32,
    pub owner: String,
    pub start_date: Option<Json<PartialDate>>,
    pub state: State,
    pub achievement: Achievement,
    /// Newest first.
    pub progress: Json<Vec<Progress>>,
    pub state_reason: String,
    /// The same goal in the plan that this one's plan revises.
    pub carried_from: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// What is measured, and where it should be by when.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub measure: Option<Concept>,
    pub low: Option<Quantity>,
    pub high: Option<Quantity>,
    pub detail: String,
    pub due: Option<PartialDate>,
}
caseward_core::confidential!(Target);

/// What was observed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub achievement: i32,
    pub measure: Option<Concept>,
    pub value: Option<Quantity>,
    pub note: String,
    pub observed_at: Time,
    pub author: String,
    pub evaluation: Option<EvaluationId>,
}
caseward_core::confidential!(Progress);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "PROPOSED")]
    Proposed,
    #[sea_orm(string_value = "ACCEPTED")]
    Accepted,
    #[sea_orm(string_value = "PLANNED")]
    Planned,
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "ON_HOLD")]
    OnHold,
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
    #[sea_orm(string_value = "REJECTED")]
    Rejected,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// How far a goal is (FHIR `goal-achievement`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Achievement {
    #[sea_orm(string_value = "")]
    None,
    #[sea_orm(string_value = "IN_PROGRESS")]
    InProgress,
    #[sea_orm(string_value = "IMPROVING")]
    Improving,
    #[sea_orm(string_value = "NO_CHANGE")]
    NoChange,
    #[sea_orm(string_value = "WORSENING")]
    Worsening,
    #[sea_orm(string_value = "ACHIEVED")]
    Achieved,
    #[sea_orm(string_value = "SUSTAINING")]
    Sustaining,
    #[sea_orm(string_value = "NOT_ACHIEVED")]
    NotAchieved,
    #[sea_orm(string_value = "NOT_ATTAINABLE")]
    NotAttainable,
}

/// What may be done to a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Accept,
    Reject,
    Plan,
    Start,
    Hold,
    Release,
    Complete,
    Cancel,
    EnterInError,
    /// Its plan ended. Not among `STEPS`: nobody asks for it, so no refusal offers it.
    EndWithPlan,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Accept,
        Step::Reject,
        Step::Plan,
        Step::Start,
        Step::Hold,
        Step::Release,
        Step::Complete,
        Step::Cancel,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Proposed, Step::Accept) => Some(State::Accepted),
            (State::Proposed, Step::Reject) => Some(State::Rejected),
            (State::Accepted, Step::Plan) => Some(State::Planned),
            (State::Planned, Step::Start) => Some(State::Active),
            (State::Active, Step::Hold) => Some(State::OnHold),
            (State::OnHold, Step::Release) => Some(State::Active),
            (State::Active | State::OnHold, Step::Complete) => Some(State::Completed),
            (State::Active | State::OnHold, Step::Cancel) => Some(State::Cancelled),
            // Only the person rejects a goal, so one that was proposed is given up with the rest.
            (state, Step::EndWithPlan) if !state.is_end() => Some(State::Cancelled),
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Proposed => "PROPOSED",
            State::Accepted => "ACCEPTED",
            State::Planned => "PLANNED",
            State::Active => "ACTIVE",
            State::OnHold => "ON_HOLD",
            State::Completed => "COMPLETED",
            State::Cancelled => "CANCELLED",
            State::Rejected => "REJECTED",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

impl State {
    /// Whether nothing more happens to the goal.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            State::Completed | State::Cancelled | State::Rejected | State::EnteredInError
        )
    }

    /// How far a goal came on its way.
    fn stage(self) -> u8 {
        match self {
            State::Proposed => 0,
            State::Accepted => 1,
            State::Planned => 2,
            State::Active | State::OnHold => 3,
            State::Completed | State::Cancelled | State::Rejected | State::EnteredInError => 4,
        }
    }
}

impl Achievement {
    const ALL: [Achievement; 9] = [
        Achievement::None,
        Achievement::InProgress,
        Achievement::Improving,
        Achievement::NoChange,
        Achievement::Worsening,
        Achievement::Achieved,
        Achievement::Sustaining,
        Achievement::NotAchieved,
        Achievement::NotAttainable,
    ];

    /// The number of the wire's `Achievement`.
    pub fn number(self) -> i32 {
        Self::ALL.iter().position(|one| *one == self).unwrap_or_default() as i32
    }

    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok().filter(|n| *n > 0)?).copied()
    }

    /// Whether a goal may be completed like this.
    fn is_end(self) -> bool {
        use Achievement::{Achieved, NotAchieved, NotAttainable, Sustaining};
        matches!(self, Achieved | Sustaining | NotAchieved | NotAttainable)
    }

    /// Whether an observation may move a goal from here to `next`.
    fn may_become(self, next: Achievement) -> bool {
        use Achievement::*;
        let moving = |a| matches!(a, InProgress | Improving | NoChange | Worsening);
        match (self, next) {
            (_, None) => false,
            (None, _) => next != Sustaining,
            (from, to) if from == to => true,
            (from, to) if moving(from) => {
                moving(to) || matches!(to, Achieved | NotAchieved | NotAttainable)
            }
            (Achieved, Sustaining) => true,
            // What was kept can be lost again.
            (Achieved | Sustaining, Worsening | NoChange) => true,
            _ => false,
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
            reason = "the one place where a query of goals begins"
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
pub const WRITABLE: [&str; 9] = [
    "identifiers",
    "description",
    "statement",
    "categories",
    "problems",
    "targets",
    "priority",
    "owner",
    "start_date",
];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.case_id, self.plan_id, self.id)
    }

    /// A new row of `plan` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, plan: &care_plan::Model, from: &pb::Goal) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: GoalId::generate(),
            organization: plan.organization,
            patient: plan.patient,
            case_id: plan.case_id,
            plan_id: plan.id,
            identifiers: Json::default(),
            description: Json::default(),
            statement: String::new(),
            categories: Json::default(),
            problems: Json::default(),
            targets: Json::default(),
            priority: 0,
            owner: String::new(),
            start_date: None,
            state: State::Proposed,
            achievement: Achievement::None,
            progress: Json::default(),
            state_reason: String::new(),
            carried_from: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from)?;
        Ok(row)
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    pub fn take(&mut self, fields: &[&str], from: &pb::Goal) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("goal.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "description" => {
                    self.description =
                        Json(data::concept(path, &from.description, &mut bad).unwrap_or_default());
                }
                "statement" => {
                    bad.put(&mut self.statement, path, check::text(&from.statement, 0..=2000))
                }
                "categories" => {
                    self.categories = data::concepts(path, &from.categories, 10, &mut bad)
                }
                "problems" => {
                    self.problems = Json(reference::all_within(
                        self.case_id,
                        path,
                        &from.problems,
                        50,
                        &mut bad,
                    ));
                }
                "targets" => {
                    self.targets = Json(check::list(path, &from.targets, 0..=20, &mut bad, target))
                }
                "priority" => {
                    bad.put(
                        &mut self.priority,
                        path,
                        data::enumeration::<pb::goal::Priority>(from.priority),
                    );
                }
                "owner" => bad.put(&mut self.owner, path, check::text(&from.owner, 0..=200)),
                "start_date" => {
                    bad.put(
                        &mut self.start_date,
                        path,
                        data::partial_date(&from.start_date).map(|d| d.map(Json)),
                    );
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        bad.finish()
    }

    /// Whether a target of the goal measures that: by one of its codes, or in the same words.
    fn measures(&self, measure: &Concept) -> bool {
        let is_same = |one: &Concept| {
            let coded = one.codings.iter().any(|one| {
                measure
                    .codings
                    .iter()
                    .any(|other| (&other.system, &other.code) == (&one.system, &one.code))
            });
            coded || (!one.text.is_empty() && one.text == measure.text)
        };
        self.targets.0.iter().filter_map(|target| target.measure.as_ref()).any(is_same)
    }

    /// What the goal says, apart from where it stands: what is agreed to and compared.
    pub fn content(&self) -> pb::Goal {
        let wire = pb::Goal::from(self.clone());
        pb::Goal {
            description: wire.description,
            statement: wire.statement,
            categories: wire.categories,
            problems: wire.problems,
            targets: wire.targets,
            priority: wire.priority,
            owner: wire.owner,
            start_date: wire.start_date,
            ..Default::default()
        }
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

fn target(from: &pb::Target, bad: &mut Violations) -> Option<Target> {
    let measure =
        from.measure.is_some().then(|| data::concept("measure", &from.measure, bad)).flatten();
    let low = bad.take("low", data::quantity(&from.low));
    let high = bad.take("high", data::quantity(&from.high));
    let detail = bad.take("detail", check::text(&from.detail, 0..=500));
    let due = bad.take("due_date", data::partial_date(&from.due_date));
    if let (Some(Some(low)), Some(Some(high))) = (&low, &high) {
        if low.unit != high.unit {
            bad.add("high", "has another unit than low");
        } else if high.value < low.value {
            bad.add("high", "is lower than low");
        }
    }
    if from.low.is_none()
        && from.high.is_none()
        && from.detail.is_empty()
        && from.due_date.is_none()
    {
        bad.add("", "wants a bound, a detail or a due date");
    }
    Some(Target { measure, low: low?, high: high?, detail: detail?, due: due? })
}

pub async fn get(scope: &Scope, (case, plan, id): GoalName) -> Result<Model> {
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

/// Every goal of a plan, in the order they were made. A plan has at most a few hundred.
pub async fn of_plan(scope: &Scope, plan: CarePlanId) -> Result<Vec<Model>> {
    caseward_store::list(scope, Entity::of(&scope.ctx).filter(Column::PlanId.eq(plan))).await
}

pub async fn create(tx: Tx, plan: care_plan::CarePlanName, from: pb::Goal) -> Result<Model> {
    let case = case::open(&tx, plan.0).await?;
    let plan = care_plan::writable(&tx, plan).await?;
    let row = Model::draft(&tx.ctx, &plan, &from)?;
    problem::all_of(&tx, row.case_id, "goal.problems", &row.problems.0).await?;
    insert(&tx, &case, row).await
}

/// Stores a checked row, with its history.
pub async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    timeline::moved(tx, case, "GOAL_CREATED", row.change("")).await?;
    let (goal, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::GoalCreated { goal, case, patient, revision: row.revision },
    );
    Ok(row)
}

pub async fn update(tx: Tx, name: GoalName, from: pb::Goal, mask: FieldMask) -> Result<Model> {
    let before = get(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    let case = case::open(&tx, name.0).await?;
    care_plan::writable(&tx, (name.0, name.1)).await?;
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from)?;
    problem::all_of(&tx, row.case_id, "goal.problems", &row.problems.0).await?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "GOAL_UPDATED", row.name()).await?;
    let changed_fields = fields.into_iter().map(str::to_owned).collect();
    let (goal, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::GoalUpdated { goal, case, patient, revision: row.revision, changed_fields },
    );
    Ok(row)
}

pub async fn step(
    tx: Tx,
    name: GoalName,
    step: Step,
    etag: String,
    reason: String,
) -> Result<Model> {
    let row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::of_step(&tx, name.0, step == Step::EnterInError).await?;
    // A refused step names what is allowed before any other rule is asked.
    row.state.take(step, row.name())?;
    let plan = (name.0, name.1);
    match step {
        Step::Start | Step::Release => care_plan::active(&tx, plan).await?,
        Step::Hold | Step::Complete => care_plan::begun(&tx, plan).await?,
        Step::Reject | Step::Cancel => care_plan::unsealed(&tx, plan).await?,
        Step::EnterInError => transition::retractable(&tx, row.id.uuid()).await?,
        Step::Accept | Step::Plan | Step::EndWithPlan => {}
    }
    if step == Step::Complete && !row.achievement.is_end() {
        let why =
            "record that the goal is achieved, sustaining, not achieved or not attainable first";
        return Err(Error::precondition("ACHIEVEMENT_OPEN", why));
    }
    let row = moved(&tx, &case, row, step, reason).await?;
    if matches!(step, Step::Reject | Step::Cancel | Step::EnterInError) {
        task::cancel_caused(&tx, &case, &[row.name()], &row.state_reason).await?;
    }
    Ok(row)
}

/// Takes a step that is allowed, with its history.
pub async fn moved(
    tx: &Tx,
    case: &case::Model,
    mut row: Model,
    step: Step,
    reason: String,
) -> Result<Model> {
    let before = row.state;
    row.state = before.take(step, row.name())?;
    row.state_reason = reason;
    if row.state == State::Active && row.achievement == Achievement::None {
        row.achievement = Achievement::InProgress;
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timeline::moved(tx, case, "GOAL_MOVED", row.change(before.label())).await?;
    let (goal, case, patient) = names(&row);
    let revision = row.revision;
    match step {
        Step::Accept => {
            tx.emit(row.name(), revision, &pb::GoalAgreed { goal, case, patient, revision })
        }
        Step::Reject => {
            tx.emit(row.name(), revision, &pb::GoalRejected { goal, case, patient, revision })
        }
        _ => told(tx, &row, before),
    }
    Ok(row)
}

/// Ends every open goal of a plan that ended, and answers with their names.
pub async fn end_all(
    tx: &Tx,
    case: &case::Model,
    plan: CarePlanId,
    reason: &str,
) -> Result<Vec<String>> {
    let mut ended = vec![];
    for row in of_plan(tx, plan).await?.into_iter().filter(|row| !row.state.is_end()) {
        ended.push(end(tx, case, row, reason).await?);
    }
    Ok(ended)
}

/// Ends an open goal that its plan no longer has, and answers with its name.
pub async fn end(tx: &Tx, case: &case::Model, row: Model, reason: &str) -> Result<String> {
    Ok(moved(tx, case, row, Step::EndWithPlan, reason.to_owned()).await?.name())
}

/// Brings a goal of a revision to where `original` stands in the plan that is carried out, unless the revision took it
/// further.
pub async fn keep_up(tx: &Tx, case: &case::Model, copy: Model, original: &Model) -> Result<Model> {
    if copy.state.is_end() || original.state.stage() < copy.state.stage() {
        return Ok(copy);
    }
    let row = Model {
        state: original.state,
        state_reason: original.state_reason.clone(),
        achievement: original.achievement,
        progress: original.progress.clone(),
        ..copy.clone()
    };
    if row == copy {
        return Ok(copy);
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    if row.state != copy.state {
        timeline::moved(tx, case, "GOAL_MOVED", row.change(copy.state.label())).await?;
        told(tx, &row, copy.state);
    }
    Ok(row)
}

fn told(tx: &Tx, row: &Model, before: State) {
    let ((goal, case, patient), revision) = (names(row), row.revision);
    let (from_state, state) = (Wire::from(before).into(), Wire::from(row.state).into());
    tx.emit(
        row.name(),
        revision,
        &pb::GoalMoved { goal, case, patient, revision, from_state, state },
    );
}

pub async fn record_progress(
    tx: Tx,
    name: GoalName,
    etag: String,
    from: pb::GoalProgress,
) -> Result<Model> {
    let row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::open(&tx, name.0).await?;
    observe(&tx, &case, row, from, None).await
}

/// Moves how far a goal is, by an observation or by the finding of an evaluation.
pub async fn observe(
    tx: &Tx,
    case: &case::Model,
    mut row: Model,
    from: pb::GoalProgress,
    evaluation: Option<EvaluationId>,
) -> Result<Model> {
    if !matches!(row.state, State::Active | State::OnHold) {
        let why = format!(
            "{} is {}; progress is recorded while it is ACTIVE or ON_HOLD",
            row.name(),
            row.state.label()
        );
        return Err(Error::precondition("GOAL_NOT_ACTIVE", why));
    }
    // What a revision carries over is observed where it is carried out.
    care_plan::begun(tx, (row.case_id, row.plan_id)).await?;
    let mut bad = Violations::default();
    let next = Achievement::from_number(from.achievement);
    if next.is_none() {
        bad.add("progress.achievement", "is required");
    }
    let measure = from
        .measure
        .is_some()
        .then(|| data::concept("progress.measure", &from.measure, &mut bad))
        .flatten();
    if measure.as_ref().is_some_and(|measure| !row.measures(measure)) {
        bad.add("progress.measure", "is not what a target of the goal measures");
    }
    let value = bad.take("progress.value", data::quantity(&from.value));
    let note = bad.take("progress.note", check::text(&from.note, 0..=2000));
    let observed_at = match bad.take("progress.observe_time", check::moment(&from.observe_time)) {
        Some(at) => at.unwrap_or(tx.ctx.now()),
        None => tx.ctx.now(),
    };
    if observed_at > tx.ctx.now() {
        bad.add("progress.observe_time", "is in the future");
    }
    bad.finish()?;
    let (Some(next), Some(value), Some(note)) = (next, value, note) else {
        return Err(Error::invalid("progress", ""));
    };
    if !row.achievement.may_become(next) {
        let allowed: Vec<&str> = Achievement::ALL
            .into_iter()
            .filter(|one| row.achievement.may_become(*one))
            .map(Achievement::label)
            .collect();
        return Err(Error::State { name: row.name(), state: row.achievement.label(), allowed });
    }
    let author = tx.ctx.subject().to_owned();
    let progress = Progress {
        achievement: next.number(),
        measure,
        value,
        note,
        observed_at,
        author,
        evaluation,
    };
    row.achievement = next;
    row.progress.0.insert(0, progress);
    row.progress.0.truncate(SHOWN);
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timeline::add(tx, case, "GOAL_PROGRESS_RECORDED", row.name()).await?;
    let (goal, case, patient) = names(&row);
    let (revision, achievement) = (row.revision, next.number());
    tx.emit(
        row.name(),
        revision,
        &pb::GoalProgressRecorded { goal, case, patient, revision, achievement },
    );
    Ok(row)
}

fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        let state = match Wire::try_from(number) {
            Ok(Wire::Proposed) => State::Proposed,
            Ok(Wire::Accepted) => State::Accepted,
            Ok(Wire::Planned) => State::Planned,
            Ok(Wire::Active) => State::Active,
            Ok(Wire::OnHold) => State::OnHold,
            Ok(Wire::Completed) => State::Completed,
            Ok(Wire::Cancelled) => State::Cancelled,
            Ok(Wire::Rejected) => State::Rejected,
            Ok(Wire::EnteredInError) => State::EnteredInError,
            Ok(Wire::Unspecified) | Err(_) => {
                return Err(Error::invalid("states", "holds a value that is not known"));
            }
        };
        Ok(state)
    }
}

impl Achievement {
    fn label(self) -> &'static str {
        match self {
            Achievement::None => "NONE",
            Achievement::InProgress => "IN_PROGRESS",
            Achievement::Improving => "IMPROVING",
            Achievement::NoChange => "NO_CHANGE",
            Achievement::Worsening => "WORSENING",
            Achievement::Achieved => "ACHIEVED",
            Achievement::Sustaining => "SUSTAINING",
            Achievement::NotAchieved => "NOT_ACHIEVED",
            Achievement::NotAttainable => "NOT_ATTAINABLE",
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Proposed => Wire::Proposed,
            State::Accepted => Wire::Accepted,
            State::Planned => Wire::Planned,
            State::Active => Wire::Active,
            State::OnHold => Wire::OnHold,
            State::Completed => Wire::Completed,
            State::Cancelled => Wire::Cancelled,
            State::Rejected => Wire::Rejected,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Goal {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id,
            plan_id: _,
            identifiers,
            description,
            statement,
            categories,
            problems,
            targets,
            priority,
            owner,
            start_date,
            state,
            achievement,
            progress,
            state_reason,
            carried_from,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Goal {
            name,
            identifiers: data::wire(identifiers),
            description: Some(description.0.into()),
            statement,
            categories: data::wire(categories),
            problems: problems.0.into_iter().map(|id| format!("{case_id}/{id}")).collect(),
            targets: data::wire(targets),
            priority,
            owner,
            start_date: start_date.map(|date| date.0.into()),
            state: Wire::from(state).into(),
            achievement: achievement.number(),
            progress: progress.0.into_iter().map(|one| one.wire(case_id)).collect(),
            state_reason,
            carried_from: carried_from.unwrap_or_default(),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Target> for pb::Target {
    fn from(Target { measure, low, high, detail, due }: Target) -> Self {
        pb::Target {
            measure: measure.map(Into::into),
            low: low.map(Into::into),
            high: high.map(Into::into),
            detail,
            due_date: due.map(Into::into),
        }
    }
}

impl Progress {
    fn wire(self, case: CaseId) -> pb::GoalProgress {
        let Progress { achievement, measure, value, note, observed_at, author, evaluation } = self;
        pb::GoalProgress {
            achievement,
            measure: measure.map(Into::into),
            value: value.map(Into::into),
            note,
            observe_time: Some(observed_at.into()),
            author,
            evaluation: evaluation.map(|id| format!("{case}/{id}")).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_sustained_only_after_it_was_achieved() {
        assert!(!Achievement::None.may_become(Achievement::Sustaining));
        assert!(!Achievement::Improving.may_become(Achievement::Sustaining));
        assert!(Achievement::Achieved.may_become(Achievement::Sustaining));
        assert!(!Achievement::NotAttainable.may_become(Achievement::Achieved));
    }

    #[test]
    fn a_goal_that_ended_allows_only_a_correction() {
        for state in [State::Completed, State::Cancelled, State::Rejected] {
            assert_eq!(state.allowed(), ["ENTERED_IN_ERROR"]);
        }
    }
}
