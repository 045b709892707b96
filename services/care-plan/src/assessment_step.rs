//! What is done to an assessment: begun, answered, completed, amended, stopped; and the LACE index, which has no form.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Error, Machine, Result, Time, Violations, check, data::Json};
use caseward_store::Tx;
use prost_types::Timestamp;

use crate::{
    assessment::{AssessmentName, Entity, Model, State, Step, get, names},
    assessment_score::{Answered, assess_risk, emit_raised, emit_scores, lace, lace_inputs},
    case::{self, CaseId},
    form, timeline, transition,
};

/// What a step brings along.
#[derive(Clone, Default)]
pub struct Along {
    pub json: String,
    pub reason: String,
    pub effective: Option<Timestamp>,
}
caseward_core::confidential!(Along);

pub async fn step(
    tx: Tx,
    name: AssessmentName,
    step: Step,
    etag: String,
    along: Along,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let puts_right = matches!(step, Step::Amend | Step::EnterInError);
    let case = case::of_step(&tx, name.0, puts_right).await?;
    let before = row.state;
    row.state = before.take(step, row.name())?;
    let mut raised = vec![];
    match step {
        Step::Start => {
            startable(&tx, &row).await?;
            row.started_at = Some(tx.ctx.now());
        }
        Step::SaveAnswers => {
            let answered = Answered::read(&tx, &row, &along.json, true).await?;
            row.json = along.json;
            raised = answered.raise(&tx, &case, &mut row).await?;
        }
        Step::Complete => {
            row.completed_at = Some(effective(&tx.ctx, &along.effective)?);
            if !along.json.is_empty() {
                row.json = along.json;
            }
            raised = settle(&tx, &case, &mut row).await?;
        }
        Step::Amend => {
            row.state_reason = reason(&along.reason)?;
            row.json = along.json;
            raised = settle(&tx, &case, &mut row).await?;
        }
        Step::Stop => row.state_reason = reason(&along.reason)?,
        Step::EnterInError => {
            if row.assessor != tx.ctx.subject() {
                transition::retractable(&tx, row.id.uuid()).await?;
            }
            row.state_reason = reason(&along.reason)?;
        }
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    tell(&tx, &case, step, &row, before.label()).await?;
    emit_raised(&tx, &case, &row, raised);
    if matches!(step, Step::Complete | Step::Amend) {
        emit_scores(&tx, &row);
    }
    if matches!(step, Step::Complete | Step::Amend | Step::EnterInError) {
        assess_risk(&tx, &case).await?;
    }
    Ok(row)
}

/// Refuses to begin what no longer begins: the questionnaire was retired after the assessment was scheduled.
async fn startable(tx: &Tx, row: &Model) -> Result<()> {
    if let Some(id) = row.form_id {
        let form = form::get(tx, id).await?;
        if form.state != form::State::Active {
            let why = format!("{} is retired; schedule another", form.id);
            return Err(Error::precondition("QUESTIONNAIRE_RETIRED", why));
        }
    }
    Ok(())
}

/// Fixes the answers of the row: checks them, scores them beside what was scored before, raises what cannot wait.
async fn settle(tx: &Tx, case: &case::Model, row: &mut Model) -> Result<Vec<String>> {
    let answered = Answered::read(tx, row, &row.json, false).await?;
    row.content_revision += 1;
    row.scores.0.extend(answered.scores(row.content_revision, tx.ctx.now()));
    answered.raise(tx, case, row).await
}

fn reason(given: &str) -> Result<String> {
    let mut bad = Violations::default();
    let reason = bad.take("reason", check::text(given, 1..=1000));
    bad.finish()?;
    Ok(reason.unwrap_or_default())
}

fn effective(ctx: &Ctx, given: &Option<Timestamp>) -> Result<Time> {
    let mut bad = Violations::default();
    let at = bad.take("effective_time", check::moment(given)).flatten().unwrap_or(ctx.now());
    if at > ctx.now() {
        bad.add("effective_time", "is in the future");
    }
    bad.finish()?;
    Ok(at)
}

/// Computes the index and keeps it as an assessment that is complete from the start.
pub async fn score_lace(
    tx: Tx,
    case: CaseId,
    inputs: Option<pb::LaceInputs>,
    at: Option<Timestamp>,
) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let inputs = lace_inputs(inputs)?;
    let at = effective(&tx.ctx, &at)?;
    let score = lace(&inputs, tx.ctx.now())?;
    let mut row = Model::blank(&tx.ctx, &case);
    row.instrument = score.score.clone();
    row.lace = Some(Json(inputs));
    row.started_at = Some(at);
    row.completed_at = Some(at);
    row.state = State::Completed;
    row.content_revision = score.content_revision;
    row.scores.0.push(score);
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    tell(&tx, &case, Step::Complete, &row, "").await?;
    emit_scores(&tx, &row);
    assess_risk(&tx, &case).await?;
    Ok(row)
}

/// Publishes a step, logs the state that it left for another, and puts it on the timeline.
async fn tell(
    tx: &Tx,
    case: &case::Model,
    step: Step,
    row: &Model,
    from: &'static str,
) -> Result<()> {
    let ((assessment, case_name, patient), revision) = (names(row), row.revision);
    macro_rules! emit {
        ($event:ident $(, $field:ident: $value:expr)*) => {
            tx.emit(row.name(), revision, &pb::$event {
                assessment, case: case_name, patient, revision $(, $field: $value)*
            })
        };
    }
    let event = match step {
        Step::Start => {
            emit!(AssessmentStarted);
            "ASSESSMENT_STARTED"
        }
        Step::SaveAnswers => {
            emit!(AnswersSaved);
            return timeline::add(tx, case, "ANSWERS_SAVED", row.name()).await;
        }
        Step::Complete => {
            emit!(AssessmentCompleted, effective_time: row.completed_at.map(Into::into));
            "ASSESSMENT_COMPLETED"
        }
        Step::Amend => {
            emit!(AssessmentAmended);
            "ASSESSMENT_AMENDED"
        }
        Step::Stop => {
            emit!(AssessmentStopped);
            "ASSESSMENT_STOPPED"
        }
        Step::EnterInError => {
            emit!(AssessmentMarkedInError);
            "ASSESSMENT_ENTERED_IN_ERROR"
        }
    };
    timeline::moved(tx, case, event, row.change(from)).await
}
