//! Goal, read into the care-plan service's contract.
use caseward_api::{
    careplan::v1::{
        Goal, Target,
        goal::{Achievement, Priority, State},
    },
    types::v1::{Concept, Identifier, Quantity},
};

use crate::{datatype, link::Links, node::Node};

/// A goal, whose it is, and what it addresses by position in the catalog.
pub(crate) struct OfPatient {
    pub(crate) patient: String,
    pub(crate) goal: Goal,
    pub(crate) problems: Vec<usize>,
}
caseward_core::confidential!(OfPatient);

/// Reads a goal.
pub(crate) fn read(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<OfPatient> {
    let problems = at.list("addresses");
    Some(OfPatient {
        patient: links.patient(at, "subject")?,
        goal: content(at, identifiers),
        problems: problems.iter().filter_map(|at| links.resource(at, &["Condition"])).collect(),
    })
}

/// What a goal says, whosever it is.
pub(crate) fn content(at: &Node<'_>, identifiers: Vec<Identifier>) -> Goal {
    let mut description = datatype::concept(at, "description");
    match &mut description {
        Some(concept) if concept.text.is_empty() => {
            concept.text = datatype::words(concept).to_owned()
        }
        Some(_) => {}
        None => at.fail_at("description", "is required"),
    }
    let state = at.code("lifecycleStatus", "goal-status", |code| {
        Some(match code {
            "proposed" => State::Proposed,
            "planned" => State::Planned,
            "accepted" => State::Accepted,
            "active" => State::Active,
            "on-hold" => State::OnHold,
            "completed" => State::Completed,
            "cancelled" => State::Cancelled,
            "entered-in-error" => State::EnteredInError,
            "rejected" => State::Rejected,
            _ => return None,
        })
    });
    if at.get("lifecycleStatus").is_none() {
        at.fail_at("lifecycleStatus", "is required");
    }
    Goal {
        identifiers,
        description,
        categories: datatype::concepts(at, "category", 10),
        targets: at.list_of("target", 20).iter().filter_map(target).collect(),
        priority: priority(at) as i32,
        start_date: at.date("startDate"),
        state: state.unwrap_or_default() as i32,
        achievement: achievement(at) as i32,
        state_reason: at.text("statusReason", 1000),
        ..Goal::default()
    }
}

/// The codes of a concept, else its words as they would be written as a code: Synthea gives words only.
fn said(at: &Node<'_>, member: &str) -> Option<String> {
    let concept = datatype::concept(at, member)?;
    let code = concept.codings.iter().map(|coding| &*coding.code).find(|code| !code.is_empty());
    Some(code.unwrap_or(&concept.text).trim().to_lowercase().replace(' ', "-"))
}

fn achievement(at: &Node<'_>) -> Achievement {
    match said(at, "achievementStatus").as_deref() {
        None => Achievement::Unspecified,
        Some("in-progress") => Achievement::InProgress,
        Some("improving") => Achievement::Improving,
        Some("no-change") => Achievement::NoChange,
        Some("worsening") => Achievement::Worsening,
        Some("achieved") => Achievement::Achieved,
        Some("sustaining") => Achievement::Sustaining,
        Some("not-achieved" | "no-progress") => Achievement::NotAchieved,
        Some("not-attainable") => Achievement::NotAttainable,
        Some(_) => {
            at.fail_at("achievementStatus", "wants a code of goal-achievement");
            Achievement::Unspecified
        }
    }
}

fn priority(at: &Node<'_>) -> Priority {
    match said(at, "priority").as_deref() {
        Some("high-priority" | "high") => Priority::High,
        Some("medium-priority" | "medium") => Priority::Medium,
        Some("low-priority" | "low") => Priority::Low,
        None => Priority::Unspecified,
        Some(_) => {
            // The value set is preferred only, so other words are no mistake.
            at.warn_at("priority", "is not a code of goal-priority; left out");
            Priority::Unspecified
        }
    }
}

/// What is to be reached, or nothing where nothing of it is said.
fn target(at: &Node<'_>) -> Option<Target> {
    let mut target = Target {
        measure: datatype::concept(at, "measure"),
        due_date: at.date("dueDate"),
        ..Target::default()
    };
    if let Some(quantity) = datatype::quantity(at, "detailQuantity") {
        let comparator =
            at.get("detailQuantity").map(|at| at.text("comparator", 2)).unwrap_or_default();
        target.detail =
            format!("{comparator} {} {}", quantity.value, quantity.unit).trim().to_owned();
        match &*comparator {
            "<" | "<=" => target.high = Some(quantity),
            ">" | ">=" => target.low = Some(quantity),
            _ => (target.low, target.high) = (Some(quantity.clone()), Some(quantity)),
        }
    } else if let Some(range) = at.get("detailRange") {
        target.low = datatype::quantity(&range, "low");
        target.high = datatype::quantity(&range, "high");
    } else if let Some(number) = at.get("detailInteger").and_then(|_| at.number("detailInteger")) {
        let quantity = Quantity { value: number, unit: String::new() };
        (target.low, target.high) = (Some(quantity.clone()), Some(quantity));
    } else {
        target.detail = in_words(at);
    }
    if at.get("dueDuration").is_some() {
        at.warn_at("dueDuration", "is a span, not a date; left out");
    }
    let bounded = target.low.is_some() || target.high.is_some() || target.due_date.is_some();
    if !bounded && target.detail.is_empty() {
        // FHIR lets a target say only what is measured, such as "Exercises".
        target.detail = short(target.measure.as_ref()?);
        at.warn("says what is measured and not what is to be reached");
    }
    Some(target)
}

/// A target that is not a number.
fn in_words(at: &Node<'_>) -> String {
    if let Some(concept) = datatype::concept(at, "detailCodeableConcept") {
        return short(&concept);
    }
    if let Some(flag) = at.get("detailBoolean").and_then(|_| at.flag("detailBoolean")) {
        return if flag { "yes".to_owned() } else { "no".to_owned() };
    }
    if let Some(ratio) = at.get("detailRatio") {
        let side =
            |member| datatype::quantity(&ratio, member).map(|q| format!("{} {}", q.value, q.unit));
        let (over, under) =
            (side("numerator").unwrap_or_default(), side("denominator").unwrap_or_default());
        return format!("{} / {}", over.trim(), under.trim());
    }
    at.text("detailString", 500)
}

fn short(concept: &Concept) -> String {
    datatype::words(concept).chars().take(500).collect()
}
