//! What a plan says as a whole: hashed for those who agree to it, compared between revisions, carried into the next.
use aws_lc_rs::digest::{Context, SHA256};
use caseward_api::careplan::v1::{self as pb, plan_change::Action};
use caseward_core::Result;
use caseward_store::{Scope, Tx};
use prost::Message;

use crate::{
    activity::{self, ActivityId},
    care_plan::{self, CarePlanName},
    case,
    goal::{self, GoalId},
};

/// SHA-256 over the plan, its goals and its activities, in lower-case hexadecimal.
///
/// The canonical form is the protobuf encoding of the contents in order of creation: our messages hold no maps,
/// so one content has one encoding.
pub async fn hash(scope: &Scope, plan: &care_plan::Model) -> Result<String> {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: Vec<u8>| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(&bytes);
    };
    add(plan.content().encode_to_vec());
    for goal in goal::of_plan(scope, plan.id).await? {
        if goal.state != goal::State::EnteredInError {
            add(goal.content().encode_to_vec());
        }
    }
    for activity in activity::of_plan(scope, plan.id).await? {
        if activity.state != activity::State::EnteredInError {
            add(activity.content().encode_to_vec());
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Copies the open goals and activities of `old` into its revision, where they stand as they stood.
pub async fn carry(
    tx: &Tx,
    case: &case::Model,
    old: &care_plan::Model,
    new: &care_plan::Model,
) -> Result<()> {
    let now = tx.ctx.now();
    let mut carried: Vec<(GoalId, GoalId)> = vec![];
    for goal in goal::of_plan(tx, old.id).await?.into_iter().filter(|goal| !goal.state.is_end()) {
        let row = goal::Model {
            id: GoalId::generate(),
            plan_id: new.id,
            carried_from: Some(goal.name()),
            created_at: now,
            updated_at: now,
            revision: 1,
            ..goal.clone()
        };
        carried.push((goal.id, row.id));
        goal::insert(tx, case, row).await?;
    }
    for activity in
        activity::of_plan(tx, old.id).await?.into_iter().filter(|activity| activity.state.is_open())
    {
        let goals =
            activity.goals.0.iter().filter_map(|goal| {
                carried.iter().find(|(from, _)| from == goal).map(|(_, to)| *to)
            });
        let row = activity::Model {
            id: ActivityId::generate(),
            plan_id: new.id,
            goals: caseward_core::data::Json(goals.collect()),
            carried_from: Some(activity.name()),
            created_at: now,
            updated_at: now,
            revision: 1,
            ..activity
        };
        activity::insert(tx, case, row).await?;
    }
    Ok(())
}

/// What a revision changed: which goal was added, which activity stopped.
pub async fn diff(scope: &Scope, revised: CarePlanName, base: &str) -> Result<pb::PlanDiff> {
    let revised = care_plan::get(scope, revised).await?;
    let base = care_plan::base(scope, &revised, base).await?;
    let (before, after) = (base.content(), revised.content());
    let fields = [
        ("title", before.title != after.title),
        ("description", before.description != after.description),
        ("categories", before.categories != after.categories),
        ("problems", before.problems != after.problems),
        ("period", before.period != after.period),
        ("review_due_time", before.review_due_time != after.review_due_time),
    ];
    let mut changes = goals(scope, &base, &revised).await?;
    changes.extend(activities(scope, &base, &revised).await?);
    Ok(pb::PlanDiff {
        base: base.name(),
        revised: revised.name(),
        changed_fields: differing(&fields),
        changes,
    })
}

async fn goals(
    scope: &Scope,
    base: &care_plan::Model,
    revised: &care_plan::Model,
) -> Result<Vec<pb::PlanChange>> {
    let old = goal::of_plan(scope, base.id).await?;
    let new = goal::of_plan(scope, revised.id).await?;
    let mut changes = vec![];
    for goal in &new {
        let from = old.iter().find(|old| goal.carried_from.as_deref() == Some(&old.name()));
        let changed_fields = from.map(|from| {
            let (a, b) = (from.content(), goal.content());
            differing(&[
                ("description", a.description != b.description),
                ("statement", a.statement != b.statement),
                ("categories", a.categories != b.categories),
                ("problems", a.problems != b.problems),
                ("targets", a.targets != b.targets),
                ("priority", a.priority != b.priority),
                ("owner", a.owner != b.owner),
                ("start_date", a.start_date != b.start_date),
            ])
        });
        let stopped = goal.state.is_end()
            && from.is_none_or(|from| !from.state.is_end() || base.replaced_by.is_some());
        changes.extend(change(
            from.map(|from| from.name()),
            goal.name(),
            describe(&goal.description.0),
            changed_fields,
            stopped,
        ));
    }
    for gone in old.iter().filter(|old| {
        old.state != goal::State::EnteredInError
            && !new.iter().any(|new| new.carried_from.as_deref() == Some(&old.name()))
    }) {
        changes.push(removed(gone.name(), describe(&gone.description.0)));
    }
    Ok(changes)
}

async fn activities(
    scope: &Scope,
    base: &care_plan::Model,
    revised: &care_plan::Model,
) -> Result<Vec<pb::PlanChange>> {
    let old = activity::of_plan(scope, base.id).await?;
    let new = activity::of_plan(scope, revised.id).await?;
    let mut changes = vec![];
    let words = |row: &activity::Model| match (&row.description, &row.code) {
        (text, Some(code)) if text.is_empty() => describe(&code.0),
        (text, _) => short(text),
    };
    for activity in &new {
        let from = old.iter().find(|old| activity.carried_from.as_deref() == Some(&old.name()));
        let changed_fields = from.map(|from| {
            let (a, b) = (from.content(), activity.content());
            differing(&[
                ("code", a.code != b.code),
                ("description", a.description != b.description),
                ("kind", a.kind != b.kind),
                ("owner", a.owner != b.owner),
                (
                    "performer",
                    (a.performer, a.performer_display) != (b.performer, b.performer_display),
                ),
                ("location", a.location != b.location),
                ("schedule", a.schedule != b.schedule),
                ("expected_effect", a.expected_effect != b.expected_effect),
                ("cost_estimate", a.cost_estimate != b.cost_estimate),
            ])
        });
        let stopped =
            matches!(activity.state, activity::State::Cancelled | activity::State::Stopped);
        changes.extend(change(
            from.map(|from| from.name()),
            activity.name(),
            words(activity),
            changed_fields,
            stopped,
        ));
    }
    for gone in old.iter().filter(|old| {
        old.state != activity::State::EnteredInError
            && !new.iter().any(|new| new.carried_from.as_deref() == Some(&old.name()))
    }) {
        changes.push(removed(gone.name(), words(gone)));
    }
    Ok(changes)
}

/// One change, if there is one: new, no longer carried out, or saying something else.
fn change(
    before: Option<String>,
    after: String,
    description: String,
    changed_fields: Option<Vec<String>>,
    stopped: bool,
) -> Option<pb::PlanChange> {
    let changed_fields = changed_fields.unwrap_or_default();
    let action = match (&before, stopped) {
        (None, _) => Action::Added,
        (Some(_), true) => Action::Stopped,
        (Some(_), false) if changed_fields.is_empty() => return None,
        (Some(_), false) => Action::Changed,
    };
    let before = before.unwrap_or_default();
    Some(pb::PlanChange { action: action.into(), before, after, description, changed_fields })
}

fn removed(before: String, description: String) -> pb::PlanChange {
    pb::PlanChange {
        action: Action::Removed.into(),
        before,
        after: String::new(),
        description,
        changed_fields: vec![],
    }
}

fn differing(fields: &[(&str, bool)]) -> Vec<String> {
    fields.iter().filter(|(_, differs)| *differs).map(|(field, _)| (*field).to_owned()).collect()
}

fn describe(concept: &caseward_core::data::Concept) -> String {
    let display =
        || concept.codings.iter().map(|coding| &coding.display).find(|display| !display.is_empty());
    short(if concept.text.is_empty() { display().unwrap_or(&concept.text) } else { &concept.text })
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
