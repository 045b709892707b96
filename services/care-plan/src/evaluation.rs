//! Evaluations: what was found about each goal, and what follows from it.
use caseward_api::careplan::v1::{self as pb, evaluation::Decision};
use caseward_core::{
    Ctx, Error, Id, Kind, Name, Page, Result, Time, Violations, check,
    data::{self, Json},
};
use caseward_store::{
    Resource, Scope, Tx,
    relation::{self, Topic},
};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::{
    care_plan::CarePlanId,
    case::{self, CaseId, PatientId},
    goal::{self, GoalName},
    reference,
    task::{self, Raised},
    timeline,
};

#[derive(Debug)]
pub struct Evaluation;
impl Kind for Evaluation {
    const COLLECTION: &'static str = "evaluations";
}
pub type EvaluationId = Id<Evaluation>;
pub type EvaluationName = (CaseId, EvaluationId);

/// How soon a supervisor is to look at what was escalated.
const ESCALATION: Duration = Duration::days(1);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "evaluation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EvaluationId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub plan_id: Option<CarePlanId>,
    pub findings: Json<Vec<Finding>>,
    pub summary: String,
    pub decision: i32,
    pub next_review_at: Option<Time>,
    pub effective_at: Time,
    pub author: String,
    pub raised_task: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// What was found about one goal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub goal: String,
    pub achievement: i32,
    pub note: String,
}
caseward_core::confidential!(Finding);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of evaluations begins"
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

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// A new row of `case` with every field of `from` checked.
    fn draft(ctx: &Ctx, case: &case::Model, from: &pb::Evaluation) -> Result<Self> {
        let now = ctx.now();
        let mut bad = Violations::default();
        let plan_id = reference::within(case.id, "evaluation.care_plan", &from.care_plan, &mut bad);
        let findings =
            check::list("evaluation.findings", &from.findings, 0..=100, &mut bad, |from, bad| {
                let goal = GoalName::parse("", &from.goal).ok().filter(|(of, plan, _)| {
                    *of == case.id && plan_id.is_none_or(|plan_id| plan_id == *plan)
                });
                if goal.is_none() {
                    bad.add("goal", "wants a goal of the plan");
                }
                let achievement = bad
                    .take("achievement", check::known::<pb::goal::Achievement>(from.achievement));
                let note = bad.take("note", check::text(&from.note, 0..=4000));
                Some(Finding {
                    goal: from.goal.clone(),
                    achievement: achievement? as i32,
                    note: note?,
                })
            });
        let mut goals: Vec<&str> = findings.iter().map(|finding| finding.goal.as_str()).collect();
        goals.sort_unstable();
        if goals.windows(2).any(|pair| pair[0] == pair[1]) {
            bad.add("evaluation.findings", "holds a goal twice");
        }
        let summary = bad.take("evaluation.summary", check::text(&from.summary, 1..=20_000));
        let decision = bad.take("evaluation.decision", check::known::<Decision>(from.decision));
        let next_review_at = bad
            .take("evaluation.next_review_time", check::moment(&from.next_review_time))
            .flatten();
        if next_review_at.is_some_and(|at| at <= now) {
            bad.add("evaluation.next_review_time", "is in the past");
        }
        if next_review_at.is_none() && decision.is_some_and(|decision| decision != Decision::Close)
        {
            bad.add("evaluation.next_review_time", "is required where the care goes on");
        }
        let effective_at = bad
            .take("evaluation.effective_time", check::moment(&from.effective_time))
            .flatten()
            .unwrap_or(now);
        if effective_at > now {
            bad.add("evaluation.effective_time", "is in the future");
        }
        bad.finish()?;
        Ok(Model {
            id: EvaluationId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            plan_id,
            findings: Json(findings),
            summary: summary.unwrap_or_default(),
            decision: decision.unwrap_or_default().into(),
            next_review_at,
            effective_at,
            author: ctx.subject().to_owned(),
            raised_task: String::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
        })
    }
}

pub async fn get(scope: &Scope, (case, id): EvaluationName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(scope: &Scope, case: CaseId, page: &Page) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    caseward_store::page(scope, Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)), page).await
}

/// Whether a plan was evaluated.
pub async fn exists_for(scope: &Scope, plan: CarePlanId) -> Result<bool> {
    Ok(Entity::of(&scope.ctx).filter(Column::PlanId.eq(plan)).one(&scope.db).await?.is_some())
}

/// Whether a case was evaluated.
pub async fn exists_in(scope: &Scope, case: CaseId) -> Result<bool> {
    Ok(Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).one(&scope.db).await?.is_some())
}

/// Records the evaluation, moves the goals it speaks of, and raises the task that its decision asks for.
pub async fn create(tx: Tx, case: CaseId, from: pb::Evaluation) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let mut row = Model::draft(&tx.ctx, &case, &from)?;
    if let Some(plan) = row.plan_id {
        crate::care_plan::get(&tx, (case.id, plan)).await?;
    }
    for finding in &row.findings.0 {
        let name = GoalName::parse("evaluation.findings.goal", &finding.goal)?;
        let goal = match goal::get(&tx, name).await {
            Err(Error::NotFound(_)) => {
                return Err(Error::invalid(
                    "evaluation.findings.goal",
                    "is not a goal of this case",
                ));
            }
            found => found?,
        };
        let progress = pb::GoalProgress {
            achievement: finding.achievement,
            note: finding.note.chars().take(2000).collect(),
            observe_time: Some(row.effective_at.into()),
            ..Default::default()
        };
        goal::observe(&tx, &case, goal, progress, Some(row.id)).await?;
    }
    if let Some(raised) = raised(&tx, &case, &row) {
        row.raised_task = task::raise(&tx, &case, raised).await?.name();
    }
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "EVALUATION_RECORDED", row.name()).await?;
    let event = pb::EvaluationRecorded {
        evaluation: row.name(),
        case: row.case_id.to_string(),
        patient: row.patient.to_string(),
        revision: row.revision,
        decision: row.decision,
        next_review_time: row.next_review_at.map(Into::into),
    };
    tx.emit(row.name(), row.revision, &event);
    Ok(row)
}

/// What a decision asks somebody to do. To continue asks nothing now.
fn raised(tx: &Tx, case: &case::Model, row: &Model) -> Option<Raised> {
    let accountable = case.accountable.clone().unwrap_or_default();
    let (title, owner, priority, due_at) = match Decision::try_from(row.decision) {
        Ok(Decision::Adjust) => {
            ("Revise the care plan", accountable, pb::task::Priority::Routine, row.next_review_at)
        }
        Ok(Decision::Escalate) => {
            let due = tx.ctx.now() + ESCALATION;
            ("Review an escalated case", String::new(), pb::task::Priority::Urgent, Some(due))
        }
        Ok(Decision::Close) => {
            ("Propose to close the case", accountable, pb::task::Priority::Routine, None)
        }
        Ok(Decision::Continue | Decision::Unspecified) | Err(_) => return None,
    };
    Some(Raised {
        title: title.to_owned(),
        description: String::new(),
        focus: row.name(),
        cause: row.name(),
        owner,
        priority,
        due_at,
    })
}

// === wire ===

impl From<Model> for pb::Evaluation {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id,
            plan_id,
            findings,
            summary,
            decision,
            next_review_at,
            effective_at,
            author,
            raised_task,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Evaluation {
            name,
            care_plan: plan_id.map(|id| format!("{case_id}/{id}")).unwrap_or_default(),
            findings: data::wire(findings),
            summary,
            decision,
            next_review_time: next_review_at.map(Into::into),
            effective_time: Some(effective_at.into()),
            record_time: Some(created_at.into()),
            author,
            raised_task,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Finding> for pb::GoalFinding {
    fn from(Finding { goal, achievement, note }: Finding) -> Self {
        pb::GoalFinding { goal, achievement, note }
    }
}
