//! Plans, goals and activities as other systems have them.
use caseward_api::{careplan::v1 as pb, types::v1 as types};
use caseward_core::{Error, Machine, Result, Violations, check};
use caseward_store::{Resource, Tx};
use sea_orm::entity::prelude::*;

use super::part::{self, Part};
use crate::{activity, care_plan, case, goal, plan_content, problem, timeline};

impl Part for care_plan::Entity {
    type Wire = pb::CarePlan;
    type Parent = case::Model;
    const FIELD: &'static str = "care_plan";

    fn identifiers(from: &pb::CarePlan) -> &[types::Identifier] {
        &from.identifiers
    }
    fn collection(case: &case::Model) -> String {
        format!("{}/carePlans", case.id)
    }
    fn take(
        tx: &Tx,
        case: &case::Model,
        before: Option<&care_plan::Model>,
        from: &pb::CarePlan,
    ) -> Result<care_plan::Model> {
        use care_plan::State;
        let mut row = match before {
            None => care_plan::Model::draft(&tx.ctx, case, from)?,
            Some(before) => {
                let mut row = before.clone();
                row.take(&care_plan::WRITABLE, from)?;
                unchanged("care_plan", before, row.content() == before.content())?;
                row
            }
        };
        row.state = part::state("care_plan.state", from.state, State::Draft, State::known)?;
        part::reason("care_plan", &mut row.state_reason, &from.state_reason)?;
        let mut bad = Violations::default();
        let began = bad.take("care_plan.activate_time", check::moment(&from.activate_time));
        let ended = bad.take("care_plan.end_time", check::moment(&from.end_time));
        bad.finish()?;
        row.activated_at = began.flatten().or(row.activated_at);
        row.ended_at = ended.flatten().or(row.ended_at);
        let running = matches!(row.state, State::Active | State::OnHold);
        row.running_in = running.then_some(case.id);
        if running {
            row.activated_at.get_or_insert(tx.ctx.now());
            row.ended_at = None;
        } else if matches!(row.state, State::Completed | State::Revoked) {
            row.ended_at.get_or_insert(tx.ctx.now());
        }
        Ok(row)
    }
    async fn check(tx: &Tx, row: &care_plan::Model) -> Result<()> {
        use care_plan::Column;
        problem::all_of(tx, row.case_id, "care_plan.problems", &row.problems.0).await?;
        if let Some(case) = row.running_in {
            let other = care_plan::Entity::of(&tx.ctx)
                .filter(Column::RunningIn.eq(case))
                .filter(Column::Id.ne(row.id));
            if other.one(&tx.db).await?.is_some() {
                let why = "another plan of the case is carried out; one at a time can be";
                return Err(Error::invalid("care_plan.state", why));
            }
        }
        Ok(())
    }
    fn moved(row: &care_plan::Model, before: &care_plan::Model) -> bool {
        row.state != before.state
    }
    fn keep(row: &mut care_plan::Model, before: &care_plan::Model) {
        row.state = before.state;
        row.state_reason.clone_from(&before.state_reason);
        (row.activated_at, row.ended_at) = (before.activated_at, before.ended_at);
        row.running_in = before.running_in;
    }
    async fn make(tx: &Tx, case: &case::Model, row: care_plan::Model) -> Result<care_plan::Model> {
        care_plan::insert(tx, case, row).await
    }
    async fn amend(
        tx: &Tx,
        case: &case::Model,
        row: care_plan::Model,
        before: &care_plan::Model,
        from: &pb::CarePlan,
    ) -> Result<care_plan::Model> {
        let row = caseward_store::update::<Self>(tx, row).await?;
        if row.state == before.state {
            timeline::add(tx, case, "PLAN_UPDATED", row.name()).await?;
        } else {
            timeline::moved(tx, case, "PLAN_UPDATED", row.change(before.state.label())).await?;
        }
        let changed_fields =
            part::changed(&care_plan::WRITABLE, before, |one, fields| one.take(fields, from));
        let (care_plan, patient) = (row.name(), row.patient.to_string());
        let (case, revision) = (row.case_id.to_string(), row.revision);
        let event = pb::PlanUpdated { care_plan, case, patient, revision, changed_fields };
        tx.emit(row.name(), revision, &event);
        Ok(row)
    }
}

/// Whether somebody here said yes to the words of the plan, which no load changes from then on.
fn agreed(plan: &care_plan::Model) -> bool {
    plan.approval.is_some() || plan.agreement.is_some()
}

fn unchanged(field: &str, plan: &care_plan::Model, same: bool) -> Result<()> {
    if same || !agreed(plan) {
        return Ok(());
    }
    Err(Error::invalid(field, "differs from what was approved here; revise the plan"))
}

/// Seals a plan that is past its draft with what it says, as a step would have.
pub(super) async fn seal(tx: &Tx, mut plan: care_plan::Model) -> Result<()> {
    if plan.state == care_plan::State::Draft || agreed(&plan) {
        return Ok(());
    }
    let hash = plan_content::hash(tx, &plan).await?;
    if plan.content_hash != hash {
        plan.content_hash = hash;
        caseward_store::update::<care_plan::Entity>(tx, plan).await?;
    }
    Ok(())
}

impl Part for goal::Entity {
    type Wire = pb::Goal;
    type Parent = care_plan::Model;
    const FIELD: &'static str = "goal";

    fn identifiers(from: &pb::Goal) -> &[types::Identifier] {
        &from.identifiers
    }
    fn collection(plan: &care_plan::Model) -> String {
        format!("{}/goals", plan.name())
    }
    fn take(
        tx: &Tx,
        plan: &care_plan::Model,
        before: Option<&goal::Model>,
        from: &pb::Goal,
    ) -> Result<goal::Model> {
        use goal::{Achievement, State};
        unchanged("goal", plan, before.is_some())?;
        let mut row = match before {
            None => goal::Model::draft(&tx.ctx, plan, from)?,
            Some(before) => {
                let mut row = before.clone();
                row.take(&goal::WRITABLE, from)?;
                unchanged("goal", plan, row.content() == before.content())?;
                row
            }
        };
        row.state = part::state("goal.state", from.state, State::Proposed, State::known)?;
        part::reason("goal", &mut row.state_reason, &from.state_reason)?;
        // What was observed here is newer than what the source was told.
        if row.progress.0.is_empty() {
            row.achievement = match (from.achievement, row.state) {
                (0, State::Active) => Achievement::InProgress,
                (0, _) => Achievement::None,
                (number, _) => Achievement::from_number(number).ok_or_else(|| {
                    Error::invalid("goal.achievement", "holds a value that is not known")
                })?,
            };
        }
        Ok(row)
    }
    async fn check(tx: &Tx, row: &goal::Model) -> Result<()> {
        problem::all_of(tx, row.case_id, "goal.problems", &row.problems.0).await
    }
    fn moved(row: &goal::Model, before: &goal::Model) -> bool {
        row.state != before.state
    }
    fn keep(row: &mut goal::Model, before: &goal::Model) {
        row.state = before.state;
        row.state_reason.clone_from(&before.state_reason);
        row.achievement = before.achievement;
    }
    async fn make(tx: &Tx, case: &case::Model, row: goal::Model) -> Result<goal::Model> {
        goal::insert(tx, case, row).await
    }
    async fn amend(
        tx: &Tx,
        case: &case::Model,
        row: goal::Model,
        before: &goal::Model,
        from: &pb::Goal,
    ) -> Result<goal::Model> {
        let row = caseward_store::update::<Self>(tx, row).await?;
        if row.state == before.state {
            timeline::add(tx, case, "GOAL_UPDATED", row.name()).await?;
        } else {
            timeline::moved(tx, case, "GOAL_UPDATED", row.change(before.state.label())).await?;
        }
        let changed_fields =
            part::changed(&goal::WRITABLE, before, |one, fields| one.take(fields, from));
        let (goal, patient) = (row.name(), row.patient.to_string());
        let (case, revision) = (row.case_id.to_string(), row.revision);
        let event = pb::GoalUpdated { goal, case, patient, revision, changed_fields };
        tx.emit(row.name(), revision, &event);
        Ok(row)
    }
}

impl Part for activity::Entity {
    type Wire = pb::Activity;
    type Parent = care_plan::Model;
    const FIELD: &'static str = "activity";

    fn identifiers(from: &pb::Activity) -> &[types::Identifier] {
        &from.identifiers
    }
    fn collection(plan: &care_plan::Model) -> String {
        format!("{}/activities", plan.name())
    }
    fn take(
        tx: &Tx,
        plan: &care_plan::Model,
        before: Option<&activity::Model>,
        from: &pb::Activity,
    ) -> Result<activity::Model> {
        use activity::State;
        unchanged("activity", plan, before.is_some())?;
        let mut row = match before {
            None => activity::Model::draft(&tx.ctx, plan, from)?,
            Some(before) => {
                let mut row = before.clone();
                row.take(&activity::WRITABLE, from)?;
                unchanged("activity", plan, row.content() == before.content())?;
                row
            }
        };
        row.state = part::state("activity.state", from.state, State::NotStarted, State::known)?;
        part::reason("activity", &mut row.state_reason, &from.state_reason)?;
        let mut bad = Violations::default();
        let began = bad.take("activity.start_time", check::moment(&from.start_time));
        let ended = bad.take("activity.end_time", check::moment(&from.end_time));
        bad.finish()?;
        row.started_at = began.flatten().or(row.started_at);
        row.ended_at = ended.flatten().or(row.ended_at);
        if row.state != State::OnHold {
            row.held_in = None;
        }
        Ok(row)
    }
    async fn check(tx: &Tx, row: &activity::Model) -> Result<()> {
        activity::known_goals(tx, row).await
    }
    fn moved(row: &activity::Model, before: &activity::Model) -> bool {
        row.state != before.state
    }
    fn keep(row: &mut activity::Model, before: &activity::Model) {
        (row.state, row.held_in) = (before.state, before.held_in);
        row.state_reason.clone_from(&before.state_reason);
        (row.started_at, row.ended_at) = (before.started_at, before.ended_at);
    }
    async fn make(tx: &Tx, case: &case::Model, row: activity::Model) -> Result<activity::Model> {
        activity::insert(tx, case, row).await
    }
    async fn amend(
        tx: &Tx,
        case: &case::Model,
        row: activity::Model,
        before: &activity::Model,
        from: &pb::Activity,
    ) -> Result<activity::Model> {
        let row = caseward_store::update::<Self>(tx, row).await?;
        if row.state == before.state {
            timeline::add(tx, case, "ACTIVITY_UPDATED", row.name()).await?;
        } else {
            timeline::moved(tx, case, "ACTIVITY_UPDATED", row.change(before.state.label())).await?;
        }
        let changed_fields =
            part::changed(&activity::WRITABLE, before, |one, fields| one.take(fields, from));
        let (activity, patient) = (row.name(), row.patient.to_string());
        let (case, revision) = (row.case_id.to_string(), row.revision);
        let event = pb::ActivityUpdated { activity, case, patient, revision, changed_fields };
        tx.emit(row.name(), revision, &event);
        Ok(row)
    }
}
