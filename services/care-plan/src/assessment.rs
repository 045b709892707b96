//! Assessments: what a case answered to one instrument, with every score that was ever computed from it.
use caseward_api::careplan::v1::{self as pb, assessment::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Name, Page, Result, Time, Violations, check,
    data::{self, Identifier, Json},
};
use caseward_store::{
    Resource, Scope, Transition, Tx, identifier,
    relation::{self, Topic},
};
use sea_orm::{QueryOrder, entity::prelude::*};
use serde::{Deserialize, Serialize};

use crate::{
    case::{self, CaseId, PatientId},
    form::{self, FormId},
    timeline,
};

#[derive(Debug)]
pub struct Assessment;
impl Kind for Assessment {
    const COLLECTION: &'static str = "assessments";
}
pub type AssessmentId = Id<Assessment>;
pub type AssessmentName = (CaseId, AssessmentId);

/// The kind of an assessment's identifiers.
const IDENTIFIED: &str = "assessment";

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "assessment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AssessmentId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    /// Absent where the instrument has its own table.
    pub form_id: Option<FormId>,
    pub instrument: String,
    /// The FHIR JSON of the answers, as last saved.
    pub json: String,
    pub lace: Option<Json<LaceInputs>>,
    pub mode: i32,
    pub assessor: String,
    pub due_at: Option<Time>,
    pub started_at: Option<Time>,
    pub completed_at: Option<Time>,
    pub state: State,
    /// The oldest first.
    pub scores: Json<Vec<Score>>,
    pub findings: Json<Vec<Finding>>,
    pub state_reason: String,
    pub content_revision: i32,
    pub identifiers: Json<Vec<Identifier>>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// A computed score.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub score: String,
    /// Absent where the missing-item rule forbids one.
    pub value: Option<f64>,
    pub band: String,
    pub risk_rank: i32,
    pub missing_items: i32,
    pub method: String,
    pub components: Vec<(String, f64)>,
    pub content_revision: i32,
    pub at: Time,
}
caseward_core::confidential!(Score);

/// A critical item that an answer raised.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub link_id: String,
    pub points: f64,
    pub task: String,
    pub at: Time,
}
caseward_core::confidential!(Finding);

/// What the LACE index was computed from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaceInputs {
    pub length_of_stay_days: i32,
    pub acute_admission: bool,
    pub comorbidities: Vec<i32>,
    pub emergency_visits: i32,
}
caseward_core::confidential!(LaceInputs);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "SCHEDULED")]
    Scheduled,
    #[sea_orm(string_value = "IN_PROGRESS")]
    InProgress,
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    #[sea_orm(string_value = "AMENDED")]
    Amended,
    #[sea_orm(string_value = "STOPPED")]
    Stopped,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to an assessment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Start,
    SaveAnswers,
    Complete,
    Amend,
    Stop,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Start,
        Step::SaveAnswers,
        Step::Complete,
        Step::Amend,
        Step::Stop,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Scheduled, Step::Start) | (State::InProgress, Step::SaveAnswers) => {
                Some(State::InProgress)
            }
            (State::InProgress, Step::Complete) => Some(State::Completed),
            (State::Completed | State::Amended, Step::Amend) => Some(State::Amended),
            (State::InProgress, Step::Stop) => Some(State::Stopped),
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Scheduled => "SCHEDULED",
            State::InProgress => "IN_PROGRESS",
            State::Completed => "COMPLETED",
            State::Amended => "AMENDED",
            State::Stopped => "STOPPED",
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
            reason = "the one place where a query of assessments begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_in(ctx, Column::Patient, &[Topic::Assessment]))
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

    /// A new row of `case` that nothing is known of yet.
    pub fn blank(ctx: &Ctx, case: &case::Model) -> Self {
        Model {
            id: AssessmentId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            form_id: None,
            instrument: String::new(),
            json: String::new(),
            lace: None,
            mode: 0,
            assessor: ctx.subject().to_owned(),
            due_at: None,
            started_at: None,
            completed_at: None,
            state: State::Scheduled,
            scores: Json::default(),
            findings: Json::default(),
            state_reason: String::new(),
            content_revision: 0,
            identifiers: Json::default(),
            created_at: ctx.now(),
            updated_at: ctx.now(),
            revision: 1,
        }
    }

    /// The scores of the answers as they are now.
    pub fn current(&self) -> impl Iterator<Item = &Score> {
        self.scores.0.iter().filter(|score| score.content_revision == self.content_revision)
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Completed | State::Amended)
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.name());
        let change = Transition::new(id, name, from, self.state.label(), &self.state_reason);
        // Answers count from when they were given. What becomes of them later happens then.
        let effective = self.completed_at.filter(|_| self.state == State::Completed);
        Transition { effective, ..change }
    }
}

pub async fn get(scope: &Scope, (case, id): AssessmentName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    case: CaseId,
    form: Option<FormId>,
    states: Vec<State>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case));
    if let Some(form) = form {
        select = select.filter(Column::FormId.eq(form));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    caseward_store::page(scope, select, page).await
}

/// The completed assessments of a case, the latest first.
pub async fn completed(scope: &Scope, case: CaseId) -> Result<Vec<Model>> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::State.is_in([State::Completed, State::Amended]))
        .order_by_desc(Column::CompletedAt);
    caseward_store::list(scope, select).await
}

/// Whether anything of a case was assessed.
pub async fn has_completed(scope: &Scope, case: CaseId) -> Result<bool> {
    Ok(!completed(scope, case).await?.is_empty())
}

/// The assessments of a case that were begun and have not ended.
pub async fn unfinished(scope: &Scope, case: CaseId) -> Result<Vec<Model>> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::State.eq(State::InProgress));
    caseward_store::list(scope, select).await
}

pub async fn create(tx: Tx, case: CaseId, from: pb::Assessment) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let mut row = Model::blank(&tx.ctx, &case);
    let mut bad = Violations::default();
    let form = FormId::parse("assessment.questionnaire", &from.questionnaire)
        .map_err(|_| bad.add("assessment.questionnaire", "wants `questionnaires/{questionnaire}`"))
        .ok();
    bad.put(&mut row.mode, "assessment.mode", data::enumeration::<pb::ContactMode>(from.mode));
    let assessor = bad.take("assessment.assessor", check::optional(&from.assessor, 200)).flatten();
    row.assessor = assessor.unwrap_or(row.assessor);
    bad.put(&mut row.due_at, "assessment.due_time", check::moment(&from.due_time));
    row.identifiers = data::identifiers("assessment.identifiers", &from.identifiers, 20, &mut bad);
    if let Some(form) = form {
        match form::get(&tx, form).await {
            Ok(form) if form.state == form::State::Active => {
                row.form_id = Some(form.id);
                row.instrument = form.instrument()?;
            }
            Ok(_) => bad.add("assessment.questionnaire", "is retired"),
            Err(Error::NotFound(_)) => {
                bad.add("assessment.questionnaire", "is not a questionnaire here");
            }
            Err(other) => return Err(other),
        }
    }
    bad.finish()?;
    identifier::free::<Entity>(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    identifier::claim(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    timeline::moved(&tx, &case, "ASSESSMENT_SCHEDULED", row.change("")).await?;
    let (assessment, case, patient) = names(&row);
    let (revision, due_time) = (row.revision, row.due_at.map(Into::into));
    tx.emit(
        row.name(),
        revision,
        &pb::AssessmentScheduled { assessment, case, patient, revision, due_time },
    );
    Ok(row)
}

/// What every event of an assessment names.
pub fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Scheduled) => Ok(State::Scheduled),
            Ok(Wire::InProgress) => Ok(State::InProgress),
            Ok(Wire::Completed) => Ok(State::Completed),
            Ok(Wire::Amended) => Ok(State::Amended),
            Ok(Wire::Stopped) => Ok(State::Stopped),
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
            State::Scheduled => Wire::Scheduled,
            State::InProgress => Wire::InProgress,
            State::Completed => Wire::Completed,
            State::Amended => Wire::Amended,
            State::Stopped => Wire::Stopped,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Assessment {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id: _,
            form_id,
            instrument,
            json,
            lace,
            mode,
            assessor,
            due_at,
            started_at,
            completed_at,
            state,
            scores,
            findings,
            state_reason,
            content_revision,
            identifiers,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Assessment {
            name,
            questionnaire: form_id.map(|id| id.to_string()).unwrap_or_default(),
            instrument,
            json,
            lace: lace.map(|Json(inputs)| inputs.into()),
            mode,
            assessor,
            due_time: due_at.map(Into::into),
            start_time: started_at.map(Into::into),
            complete_time: completed_at.map(Into::into),
            state: Wire::from(state).into(),
            scores: scores.0.into_iter().rev().map(Into::into).collect(),
            critical_findings: data::wire(findings),
            state_reason,
            content_revision,
            identifiers: data::wire(identifiers),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Score> for pb::Score {
    fn from(from: Score) -> Self {
        let components =
            from.components.into_iter().map(|(key, points)| pb::ScoreComponent { key, points });
        pb::Score {
            score: from.score,
            value: from.value.unwrap_or_default(),
            computed: from.value.is_some(),
            band: from.band,
            risk_rank: from.risk_rank,
            missing_items: from.missing_items,
            method: from.method,
            components: components.collect(),
            content_revision: from.content_revision,
            compute_time: Some(from.at.into()),
        }
    }
}

impl From<Finding> for pb::CriticalFinding {
    fn from(Finding { link_id, points, task, at }: Finding) -> Self {
        pb::CriticalFinding { link_id, points, task, raise_time: Some(at.into()) }
    }
}

impl From<LaceInputs> for pb::LaceInputs {
    fn from(from: LaceInputs) -> Self {
        let LaceInputs { length_of_stay_days, acute_admission, comorbidities, emergency_visits } =
            from;
        pb::LaceInputs { length_of_stay_days, acute_admission, comorbidities, emergency_visits }
    }
}
