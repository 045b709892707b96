//! What a plan says as a whole: hashed for those who agree to it, compared between revisions, carried into the next.
use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use caseward_api::careplan::v1::{self as pb, plan_change::Action};
use caseward_core::Result;
use caseward_store::{Scope, Tx};
use prost::Message;

use crate::{
    activity::{self, ActivityId},
    care_plan::{self, CarePlanId, CarePlanName},
    case,
    goal::{self, GoalId},
    task,
};

/// SHA-256 over the plan, its goals and its activities, in lower-case hexadecimal.
///
/// The canonical form is the protobuf encoding of the contents in order of creation: our messages hold no maps,
/// so one content has one encoding. What was stopped is part of it, as such: to leave off what helps is agreed to, too.
pub async fn hash(scope: &Scope, plan: &care_plan::Model) -> Result<String> {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: Vec<u8>| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(&bytes);
    };
    add(plan.content().encode_to_vec());
    for goal in goal::of_plan(scope, plan.id).await? {
        let mut content = goal.content();
        match Fate::from(goal.state) {
            Fate::Open | Fate::Done => {}
            Fate::Stopped => content.set_state(pb::goal::State::Cancelled),
            Fate::InError => continue,
        }
        add(content.encode_to_vec());
    }
    for activity in activity::of_plan(scope, plan.id).await? {
        let mut content = activity.content();
        match Fate::from(activity.state) {
            Fate::Open | Fate::Done => {}
            Fate::Stopped => content.set_state(pb::activity::State::Cancelled),
            Fate::InError => continue,
        }
        add(content.encode_to_vec());
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Copies the open goals and activities of `old` into its revision. They are worked on where they are carried out, and
/// [`keep_up`] brings the copies to where they stand then.
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

/// A revision beside the plan that it revises: what was carried over, as it stands in both.
pub struct Carried {
    goals: Vec<(goal::Model, goal::Model)>,
    activities: Vec<(activity::Model, activity::Model)>,
}
caseward_core::confidential!(Carried);

impl Carried {
    pub async fn of(scope: &Scope, old: CarePlanId, new: CarePlanId) -> Result<Self> {
        let mut carried = Carried { goals: vec![], activities: vec![] };
        let (was, is) = (goal::of_plan(scope, old).await?, goal::of_plan(scope, new).await?);
        for original in was {
            let name = original.name();
            let copy = is.iter().find(|copy| copy.carried_from.as_ref() == Some(&name));
            carried.goals.extend(copy.map(|copy| (original, copy.clone())));
        }
        let (was, is) =
            (activity::of_plan(scope, old).await?, activity::of_plan(scope, new).await?);
        for original in was {
            let name = original.name();
            let copy = is.iter().find(|copy| copy.carried_from.as_ref() == Some(&name));
            carried.activities.extend(copy.map(|copy| (original, copy.clone())));
        }
        Ok(carried)
    }

    /// What the revision goes on with although it came to nothing meanwhile.
    pub fn lost(&self) -> Vec<String> {
        let is_lost = |original: Fate, copy: Fate| {
            copy == Fate::Open && matches!(original, Fate::Stopped | Fate::InError)
        };
        let goals = self.goals.iter().filter(|(o, c)| is_lost(o.state.into(), c.state.into()));
        let goals = goals.map(|(original, _)| original.name());
        let activities =
            self.activities.iter().filter(|(o, c)| is_lost(o.state.into(), c.state.into()));
        goals.chain(activities.map(|(original, _)| original.name())).collect()
    }

    /// Brings the copies to where the originals stand, but for what the revision itself took further or stopped.
    pub async fn keep_up(&mut self, tx: &Tx, case: &case::Model) -> Result<()> {
        for (original, copy) in &mut self.goals {
            *copy = goal::keep_up(tx, case, copy.clone(), original).await?;
        }
        for (original, copy) in &mut self.activities {
            *copy = activity::keep_up(tx, case, copy.clone(), original).await?;
        }
        Ok(())
    }

    /// Lets the revision succeed: what it stopped ends with its tasks and its reason, and the tasks of what goes on are
    /// about what goes on.
    pub async fn succeed(
        &self,
        tx: &Tx,
        case: &case::Model,
        plans: (String, String),
    ) -> Result<()> {
        let mut onward = BTreeMap::from([plans]);
        for (original, copy) in &self.goals {
            if Fate::from(copy.state) != Fate::Stopped {
                onward.insert(original.name(), copy.name());
            } else if !original.state.is_end() {
                let ended = goal::end(tx, case, original.clone(), &copy.state_reason).await?;
                let causes = [ended, copy.name()];
                task::cancel_caused(tx, case, &causes, &copy.state_reason).await?;
            }
        }
        for (original, copy) in &self.activities {
            if Fate::from(copy.state) != Fate::Stopped {
                onward.insert(original.name(), copy.name());
            } else if original.state.is_open() {
                let ended = activity::end(tx, case, original.clone(), &copy.state_reason).await?;
                let causes = [ended, copy.name()];
                task::cancel_caused(tx, case, &causes, &copy.state_reason).await?;
            }
        }
        task::follow(tx, case, &onward).await
    }
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
    let plans = care_plan::line(scope, &revised, &base).await?;
    let (mut line_of_goals, mut line_of_activities) = (vec![], vec![]);
    for plan in &plans {
        let goals = goal::of_plan(scope, plan.id).await?;
        line_of_goals.push(goals.into_iter().map(Item::from).collect());
        let activities = activity::of_plan(scope, plan.id).await?;
        line_of_activities.push(activities.into_iter().map(Item::from).collect());
    }
    let mut changes = changes(&line_of_goals);
    changes.extend(self::changes(&line_of_activities));
    Ok(pb::PlanDiff {
        base: base.name(),
        revised: revised.name(),
        changed_fields: differing(&fields),
        changes,
    })
}

/// A goal or an activity, as far as plans are compared.
struct Item {
    name: String,
    carried_from: Option<String>,
    description: String,
    fate: Fate,
    content: Content,
}
caseward_core::confidential!(Item);

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// It came to its own end, which no revision brought about.
    Done,
    /// It is not carried out any more.
    Stopped,
    /// It never should have been.
    InError,
}

impl From<goal::State> for Fate {
    fn from(state: goal::State) -> Self {
        use goal::State;
        match state {
            State::Completed => Fate::Done,
            State::Cancelled | State::Rejected => Fate::Stopped,
            State::EnteredInError => Fate::InError,
            State::Proposed | State::Accepted | State::Planned | State::Active | State::OnHold => {
                Fate::Open
            }
        }
    }
}

impl From<activity::State> for Fate {
    fn from(state: activity::State) -> Self {
        use activity::State;
        match state {
            State::Completed => Fate::Done,
            State::Cancelled | State::Stopped => Fate::Stopped,
            State::EnteredInError => Fate::InError,
            State::NotStarted
            | State::Scheduled
            | State::InProgress
            | State::OnHold
            | State::Unknown => Fate::Open,
        }
    }
}

#[derive(Debug)]
enum Content {
    Goal(Box<pb::Goal>),
    Activity(Box<pb::Activity>),
}

impl From<goal::Model> for Item {
    fn from(row: goal::Model) -> Self {
        Item {
            name: row.name(),
            description: describe(&row.description.0),
            fate: row.state.into(),
            content: Content::Goal(Box::new(row.content())),
            carried_from: row.carried_from,
        }
    }
}

impl From<activity::Model> for Item {
    fn from(row: activity::Model) -> Self {
        Item {
            name: row.name(),
            description: match (&row.description, &row.code) {
                (text, Some(code)) if text.is_empty() => describe(&code.0),
                (text, _) => short(text),
            },
            fate: row.state.into(),
            content: Content::Activity(Box::new(row.content())),
            carried_from: row.carried_from,
        }
    }
}

/// What changed along a line of plans, the newest first, between its two ends.
fn changes(line: &[Vec<Item>]) -> Vec<pb::PlanChange> {
    let (Some(new), Some(old)) = (line.first(), line.last()) else { return vec![] };
    let mut changes = vec![];
    for item in new.iter().filter(|item| item.fate != Fate::InError) {
        let from = origin(line, item);
        let changed_fields = from.map(|from| from.content.differs(&item.content));
        let action = match (from, item.fate) {
            (None, _) => Action::Added,
            (Some(_), Fate::Stopped) => Action::Stopped,
            (Some(_), _) if changed_fields.as_ref().is_none_or(Vec::is_empty) => continue,
            (Some(_), _) => Action::Changed,
        };
        changes.push(pb::PlanChange {
            action: action.into(),
            before: from.map(|from| from.name.clone()).unwrap_or_default(),
            after: item.name.clone(),
            description: item.description.clone(),
            changed_fields: changed_fields.unwrap_or_default(),
        });
    }
    let there = |item: &Item| item.fate != Fate::InError;
    for gone in old.iter().filter(|item| there(item)) {
        let last = descendant(line, gone);
        if there(last) && new.iter().any(|item| item.name == last.name) {
            continue;
        }
        let action = match last.fate {
            Fate::Done => continue,
            Fate::Stopped => Action::Stopped,
            Fate::Open | Fate::InError => Action::Removed,
        };
        changes.push(pb::PlanChange {
            action: action.into(),
            before: gone.name.clone(),
            after: String::new(),
            description: gone.description.clone(),
            changed_fields: vec![],
        });
    }
    changes
}

/// What an item of the newest plan was in the oldest.
fn origin<'a>(line: &'a [Vec<Item>], item: &'a Item) -> Option<&'a Item> {
    line.iter().skip(1).try_fold(item, |item, plan| {
        plan.iter().find(|from| item.carried_from.as_deref() == Some(&from.name))
    })
}

/// What an item of the oldest plan became last.
fn descendant<'a>(line: &'a [Vec<Item>], item: &'a Item) -> &'a Item {
    line.iter().rev().skip(1).fold(item, |item, plan| {
        plan.iter().find(|to| to.carried_from.as_deref() == Some(&item.name)).unwrap_or(item)
    })
}

impl Content {
    fn differs(&self, other: &Content) -> Vec<String> {
        match (self, other) {
            (Content::Goal(a), Content::Goal(b)) => differing(&[
                ("description", a.description != b.description),
                ("statement", a.statement != b.statement),
                ("categories", a.categories != b.categories),
                ("problems", a.problems != b.problems),
                ("targets", a.targets != b.targets),
                ("priority", a.priority != b.priority),
                ("owner", a.owner != b.owner),
                ("start_date", a.start_date != b.start_date),
            ]),
            (Content::Activity(a), Content::Activity(b)) => differing(&[
                ("code", a.code != b.code),
                ("description", a.description != b.description),
                ("kind", a.kind != b.kind),
                ("owner", a.owner != b.owner),
                (
                    "performer",
                    (&a.performer, &a.performer_display) != (&b.performer, &b.performer_display),
                ),
                ("location", a.location != b.location),
                ("schedule", a.schedule != b.schedule),
                ("expected_effect", a.expected_effect != b.expected_effect),
                ("cost_estimate", a.cost_estimate != b.cost_estimate),
            ]),
            _ => vec![],
        }
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
