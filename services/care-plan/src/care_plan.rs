//! Care plans: what is to be done in a case, agreed to word by word, revised without forgetting.
use caseward_api::careplan::v1::{self as pb, care_plan::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Name, Page, Result, Time, Violations, check,
    data::{self, Concept, Identifier, Json, Period},
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    activity,
    agreement::Agreement,
    case::{self, CaseId, PatientId},
    evaluation, goal,
    kin::Kin,
    plan_content::{self, Carried},
    problem::{self, ProblemId},
    reference, task,
    timeline::{self, Detail},
    transition,
};

#[derive(Debug)]
pub struct CarePlan;
impl Kind for CarePlan {
    const COLLECTION: &'static str = "carePlans";
}
pub type CarePlanId = Id<CarePlan>;
pub type CarePlanName = (CaseId, CarePlanId);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "care_plan")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CarePlanId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub identifiers: Json<Vec<Identifier>>,
    pub title: String,
    pub description: String,
    pub categories: Json<Vec<Concept>>,
    pub problems: Json<Vec<ProblemId>>,
    pub period: Json<Period>,
    pub review_due_at: Option<Time>,
    pub author: String,
    pub state: State,
    pub state_reason: String,
    pub plan_revision: i32,
    pub replaces: Option<CarePlanId>,
    pub replaced_by: Option<CarePlanId>,
    pub revision_reason: String,
    /// Set when the content can no longer change.
    pub content_hash: String,
    pub approval: Option<Json<Approval>>,
    pub agreement: Option<Json<Agreement>>,
    pub activated_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// The case while this plan is the one carried out there: unique, so that there is one at most.
    pub running_in: Option<CaseId>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// That a supervisor approved a plan.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub approver: String,
    pub content_hash: String,
    pub at: Time,
}
caseward_core::confidential!(Approval);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    #[sea_orm(string_value = "IN_REVIEW")]
    InReview,
    #[sea_orm(string_value = "APPROVED")]
    Approved,
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "ON_HOLD")]
    OnHold,
    #[sea_orm(string_value = "REVOKED")]
    Revoked,
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Submit,
    Return,
    Approve,
    Activate,
    Hold,
    Release,
    Complete,
    Revoke,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Submit,
        Step::Return,
        Step::Approve,
        Step::Activate,
        Step::Hold,
        Step::Release,
        Step::Complete,
        Step::Revoke,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Draft, Step::Submit) => Some(State::InReview),
            (State::InReview, Step::Return) => Some(State::Draft),
            (State::InReview, Step::Approve) => Some(State::Approved),
            (State::Approved, Step::Activate) => Some(State::Active),
            (State::Active, Step::Hold) => Some(State::OnHold),
            (State::OnHold, Step::Release) => Some(State::Active),
            (State::Active | State::OnHold, Step::Complete) => Some(State::Completed),
            (State::Draft | State::Approved | State::Active | State::OnHold, Step::Revoke) => {
                Some(State::Revoked)
            }
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Draft => "DRAFT",
            State::InReview => "IN_REVIEW",
            State::Approved => "APPROVED",
            State::Active => "ACTIVE",
            State::OnHold => "ON_HOLD",
            State::Revoked => "REVOKED",
            State::Completed => "COMPLETED",
            State::EnteredInError => "ENTERED_IN_ERROR",
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
            reason = "the one place where a query of care plans begins"
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
pub const WRITABLE: [&str; 7] =
    ["identifiers", "title", "description", "categories", "problems", "period", "review_due_time"];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// A new row of `case` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, case: &case::Model, from: &pb::CarePlan) -> Result<Self> {
        let mut row = Self::blank(ctx, case);
        row.take(&WRITABLE, from)?;
        Ok(row)
    }

    fn blank(ctx: &Ctx, case: &case::Model) -> Self {
        let now = ctx.now();
        Model {
            id: CarePlanId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            identifiers: Json::default(),
            title: String::new(),
            description: String::new(),
            categories: Json::default(),
            problems: Json::default(),
            period: Json::default(),
            review_due_at: None,
            author: ctx.subject().to_owned(),
            state: State::Draft,
            state_reason: String::new(),
            plan_revision: 1,
            replaces: None,
            replaced_by: None,
            revision_reason: String::new(),
            content_hash: String::new(),
            approval: None,
            agreement: None,
            activated_at: None,
            ended_at: None,
            running_in: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    pub fn take(&mut self, fields: &[&str], from: &pb::CarePlan) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("care_plan.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "title" => bad.put(&mut self.title, path, check::text(&from.title, 1..=200)),
                "description" => {
                    bad.put(&mut self.description, path, check::text(&from.description, 0..=8000))
                }
                "categories" => {
                    self.categories = data::concepts(path, &from.categories, 10, &mut bad)
                }
                "problems" => {
                    self.problems = Json(reference::all_within(
                        self.case_id,
                        path,
                        &from.problems,
                        100,
                        &mut bad,
                    ));
                }
                "period" => bad.put(&mut self.period, path, data::period(&from.period).map(Json)),
                "review_due_time" => {
                    bad.put(&mut self.review_due_at, path, check::moment(&from.review_due_time))
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        bad.finish()
    }

    /// What the plan says, apart from where it stands: what is agreed to and compared.
    pub fn content(&self) -> pb::CarePlan {
        let wire = pb::CarePlan::from(self.clone());
        pb::CarePlan {
            title: wire.title,
            description: wire.description,
            categories: wire.categories,
            problems: wire.problems,
            period: wire.period,
            review_due_time: wire.review_due_time,
            ..Default::default()
        }
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

pub async fn get(scope: &Scope, (case, id): CarePlanName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    case: CaseId,
    states: Vec<State>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case));
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    caseward_store::page(scope, select, page).await
}

/// The plan whose goals and activities may still be added to and rewritten.
pub async fn writable(scope: &Scope, name: CarePlanName) -> Result<Model> {
    let row = get(scope, name).await?;
    match row.state {
        State::Draft => Ok(row),
        State::InReview | State::Approved | State::Active | State::OnHold => Err(sealed(&row)),
        State::Revoked | State::Completed | State::EnteredInError => {
            let why = format!("{} is {}; it ended", row.name(), row.state.label());
            Err(Error::precondition("PLAN_ENDED", why))
        }
    }
}

/// Refuses to stop or reschedule what others look at, to approve it or to agree to it.
pub async fn unsealed(scope: &Scope, name: CarePlanName) -> Result<()> {
    let row = get(scope, name).await?;
    match row.state {
        State::InReview | State::Approved => Err(sealed(&row)),
        _ => Ok(()),
    }
}

fn sealed(row: &Model) -> Error {
    let why = format!(
        "{} is {}; what it says is sealed, only a DRAFT can be rewritten: return it or revise it",
        row.name(),
        row.state.label()
    );
    Error::precondition("PLAN_SEALED", why)
}

/// Refuses to begin work in a plan that is not carried out.
pub async fn active(scope: &Scope, name: CarePlanName) -> Result<()> {
    let row = get(scope, name).await?;
    if row.state != State::Active {
        let why =
            format!("{} is {}; work begins while it is ACTIVE", row.name(), row.state.label());
        return Err(Error::precondition("PLAN_NOT_ACTIVE", why));
    }
    Ok(())
}

/// The same for work that goes on. In a draft that is what a revision carries over on hold: it is released there to be
/// stopped.
pub async fn goes_on(scope: &Scope, name: CarePlanName) -> Result<()> {
    match get(scope, name).await?.state {
        State::Draft => Ok(()),
        _ => active(scope, name).await,
    }
}

/// Refuses work in a plan that is not carried out yet: a revision's is done in the plan that it revises.
pub async fn begun(scope: &Scope, name: CarePlanName) -> Result<()> {
    let row = get(scope, name).await?;
    if matches!(row.state, State::Draft | State::InReview | State::Approved) {
        let why = format!("{} is {}; it is not carried out yet", row.name(), row.state.label());
        return Err(Error::precondition("PLAN_NOT_ACTIVE", why));
    }
    Ok(())
}

/// Whether a case has a plan that is being written or is further than that.
pub async fn has_any(scope: &Scope, case: CaseId) -> Result<bool> {
    let ended = [State::Revoked, State::Completed, State::EnteredInError];
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::State.is_not_in(ended));
    Ok(select.one(&scope.db).await?.is_some())
}

/// The plans of a case that are carried out or about to be: what stands in the way of closing it.
pub async fn unfinished(scope: &Scope, case: CaseId) -> Result<Vec<Model>> {
    let open = [State::InReview, State::Approved, State::Active, State::OnHold];
    let select =
        Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::State.is_in(open));
    caseward_store::list(scope, select).await
}

pub async fn create(tx: Tx, case: CaseId, from: pb::CarePlan) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let row = Model::draft(&tx.ctx, &case, &from)?;
    problem::all_of(&tx, row.case_id, "care_plan.problems", &row.problems.0).await?;
    insert(&tx, &case, row).await
}

/// Stores a checked row, with its history.
pub async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    timeline::moved(tx, case, "PLAN_CREATED", row.change("")).await?;
    let (care_plan, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::PlanCreated { care_plan, case, patient, revision: row.revision },
    );
    Ok(row)
}

pub async fn update(
    tx: Tx,
    name: CarePlanName,
    from: pb::CarePlan,
    mask: FieldMask,
) -> Result<Model> {
    let before = writable(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    let case = case::open(&tx, name.0).await?;
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from)?;
    problem::all_of(&tx, row.case_id, "care_plan.problems", &row.problems.0).await?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "PLAN_UPDATED", row.name()).await?;
    let changed_fields = fields.into_iter().map(str::to_owned).collect();
    let (care_plan, case, patient) = names(&row);
    let event =
        pb::PlanUpdated { care_plan, case, patient, revision: row.revision, changed_fields };
    tx.emit(row.name(), row.revision, &event);
    Ok(row)
}

pub async fn step(
    tx: Tx,
    name: CarePlanName,
    step: Step,
    etag: String,
    reason: String,
    effective: Option<prost_types::Timestamp>,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::of_step(&tx, name.0, step == Step::EnterInError).await?;
    // A refused step names what is allowed before any other rule is asked.
    row.state.take(step, row.name())?;
    let mut bad = Violations::default();
    let effective = bad.take("effective_time", check::moment(&effective)).flatten();
    if effective.is_some_and(|at| at > tx.ctx.now()) {
        bad.add("effective_time", "is in the future");
    }
    bad.finish()?;
    let at = effective.unwrap_or(tx.ctx.now());
    match step {
        Step::Submit => {
            if goal::of_plan(&tx, row.id).await?.iter().all(|goal| goal.state.is_end()) {
                return Err(Error::precondition(
                    "NO_GOALS",
                    "a plan needs at least one goal before it is submitted",
                ));
            }
            if let Some((_, mut carried)) = revised(&tx, &row).await? {
                carried.keep_up(&tx, &case).await?;
            }
            row.content_hash = plan_content::hash(&tx, &row).await?;
        }
        Step::Return => row.content_hash = String::new(),
        Step::Approve => approve(&tx, &mut row)?,
        Step::Activate => activate(&tx, &case, &mut row, at).await?,
        Step::Complete => complete(&tx, &mut row, at).await?,
        Step::Revoke => {
            end(&tx, &case, &mut row, at, &reason).await?;
        }
        Step::EnterInError => {
            transition::retractable(&tx, row.id.uuid()).await?;
            end(&tx, &case, &mut row, at, &reason).await?;
        }
        Step::Hold | Step::Release => {}
    }
    let before = row.state;
    row.state = before.take(step, row.name())?;
    row.state_reason = reason;
    let row = match caseward_store::update::<Entity>(&tx, row).await {
        Err(Error::AlreadyExists(_)) => {
            return Err(Error::precondition(
                "PLAN_RUNNING",
                "another plan of this case is active; revise or end that one",
            ));
        }
        done => done?,
    };
    let change = Transition { effective, ..row.change(before.label()) };
    timeline::moved(&tx, &case, timeline_kind(step), change).await?;
    emit(&tx, &case, &row, step, at);
    Ok(row)
}

fn approve(tx: &Tx, row: &mut Model) -> Result<()> {
    if row.author == tx.ctx.subject() {
        return Err(Error::precondition(
            "OWN_PLAN",
            "nobody approves their own plan; ask another supervisor",
        ));
    }
    let approval = Approval {
        approver: tx.ctx.subject().to_owned(),
        content_hash: row.content_hash.clone(),
        at: tx.ctx.now(),
    };
    row.approval = Some(Json(approval));
    Ok(())
}

/// A plan that was agreed to begins; the one it revises ends in the same moment.
async fn activate(tx: &Tx, case: &case::Model, row: &mut Model, at: Time) -> Result<()> {
    let Some(Json(agreement)) = &row.agreement else {
        let why = "record the agreement of the person or their representative, or why there is none, first";
        return Err(Error::precondition("NO_AGREEMENT", why));
    };
    unchanged(tx, row, &agreement.content_hash).await?;
    if let Some((old, mut carried)) = revised(tx, row).await? {
        let lost = carried.lost();
        if !lost.is_empty() {
            return Err(changed(lost));
        }
        carried.keep_up(tx, case).await?;
        carried.succeed(tx, case, (old.name(), row.name())).await?;
        replace(tx, case, old, row, at).await?;
    }
    row.activated_at = Some(at);
    row.running_in = Some(row.case_id);
    Ok(())
}

/// The plan that a revision revises, with what was carried over.
async fn revised(tx: &Tx, row: &Model) -> Result<Option<(Model, Carried)>> {
    let Some(replaces) = row.replaces else { return Ok(None) };
    let old = get(tx, (row.case_id, replaces)).await?;
    if !matches!(old.state, State::Active | State::OnHold) {
        // What was carried over from it has ended with it, and would begin anew.
        let message = "the plan that this one revises has ended; revoke this one and write another";
        return Err(Error::Precondition {
            reason: "PLAN_CHANGED",
            message: message.to_owned(),
            subjects: vec![old.name()],
        });
    }
    let carried = Carried::of(tx, old.id, row.id).await?;
    Ok(Some((old, carried)))
}

/// Ends a plan that `by` continues.
async fn replace(tx: &Tx, case: &case::Model, mut old: Model, by: &Model, at: Time) -> Result<()> {
    let before = old.state;
    let reason = format!("continued as {}", by.name());
    end(tx, case, &mut old, at, &reason).await?;
    old.state = before.take(Step::Complete, old.name())?;
    old.state_reason = reason;
    old.replaced_by = Some(by.id);
    let old = caseward_store::update::<Entity>(tx, old).await?;
    let change = Transition { effective: Some(at), ..old.change(before.label()) };
    timeline::moved(tx, case, "PLAN_REPLACED", change).await
}

/// Refuses a plan that no longer says what somebody said yes to.
async fn unchanged(tx: &Tx, row: &Model, hash: &str) -> Result<()> {
    if plan_content::hash(tx, row).await? == hash {
        return Ok(());
    }
    Err(changed(vec![row.name()]))
}

fn changed(subjects: Vec<String>) -> Error {
    let message =
        "what would be carried out is no longer what was said yes to; revoke this plan and \
                   write another"
            .to_owned();
    Error::Precondition { reason: "PLAN_CHANGED", message, subjects }
}

async fn complete(tx: &Tx, row: &mut Model, at: Time) -> Result<()> {
    let goals = goal::of_plan(tx, row.id).await?.into_iter();
    let open = goals.filter(|goal| !goal.state.is_end()).map(|goal| goal.name()).collect();
    none_open("OPEN_GOALS", "end every goal of the plan first", open)?;
    let activities = activity::of_plan(tx, row.id).await?.into_iter();
    let open = activities.filter(|one| one.state.is_open()).map(|one| one.name()).collect();
    none_open("OPEN_ACTIVITIES", "end every activity of the plan first", open)?;
    if !evaluation::exists_for(tx, row.id).await? {
        return Err(Error::precondition(
            "NO_EVALUATION",
            "evaluate the plan before it is completed",
        ));
    }
    row.ended_at = Some(at);
    row.running_in = None;
    Ok(())
}

fn none_open(reason: &'static str, message: &str, open: Vec<String>) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    Err(Error::Precondition { reason, message: message.to_owned(), subjects: open })
}

/// Gives up every plan of a case that ends, of those that are `meant`.
pub async fn revoke_all(
    tx: &Tx,
    case: &case::Model,
    reason: &str,
    meant: impl Fn(&Model) -> bool,
) -> Result<()> {
    let at = tx.ctx.now();
    let ended = [State::Revoked, State::Completed, State::EnteredInError];
    let select = Entity::of(&tx.ctx)
        .filter(Column::CaseId.eq(case.id))
        .filter(Column::State.is_not_in(ended));
    for mut row in caseward_store::list(tx, select).await?.into_iter().filter(meant) {
        let mut before = row.state;
        if before == State::InReview {
            // Nobody reviews it any more.
            before = before.take(Step::Return, row.name())?;
        }
        end(tx, case, &mut row, at, reason).await?;
        row.state = before.take(Step::Revoke, row.name())?;
        row.state_reason = reason.to_owned();
        let row = caseward_store::update::<Entity>(tx, row).await?;
        timeline::moved(tx, case, "PLAN_REVOKED", row.change(before.label())).await?;
        emit(tx, case, &row, Step::Revoke, at);
    }
    Ok(())
}

/// What ends with a plan: its open activities and goals, and the tasks that they caused.
async fn end(tx: &Tx, case: &case::Model, row: &mut Model, at: Time, reason: &str) -> Result<()> {
    let activities = activity::end_all(tx, case, row.id, reason).await?;
    let goals = goal::end_all(tx, case, row.id, reason).await?;
    task::cancel_caused(tx, case, &[activities, goals, vec![row.name()]].concat(), reason).await?;
    row.ended_at = Some(at);
    row.running_in = None;
    Ok(())
}

pub async fn record_agreement(
    tx: Tx,
    name: CarePlanName,
    etag: String,
    from: pb::Agreement,
    kin: Kin,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::open(&tx, name.0).await?;
    if row.state != State::Approved {
        let why = format!(
            "{} is {}; agreement is recorded while it is APPROVED",
            row.name(),
            row.state.label()
        );
        return Err(Error::precondition("PLAN_NOT_APPROVED", why));
    }
    let agreement = Agreement::read(&tx.ctx, &case, &from, kin)?;
    if agreement.content_hash != row.content_hash {
        return Err(Error::Stale(row.name()));
    }
    unchanged(&tx, &row, &row.content_hash).await?;
    let refusal = agreement.not_obtained_reason.clone();
    let obtained = refusal.is_empty();
    row.agreement = Some(Json(agreement));
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let detail = Detail { reason: refusal, ..Detail::default() };
    timeline::tell(&tx, &case, "PLAN_AGREED", row.name(), detail).await?;
    let (care_plan, case, patient) = names(&row);
    let event =
        pb::AgreementRecorded { care_plan, case, patient, revision: row.revision, obtained };
    tx.emit(row.name(), row.revision, &event);
    Ok(row)
}

/// A new draft of a plan that is carried out, with the goals and activities that are still open.
pub async fn revise(tx: Tx, name: CarePlanName, etag: String, reason: String) -> Result<Model> {
    let case = case::open(&tx, name.0).await?;
    let old = get(&tx, name).await?;
    caseward_store::expect(old.name(), old.revision, &etag)?;
    if !matches!(old.state, State::Active | State::OnHold) {
        let why = format!(
            "{} is {}; a plan is revised while it is ACTIVE or ON_HOLD",
            old.name(),
            old.state.label()
        );
        return Err(Error::precondition("PLAN_NOT_ACTIVE", why));
    }
    let mut bad = Violations::default();
    let reason = bad.take("reason", check::text(&reason, 1..=2000));
    bad.finish()?;
    let drafts = Entity::of(&tx.ctx)
        .filter(Column::Replaces.eq(old.id))
        .filter(Column::State.is_in([State::Draft, State::InReview, State::Approved]));
    if let Some(draft) = drafts.one(&tx.db).await? {
        let message =
            "a revision of this plan is being written; finish or revoke that one".to_owned();
        return Err(Error::Precondition {
            reason: "REVISION_OPEN",
            message,
            subjects: vec![draft.name()],
        });
    }
    let row = Model {
        identifiers: Json::default(),
        title: old.title.clone(),
        description: old.description.clone(),
        categories: old.categories.clone(),
        problems: old.problems.clone(),
        period: old.period.clone(),
        review_due_at: old.review_due_at,
        plan_revision: old.plan_revision + 1,
        replaces: Some(old.id),
        revision_reason: reason.unwrap_or_default(),
        ..Model::blank(&tx.ctx, &case)
    };
    let row = insert(&tx, &case, row).await?;
    plan_content::carry(&tx, &case, &old, &row).await?;
    let (care_plan, case, patient) = names(&row);
    let event = pb::PlanRevisionDrafted {
        care_plan,
        case,
        patient,
        revision: row.revision,
        replaces: old.name(),
    };
    tx.emit(row.name(), row.revision, &event);
    Ok(row)
}

fn timeline_kind(step: Step) -> &'static str {
    match step {
        Step::Submit => "PLAN_SUBMITTED",
        Step::Return => "PLAN_RETURNED",
        Step::Approve => "PLAN_APPROVED",
        Step::Activate => "PLAN_ACTIVATED",
        Step::Hold => "PLAN_HELD",
        Step::Release => "PLAN_RELEASED",
        Step::Complete => "PLAN_COMPLETED",
        Step::Revoke => "PLAN_REVOKED",
        Step::EnterInError => "PLAN_ENTERED_IN_ERROR",
    }
}

fn emit(tx: &Tx, of: &case::Model, row: &Model, step: Step, at: Time) {
    let (care_plan, case, patient) = names(row);
    let (about, revision, author) = (row.name(), row.revision, row.author.clone());
    let effective_time = Some(at.into());
    match step {
        Step::Submit => {
            tx.emit(about, revision, &pb::PlanSubmitted { care_plan, case, patient, revision })
        }
        Step::Return => tx.emit(
            about,
            revision,
            &pb::PlanReturned { care_plan, case, patient, revision, author },
        ),
        Step::Approve => tx.emit(
            about,
            revision,
            &pb::PlanApproved { care_plan, case, patient, revision, author },
        ),
        Step::Activate => {
            let accountable = of.accountable.clone().unwrap_or_default();
            if let Some(old) = row.replaces {
                let replaces = format!("{}/{old}", row.case_id);
                let event = pb::PlanRevised {
                    care_plan: care_plan.clone(),
                    case: case.clone(),
                    patient: patient.clone(),
                    revision,
                    replaces,
                };
                tx.emit(&about, revision, &event);
            }
            let event = pb::PlanActivated {
                care_plan,
                case,
                patient,
                revision,
                accountable,
                effective_time,
            };
            tx.emit(about, revision, &event);
        }
        Step::Hold => {
            tx.emit(about, revision, &pb::PlanHeld { care_plan, case, patient, revision })
        }
        Step::Release => {
            tx.emit(about, revision, &pb::PlanReleased { care_plan, case, patient, revision })
        }
        Step::Complete => {
            tx.emit(
                about,
                revision,
                &pb::PlanCompleted { care_plan, case, patient, revision, effective_time },
            );
        }
        Step::Revoke => {
            tx.emit(about, revision, &pb::PlanRevoked { care_plan, case, patient, revision })
        }
        Step::EnterInError => {
            tx.emit(about, revision, &pb::PlanMarkedInError { care_plan, case, patient, revision })
        }
    }
}

fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

/// The plans from `revised` back to `base`, the newest first; only the two where the one does not revise the other.
pub async fn line(scope: &Scope, revised: &Model, base: &Model) -> Result<Vec<Model>> {
    let mut line = vec![revised.clone()];
    while let Some(replaces) =
        line.last().filter(|one| one.id != base.id).and_then(|one| one.replaces)
    {
        line.push(get(scope, (revised.case_id, replaces)).await?);
    }
    if line.last().is_none_or(|one| one.id != base.id) {
        return Ok(vec![revised.clone(), base.clone()]);
    }
    Ok(line)
}

/// The older plan of a comparison: the one named, or the one that `revised` replaces.
pub async fn base(scope: &Scope, revised: &Model, base: &str) -> Result<Model> {
    let name = match (base, revised.replaces) {
        ("", Some(replaced)) => (revised.case_id, replaced),
        ("", None) => {
            return Err(Error::precondition(
                "NO_BASE",
                "the plan replaces none; name the one to compare with",
            ));
        }
        (base, _) => Name::parse("base", base)?,
    };
    if name.0 != revised.case_id {
        return Err(Error::invalid("base", "wants a plan of the same case"));
    }
    get(scope, name).await
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        let state = match Wire::try_from(number) {
            Ok(Wire::Draft) => State::Draft,
            Ok(Wire::InReview) => State::InReview,
            Ok(Wire::Approved) => State::Approved,
            Ok(Wire::Active) => State::Active,
            Ok(Wire::OnHold) => State::OnHold,
            Ok(Wire::Revoked) => State::Revoked,
            Ok(Wire::Completed) => State::Completed,
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
            State::InReview => Wire::InReview,
            State::Approved => Wire::Approved,
            State::Active => Wire::Active,
            State::OnHold => Wire::OnHold,
            State::Revoked => Wire::Revoked,
            State::Completed => Wire::Completed,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::CarePlan {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id,
            identifiers,
            title,
            description,
            categories,
            problems,
            period,
            review_due_at,
            author,
            state,
            state_reason,
            plan_revision,
            replaces,
            replaced_by,
            revision_reason,
            content_hash,
            approval,
            agreement,
            activated_at,
            ended_at,
            running_in: _,
            created_at,
            updated_at,
            revision,
        } = row;
        let plan =
            |id: Option<CarePlanId>| id.map(|id| format!("{case_id}/{id}")).unwrap_or_default();
        pb::CarePlan {
            name,
            identifiers: data::wire(identifiers),
            title,
            description,
            categories: data::wire(categories),
            problems: problems.0.into_iter().map(|id| format!("{case_id}/{id}")).collect(),
            period: Some(period.0.into()),
            review_due_time: review_due_at.map(Into::into),
            author,
            state: Wire::from(state).into(),
            state_reason,
            plan_revision,
            replaces: plan(replaces),
            replaced_by: plan(replaced_by),
            revision_reason,
            content_hash,
            approval: approval.map(|approval| approval.0.into()),
            agreement: agreement.map(|agreement| agreement.0.into()),
            activate_time: activated_at.map(Into::into),
            end_time: ended_at.map(Into::into),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Approval> for pb::Approval {
    fn from(Approval { approver, content_hash, at }: Approval) -> Self {
        pb::Approval { approver, content_hash, approve_time: Some(at.into()) }
    }
}
