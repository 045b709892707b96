//! Problems, barriers and strengths of the person, within a case.
use caseward_api::careplan::v1::{self as pb, problem::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violations,
    check::{self, Checked},
    data::{self, Concept, Identifier, Json},
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;

use crate::{
    assessment::AssessmentId,
    case::{self, CaseId, PatientId},
    reference, timeline, transition,
};

#[derive(Debug)]
pub struct Problem;
impl Kind for Problem {
    const COLLECTION: &'static str = "problems";
}
pub type ProblemId = Id<Problem>;
pub type ProblemName = (CaseId, ProblemId);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "problem")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ProblemId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub identifiers: Json<Vec<Identifier>>,
    pub code: Json<Concept>,
    pub categories: Json<Vec<Concept>>,
    pub kind: i32,
    pub source: i32,
    pub priority: i32,
    pub onset_at: Option<Time>,
    pub abated_at: Option<Time>,
    pub note: String,
    pub assessment: Option<AssessmentId>,
    pub state: State,
    pub state_reason: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "INACTIVE")]
    Inactive,
    #[sea_orm(string_value = "RESOLVED")]
    Resolved,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Deactivate,
    Resolve,
    Reactivate,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] =
        &[Step::Deactivate, Step::Resolve, Step::Reactivate, Step::EnterInError];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Active, Step::Deactivate) => Some(State::Inactive),
            (State::Active | State::Inactive, Step::Resolve) => Some(State::Resolved),
            (State::Inactive | State::Resolved, Step::Reactivate) => Some(State::Active),
            (State::Active | State::Inactive | State::Resolved, Step::EnterInError) => {
                Some(State::EnteredInError)
            }
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Active => "ACTIVE",
            State::Inactive => "INACTIVE",
            State::Resolved => "RESOLVED",
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
            reason = "the one place where a query of problems begins"
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
pub const WRITABLE: [&str; 10] = [
    "identifiers",
    "code",
    "categories",
    "kind",
    "source",
    "priority",
    "onset_time",
    "abatement_time",
    "note",
    "assessment",
];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// A new row of `case` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, case: &case::Model, from: &pb::Problem) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: ProblemId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            identifiers: Json::default(),
            code: Json::default(),
            categories: Json::default(),
            kind: pb::problem::Kind::Problem.into(),
            source: 0,
            priority: 0,
            onset_at: None,
            abated_at: None,
            note: String::new(),
            assessment: None,
            state: State::Active,
            state_reason: String::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from)?;
        Ok(row)
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    pub fn take(&mut self, fields: &[&str], from: &pb::Problem) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("problem.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "code" => {
                    self.code = Json(data::concept(path, &from.code, &mut bad).unwrap_or_default())
                }
                "categories" => {
                    self.categories = data::concepts(path, &from.categories, 10, &mut bad)
                }
                "kind" => {
                    bad.put(
                        &mut self.kind,
                        path,
                        data::enumeration::<pb::problem::Kind>(from.kind),
                    );
                    self.kind = self.kind.max(pb::problem::Kind::Problem.into());
                }
                "source" => bad.put(
                    &mut self.source,
                    path,
                    data::enumeration::<pb::problem::Source>(from.source),
                ),
                "priority" => {
                    bad.put(
                        &mut self.priority,
                        path,
                        data::enumeration::<pb::problem::Priority>(from.priority),
                    );
                }
                "onset_time" => bad.put(&mut self.onset_at, path, check::moment(&from.onset_time)),
                "abatement_time" => {
                    bad.put(&mut self.abated_at, path, check::moment(&from.abatement_time))
                }
                "note" => bad.put(&mut self.note, path, check::text(&from.note, 0..=4000)),
                "assessment" => {
                    self.assessment =
                        reference::within(self.case_id, path, &from.assessment, &mut bad)
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        bad.take("problem.abatement_time", self.ends_after_it_began());
        bad.finish()
    }

    fn ends_after_it_began(&self) -> Checked<()> {
        match (self.onset_at, self.abated_at) {
            (Some(onset), Some(abated)) if abated < onset => {
                Err("is before the problem began".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

pub async fn get(scope: &Scope, (case, id): ProblemName) -> Result<Model> {
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

/// Refuses `problems` that are not of `case`.
pub async fn all_of(
    scope: &Scope,
    case: CaseId,
    field: &str,
    problems: &[ProblemId],
) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::Id.is_in(problems.iter().copied()));
    let known = select.all(&scope.db).await?;
    let mut bad = Violations::default();
    for (n, problem) in problems.iter().enumerate() {
        if !known.iter().any(|row| row.id == *problem) {
            bad.add(format!("{field}[{n}]"), "is not a problem of this case");
        }
    }
    bad.finish()
}

pub async fn create(tx: Tx, case: CaseId, from: pb::Problem) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    insert(&tx, &case, Model::draft(&tx.ctx, &case, &from)?).await
}

/// Stores a checked row, with its history.
pub async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    timeline::moved(tx, case, "PROBLEM_CREATED", row.change("")).await?;
    let (problem, case, patient) = names(&row);
    tx.emit(
        problem.clone(),
        row.revision,
        &pb::ProblemCreated { problem, case, patient, revision: row.revision },
    );
    Ok(row)
}

pub async fn update(
    tx: Tx,
    name: ProblemName,
    from: pb::Problem,
    mask: FieldMask,
) -> Result<Model> {
    let before = get(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    let case = case::open(&tx, name.0).await?;
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from)?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "PROBLEM_UPDATED", row.name()).await?;
    changed(&tx, &row, fields.into_iter().map(str::to_owned).collect());
    Ok(row)
}

pub async fn step(
    tx: Tx,
    name: ProblemName,
    step: Step,
    etag: String,
    reason: String,
    abated: Option<Time>,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::of_step(&tx, name.0, step == Step::EnterInError).await?;
    let before = row.state;
    row.state = before.take(step, row.name())?;
    row.state_reason = reason;
    match step {
        Step::Resolve => {
            let at = abated.unwrap_or(tx.ctx.now());
            if at > tx.ctx.now() {
                return Err(Error::invalid("abatement_time", "is in the future"));
            }
            row.abated_at = Some(at);
            let ends = row.ends_after_it_began();
            ends.map_err(|why| Error::invalid("abatement_time", why))?;
        }
        Step::Reactivate => row.abated_at = None,
        Step::EnterInError => transition::retractable(&tx, row.id.uuid()).await?,
        Step::Deactivate => {}
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::moved(&tx, &case, "PROBLEM_MOVED", row.change(before.label())).await?;
    changed(&tx, &row, vec![]);
    Ok(row)
}

pub fn changed(tx: &Tx, row: &Model, changed_fields: Vec<String>) {
    let (problem, case, patient) = names(row);
    let state = Wire::from(row.state).into();
    let event = pb::ProblemChanged {
        problem,
        case,
        patient,
        revision: row.revision,
        state,
        changed_fields,
    };
    tx.emit(&event.problem, row.revision, &event);
}

fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Active) => Ok(State::Active),
            Ok(Wire::Inactive) => Ok(State::Inactive),
            Ok(Wire::Resolved) => Ok(State::Resolved),
            Ok(Wire::EnteredInError) => Ok(State::EnteredInError),
            Ok(Wire::Unspecified) | Err(_) => {
                Err(Error::invalid("states", "holds a value that is not known"))
            }
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Active => Wire::Active,
            State::Inactive => Wire::Inactive,
            State::Resolved => Wire::Resolved,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Problem {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id,
            identifiers,
            code,
            categories,
            kind,
            source,
            priority,
            onset_at,
            abated_at,
            note,
            assessment,
            state,
            state_reason,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Problem {
            name,
            identifiers: data::wire(identifiers),
            code: Some(code.0.into()),
            categories: data::wire(categories),
            kind,
            source,
            priority,
            onset_time: onset_at.map(Into::into),
            abatement_time: abated_at.map(Into::into),
            note,
            assessment: assessment.map(|id| format!("{case_id}/{id}")).unwrap_or_default(),
            state: Wire::from(state).into(),
            state_reason,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
