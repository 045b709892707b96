//! Tasks: what is to be done in a case, by whom, until when.
use std::collections::BTreeMap;

use caseward_api::careplan::v1::{self as pb, task::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, SUPERVISOR, Time, Violations, check, data,
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
    timer,
};
use prost_types::FieldMask;
use sea_orm::{Condition, entity::prelude::*, sea_query::ExprTrait};
use time::Duration;

use crate::{
    case::{self, CaseId, PatientId},
    timeline::{self, Detail},
    transition,
};

#[derive(Debug)]
pub struct Task;
impl Kind for Task {
    const COLLECTION: &'static str = "tasks";
}
pub type TaskId = Id<Task>;
pub type TaskName = (CaseId, TaskId);

/// The timer that tells when a task is overdue.
pub const DUE: &str = "task.due";

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TaskId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub title: String,
    pub description: String,
    pub focus: String,
    /// What the task ends with: a plan, an activity, an assessment.
    pub cause: String,
    /// Who sees to it; empty while it is in the pool.
    pub owner: String,
    pub candidate_role: String,
    pub priority: i32,
    pub due_at: Option<Time>,
    /// Since when its clock stands, where the case is paused.
    pub stopped_at: Option<Time>,
    pub state: State,
    pub state_reason: String,
    pub output: String,
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    #[sea_orm(string_value = "REQUESTED")]
    Requested,
    #[sea_orm(string_value = "READY")]
    Ready,
    #[sea_orm(string_value = "ACCEPTED")]
    Accepted,
    #[sea_orm(string_value = "REJECTED")]
    Rejected,
    #[sea_orm(string_value = "IN_PROGRESS")]
    InProgress,
    #[sea_orm(string_value = "ON_HOLD")]
    OnHold,
    #[sea_orm(string_value = "FAILED")]
    Failed,
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Offer,
    Assign,
    Claim,
    Accept,
    Reject,
    Start,
    Hold,
    Release,
    Complete,
    Fail,
    Cancel,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Offer,
        Step::Assign,
        Step::Claim,
        Step::Accept,
        Step::Reject,
        Step::Start,
        Step::Hold,
        Step::Release,
        Step::Complete,
        Step::Fail,
        Step::Cancel,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        use State::{
            Accepted, Cancelled, Completed, Draft, EnteredInError, Failed, InProgress, OnHold,
            Ready, Rejected, Requested,
        };
        match (self, step) {
            (Draft | Rejected, Step::Offer) => Some(Ready),
            (Draft | Ready | Requested | Rejected | Accepted, Step::Assign) => Some(Requested),
            (Ready, Step::Claim) => Some(Accepted),
            (Requested, Step::Accept) => Some(Accepted),
            (Requested, Step::Reject) => Some(Rejected),
            (Accepted, Step::Start) => Some(InProgress),
            (InProgress, Step::Hold) => Some(OnHold),
            (OnHold, Step::Release) => Some(InProgress),
            (InProgress, Step::Complete) => Some(Completed),
            (InProgress, Step::Fail) => Some(Failed),
            (state, Step::Cancel) if state.is_open() => Some(Cancelled),
            (EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Draft => "DRAFT",
            State::Requested => "REQUESTED",
            State::Ready => "READY",
            State::Accepted => "ACCEPTED",
            State::Rejected => "REJECTED",
            State::InProgress => "IN_PROGRESS",
            State::OnHold => "ON_HOLD",
            State::Failed => "FAILED",
            State::Completed => "COMPLETED",
            State::Cancelled => "CANCELLED",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

impl State {
    /// The states in which something is still to be done.
    pub const OPEN: [State; 7] = [
        State::Draft,
        State::Requested,
        State::Ready,
        State::Accepted,
        State::Rejected,
        State::InProgress,
        State::OnHold,
    ];

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
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
            reason = "the one place where a query of tasks begins"
        )]
        let tasks = Self::find().filter(Column::Organization.eq(ctx.organization()));
        // What an assessment raised tells what was answered, so a caregiver sees it only with the assessment.
        let of_assessment = Condition::any()
            .add(Column::Cause.contains("/assessments/"))
            .add(Column::Focus.contains("/assessments/"));
        tasks.filter(relation::visible_in(ctx, Column::Patient, &[Topic::Schedule])).filter(
            Condition::any()
                .add(relation::visible_in(ctx, Column::Patient, &[Topic::Assessment]))
                .add(of_assessment.not()),
        )
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

/// The fields that a caller may set, as the mask names them. The owner changes by verbs.
const WRITABLE: [&str; 6] =
    ["title", "description", "focus", "candidate_role", "priority", "due_time"];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// A new row of `case` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, case: &case::Model, from: &pb::Task) -> Result<Self> {
        let mut row = Self::blank(ctx, case);
        row.take(&[&WRITABLE[..], &["owner"]].concat(), from)?;
        Ok(row)
    }

    fn blank(ctx: &Ctx, case: &case::Model) -> Self {
        let now = ctx.now();
        Model {
            id: TaskId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            title: String::new(),
            description: String::new(),
            focus: String::new(),
            cause: String::new(),
            owner: String::new(),
            candidate_role: String::new(),
            priority: pb::task::Priority::Routine.into(),
            due_at: None,
            stopped_at: case.paused_at.and(Some(now)),
            state: State::Ready,
            state_reason: String::new(),
            output: String::new(),
            started_at: None,
            ended_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::Task) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("task.{field}");
            match *field {
                "title" => bad.put(&mut self.title, path, check::text(&from.title, 1..=200)),
                "description" => {
                    bad.put(&mut self.description, path, check::text(&from.description, 0..=4000))
                }
                "focus" => bad.put(&mut self.focus, path, check::text(&from.focus, 0..=300)),
                "candidate_role" => {
                    bad.put(
                        &mut self.candidate_role,
                        path,
                        check::text(&from.candidate_role, 0..=100),
                    );
                }
                "priority" => {
                    bad.put(
                        &mut self.priority,
                        path,
                        data::enumeration::<pb::task::Priority>(from.priority),
                    );
                    if self.priority == 0 {
                        self.priority = pb::task::Priority::Routine.into();
                    }
                }
                "due_time" => bad.put(&mut self.due_at, path, check::moment(&from.due_time)),
                "owner" => bad.put(&mut self.owner, path, check::text(&from.owner, 0..=200)),
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        bad.finish()
    }

    /// Refuses a caller without the role that the task asks for.
    fn welcomes(&self, ctx: &Ctx) -> Result<()> {
        if self.candidate_role.is_empty() || ctx.is(&self.candidate_role) {
            return Ok(());
        }
        let why = format!("{} waits for somebody who is a {}", self.name(), self.candidate_role);
        Err(Error::precondition("NOT_CANDIDATE", why))
    }

    /// The wire form; whether it is overdue depends on when it is asked.
    pub fn wire(self, now: Time) -> pb::Task {
        let name = self.name();
        let now = self.stopped_at.unwrap_or(now);
        let overdue = self.state.is_open() && self.due_at.is_some_and(|due| due < now);
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id: _,
            title,
            description,
            focus,
            cause,
            owner,
            candidate_role,
            priority,
            due_at,
            stopped_at: _,
            state,
            state_reason,
            output,
            started_at,
            ended_at,
            created_at,
            updated_at,
            revision,
        } = self;
        pb::Task {
            name,
            title,
            description,
            focus,
            cause,
            owner,
            candidate_role,
            priority,
            due_time: due_at.map(Into::into),
            state: Wire::from(state).into(),
            overdue,
            state_reason,
            output,
            start_time: started_at.map(Into::into),
            end_time: ended_at.map(Into::into),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

pub async fn get(scope: &Scope, (case, id): TaskName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    case: CaseId,
    states: Vec<State>,
    owner: Option<String>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case));
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    if let Some(owner) = owner {
        select = select.filter(Column::Owner.eq(owner));
    }
    caseward_store::page(scope, select, page).await
}

/// The open tasks of a case: what stands in the way of closing it.
pub async fn open_of(scope: &Scope, case: CaseId) -> Result<Vec<Model>> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::State.is_in(State::OPEN));
    caseward_store::list(scope, select).await
}

pub async fn create(tx: Tx, case: CaseId, from: pb::Task, draft: bool) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let mut row = Model::draft(&tx.ctx, &case, &from)?;
    row.state = match (draft, row.owner.is_empty()) {
        (true, _) => State::Draft,
        (false, true) => State::Ready,
        (false, false) => State::Requested,
    };
    insert(&tx, &case, row).await
}

/// What a rule wants done, such as looking after a critical answer.
#[derive(Clone)]
pub struct Raised {
    pub title: String,
    pub description: String,
    pub focus: String,
    pub cause: String,
    /// Empty where nobody is there to have it: then it waits for a supervisor.
    pub owner: String,
    pub priority: pb::task::Priority,
    pub due_at: Option<Time>,
}
caseward_core::confidential!(Raised);

/// Makes a task that a rule wants; it is accepted for its owner, who need not say yes.
pub async fn raise(tx: &Tx, case: &case::Model, raised: Raised) -> Result<Model> {
    let Raised { title, description, focus, cause, owner, priority, due_at } = raised;
    let (state, candidate_role) =
        if owner.is_empty() { (State::Ready, SUPERVISOR) } else { (State::Accepted, "") };
    let blank = Model::blank(&tx.ctx, case);
    let row = Model {
        title,
        description,
        focus,
        cause,
        owner,
        candidate_role: candidate_role.to_owned(),
        priority: priority.into(),
        due_at,
        state,
        ..blank
    };
    insert(tx, case, row).await
}

async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    arm(tx, &row).await?;
    timeline::moved(tx, case, "TASK_CREATED", row.change("")).await?;
    let (task, case, patient) = names(&row);
    let (revision, owner, due_time) = (row.revision, row.owner.clone(), row.due_at.map(Into::into));
    tx.emit(
        row.name(),
        revision,
        &pb::TaskCreated { task, case, patient, revision, owner, due_time },
    );
    match row.state {
        State::Draft => {}
        State::Ready => offered(tx, &row),
        _ => assigned(tx, &row),
    }
    Ok(row)
}

pub async fn update(tx: Tx, name: TaskName, from: pb::Task, mask: FieldMask) -> Result<Model> {
    let before = get(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    let case = case::open(&tx, name.0).await?;
    if !before.state.is_open() {
        let why = format!("{} is {}; it ended", before.name(), before.state.label());
        return Err(Error::precondition("TASK_ENDED", why));
    }
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from)?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    if row.due_at != before.due_at {
        arm(&tx, &row).await?;
    }
    timeline::add(&tx, &case, "TASK_UPDATED", row.name()).await?;
    updated(&tx, &row, &fields);
    Ok(row)
}

/// What a step brings along, beside its reason.
#[derive(Clone, Default)]
pub struct Along {
    pub owner: String,
    pub output: String,
    pub effective: Option<prost_types::Timestamp>,
}
caseward_core::confidential!(Along);

pub async fn step(
    tx: Tx,
    name: TaskName,
    step: Step,
    etag: String,
    reason: String,
    along: Along,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::of_step(&tx, name.0, step == Step::EnterInError).await?;
    // A refused step names what is allowed before any other rule is asked.
    row.state.take(step, row.name())?;
    let mine = row.owner == tx.ctx.subject();
    if matches!(step, Step::Claim | Step::Accept) {
        row.welcomes(&tx.ctx)?;
    }
    match step {
        Step::Accept | Step::Reject if !mine => {
            return Err(Error::precondition(
                "NOT_OWNER",
                "only the person it was given to says yes or no",
            ));
        }
        Step::Assign => {
            let mut bad = Violations::default();
            bad.put(&mut row.owner, "owner", check::text(&along.owner, 1..=200));
            bad.finish()?;
        }
        Step::EnterInError => transition::retractable(&tx, row.id.uuid()).await?,
        Step::Claim => row.owner = tx.ctx.subject().to_owned(),
        Step::Offer | Step::Reject => row.owner = String::new(),
        Step::Complete => {
            let mut bad = Violations::default();
            bad.put(&mut row.output, "output", check::text(&along.output, 0..=4000));
            bad.finish()?;
        }
        _ => {}
    }
    let effective =
        check::moment(&along.effective).map_err(|why| Error::invalid("effective_time", why))?;
    if effective.is_some_and(|at| at > tx.ctx.now()) {
        return Err(Error::invalid("effective_time", "is in the future"));
    }
    let row = moved(&tx, &case, row, step, reason.clone(), effective).await?;
    if step == Step::Reject {
        // What somebody said no to waits in the pool again, where others find it with the reason.
        return moved(&tx, &case, row, Step::Offer, reason, effective).await;
    }
    Ok(row)
}

async fn moved(
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
    let at = effective.unwrap_or(tx.ctx.now());
    if row.state == State::InProgress && row.started_at.is_none() {
        row.started_at = Some(at);
    }
    row.ended_at = (!row.state.is_open()).then_some(at);
    let row = caseward_store::update::<Entity>(tx, row).await?;
    if !row.state.is_open() {
        timer::clear(tx, DUE, row.id.uuid()).await?;
    }
    let change = Transition { effective, ..row.change(before.label()) };
    timeline::moved(tx, case, "TASK_MOVED", change).await?;
    if step == Step::Assign {
        assigned(tx, &row);
    } else {
        let (task, case, patient) = names(&row);
        let (revision, owner) = (row.revision, row.owner.clone());
        let (from_state, state) = (Wire::from(before).into(), Wire::from(row.state).into());
        tx.emit(
            row.name(),
            revision,
            &pb::TaskMoved { task, case, patient, revision, owner, from_state, state },
        );
    }
    if row.state == State::Ready {
        offered(tx, &row);
    }
    Ok(row)
}

/// Gives the open tasks of `former`, who was accountable for the case, to whoever is now. They stay where they stand:
/// whoever takes on a case takes on what is to be done in it, and hears of the case, not of each task.
pub async fn pass_on(
    tx: &Tx,
    case: &case::Model,
    former: &str,
    owner: &str,
    reason: &str,
) -> Result<()> {
    for mut row in open_of(tx, case.id).await?.into_iter().filter(|row| row.owner == former) {
        row.owner = owner.to_owned();
        let row = caseward_store::update::<Entity>(tx, row).await?;
        let detail = Detail { reason: reason.to_owned(), ..Detail::default() };
        timeline::tell(tx, case, "TASK_PASSED_ON", row.name(), detail).await?;
        updated(tx, &row, &["owner"]);
    }
    Ok(())
}

/// Lets the open tasks of a case be about what became of what they were about: the value of its key in `onward`.
pub async fn follow(tx: &Tx, case: &case::Model, onward: &BTreeMap<String, String>) -> Result<()> {
    for mut row in open_of(tx, case.id).await? {
        let mut fields = vec![];
        for (field, about) in [("focus", &mut row.focus), ("cause", &mut row.cause)] {
            if let Some(now) = onward.get(about) {
                about.clone_from(now);
                fields.push(field);
            }
        }
        if !fields.is_empty() {
            let row = caseward_store::update::<Entity>(tx, row).await?;
            timeline::add(tx, case, "TASK_UPDATED", row.name()).await?;
            updated(tx, &row, &fields);
        }
    }
    Ok(())
}

/// Cancels the open tasks whose cause, one of `causes`, ended.
pub async fn cancel_caused(
    tx: &Tx,
    case: &case::Model,
    causes: &[String],
    reason: &str,
) -> Result<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let select = Entity::of(&tx.ctx)
        .filter(Column::CaseId.eq(case.id))
        .filter(Column::State.is_in(State::OPEN))
        .filter(Column::Cause.is_in(causes).or(Column::Focus.is_in(causes)));
    for row in caseward_store::list(tx, select).await? {
        let cause = if row.cause.is_empty() { row.focus.clone() } else { row.cause.clone() };
        cancel(tx, case, row, cause, reason).await?;
    }
    Ok(())
}

/// Cancels every open task of a case, because of `cause`; what that raised itself stays.
pub async fn cancel_all(tx: &Tx, case: &case::Model, cause: &str, reason: &str) -> Result<()> {
    for row in open_of(tx, case.id).await?.into_iter().filter(|row| row.cause != cause) {
        cancel(tx, case, row, cause.to_owned(), reason).await?;
    }
    Ok(())
}

async fn cancel(
    tx: &Tx,
    case: &case::Model,
    row: Model,
    cause: String,
    reason: &str,
) -> Result<()> {
    let row = moved(tx, case, row, Step::Cancel, reason.to_owned(), None).await?;
    let (task, case, patient) = names(&row);
    let (revision, owner) = (row.revision, row.owner.clone());
    tx.emit(
        row.name(),
        revision,
        &pb::TaskCancelledByCause { task, case, patient, revision, owner, cause },
    );
    Ok(())
}

/// Stops the clocks of the open tasks of a case that is paused since `at`.
pub async fn stop_clocks(tx: &Tx, case: CaseId, at: Time) -> Result<()> {
    for mut row in open_of(tx, case).await? {
        row.stopped_at = Some(at);
        let row = caseward_store::update::<Entity>(tx, row).await?;
        // What was due by then is told all the same, if it was not yet.
        if row.due_at.is_some_and(|due| due > at) {
            timer::clear(tx, DUE, row.id.uuid()).await?;
        }
    }
    Ok(())
}

/// Lets the clocks of a case that goes on from `at` run again: what was due is due later by the time they stood.
pub async fn start_clocks(tx: &Tx, case: CaseId, at: Time) -> Result<()> {
    for mut row in open_of(tx, case).await? {
        let Some(since) = row.stopped_at.take() else { continue };
        let told = row.due_at.is_some_and(|due| due <= since);
        row.due_at = row.due_at.map(|due| due + (at - since).max(Duration::ZERO));
        let row = caseward_store::update::<Entity>(tx, row).await?;
        if !told {
            arm(tx, &row).await?;
        }
    }
    Ok(())
}

/// Sets the timer of an open task that became due at another time, or clears it. A timer fires once for each time that
/// is set, so what was told to be overdue is not told again until it is due anew.
async fn arm(tx: &Tx, row: &Model) -> Result<()> {
    let running = |due: &Time| row.stopped_at.is_none_or(|stopped| *due <= stopped);
    match row.due_at.filter(running) {
        Some(due) => timer::set(tx, DUE, row.id.uuid(), due).await,
        None => timer::clear(tx, DUE, row.id.uuid()).await,
    }
}

/// A task came due: if it is still open, its owner is told, or the supervisors where it has none. Overdue is a flag, never
/// a state.
pub async fn fire_due(tx: &Tx, id: TaskId) -> Result<()> {
    let Some(row) = Entity::of(&tx.ctx).filter(Column::Id.eq(id)).one(&tx.db).await? else {
        return Ok(());
    };
    if !row.state.is_open() {
        return Ok(());
    }
    let case = case::get(tx, row.case_id).await?;
    timeline::add(tx, &case, "TASK_OVERDUE", row.name()).await?;
    let (task, case, patient) = names(&row);
    let (revision, owner, due_time) = (row.revision, row.owner.clone(), row.due_at.map(Into::into));
    tx.emit(
        row.name(),
        revision,
        &pb::TaskOverdue { task, case, patient, revision, owner, due_time },
    );
    Ok(())
}

fn updated(tx: &Tx, row: &Model, fields: &[&str]) {
    let (task, case, patient) = names(row);
    let changed_fields = fields.iter().map(|field| (*field).to_owned()).collect();
    let event = pb::TaskUpdated { task, case, patient, revision: row.revision, changed_fields };
    tx.emit(row.name(), row.revision, &event);
}

fn assigned(tx: &Tx, row: &Model) {
    let (task, case, patient) = names(row);
    let (revision, owner, due_time, priority) =
        (row.revision, row.owner.clone(), row.due_at.map(Into::into), row.priority);
    let event = pb::TaskAssigned { task, case, patient, revision, owner, due_time, priority };
    tx.emit(row.name(), revision, &event);
}

fn offered(tx: &Tx, row: &Model) {
    let (task, case, patient) = names(row);
    let (revision, candidate_role) = (row.revision, row.candidate_role.clone());
    let (due_time, priority) = (row.due_at.map(Into::into), row.priority);
    let event =
        pb::TaskOffered { task, case, patient, revision, candidate_role, due_time, priority };
    tx.emit(row.name(), revision, &event);
}

fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        let state = match Wire::try_from(number) {
            Ok(Wire::Draft) => State::Draft,
            Ok(Wire::Requested) => State::Requested,
            Ok(Wire::Ready) => State::Ready,
            Ok(Wire::Accepted) => State::Accepted,
            Ok(Wire::Rejected) => State::Rejected,
            Ok(Wire::InProgress) => State::InProgress,
            Ok(Wire::OnHold) => State::OnHold,
            Ok(Wire::Failed) => State::Failed,
            Ok(Wire::Completed) => State::Completed,
            Ok(Wire::Cancelled) => State::Cancelled,
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
            State::Draft => Wire::Draft,
            State::Requested => Wire::Requested,
            State::Ready => Wire::Ready,
            State::Accepted => Wire::Accepted,
            State::Rejected => Wire::Rejected,
            State::InProgress => Wire::InProgress,
            State::OnHold => Wire::OnHold,
            State::Failed => Wire::Failed,
            State::Completed => Wire::Completed,
            State::Cancelled => Wire::Cancelled,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}
