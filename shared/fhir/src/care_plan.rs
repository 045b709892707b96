//! CarePlan with its activities, read into the care-plan service's contracts.
use caseward_api::{
    careplan::v1::{Activity, CarePlan, Goal, Member, Problem, Schedule, activity, care_plan},
    types::v1::{Concept, Identifier, Period},
};
use serde_json::Value;

use crate::{
    care_team, condition, datatype, goal,
    link::Links,
    node::Node,
    reference::{PART_SYSTEM, Reference},
};

/// A plan, what it holds itself, and what it refers to by position in the catalog.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) patient: String,
    pub(crate) care_plan: CarePlan,
    pub(crate) activities: Vec<Activity>,
    pub(crate) goals: Vec<usize>,
    pub(crate) problems: Vec<usize>,
    pub(crate) teams: Vec<usize>,
    /// Contained resources, which are the plan's alone.
    pub(crate) own_goals: Vec<Goal>,
    pub(crate) own_problems: Vec<Problem>,
    pub(crate) own_members: Vec<Member>,
}
caseward_core::confidential!(Plan);

/// The identifier of a part that has no identity of its own in FHIR.
pub(crate) fn part(of: &[Identifier], what: &str) -> Vec<Identifier> {
    let of_first = |whole: &Identifier| Identifier {
        system: PART_SYSTEM.to_owned(),
        value: format!("{}#{what}", whole.value),
    };
    of.first().map(of_first).into_iter().collect()
}

/// A reference from one part of a bundle to another.
pub(crate) fn within(identifiers: &[Identifier]) -> Option<String> {
    let Identifier { system, value } = identifiers.first()?;
    Some(format!("?identifier={system}|{value}"))
}

/// Reads a care plan.
pub(crate) fn read(at: &Node<'_>, links: &Links<'_>, identifiers: Vec<Identifier>) -> Option<Plan> {
    let mut plan = Plan { patient: links.patient(at, "subject")?, ..Plan::default() };
    let state = state(at);
    let categories = datatype::concepts(at, "category", 10);
    let period = datatype::period(at, "period");
    plan.activities = activities(at, links, &identifiers);
    plan.problems = parts(at, links, "addresses", "Condition", |inner, id| {
        let problem = condition::content(inner, part(&identifiers, id));
        plan.own_problems.push(problem);
    });
    plan.goals = parts(at, links, "goal", "Goal", |inner, id| {
        plan.own_goals.push(goal::content(inner, part(&identifiers, id)));
    });
    plan.teams = parts(at, links, "careTeam", "CareTeam", |inner, id| {
        plan.own_members.extend(care_team::members(inner, links, &part(&identifiers, id)));
    });
    let ended = matches!(state, care_plan::State::Completed | care_plan::State::Revoked);
    plan.care_plan = CarePlan {
        title: title(at, &categories),
        identifiers,
        description: at.text("description", 8000),
        categories,
        activate_time: period
            .as_ref()
            .and_then(|period| period.start)
            .filter(|_| state != care_plan::State::Draft),
        end_time: period.as_ref().and_then(|period| period.end).filter(|_| ended),
        period,
        state: state as i32,
        ..CarePlan::default()
    };
    Some(plan)
}

fn state(at: &Node<'_>) -> care_plan::State {
    use care_plan::State;
    if at.get("status").is_none() {
        at.fail_at("status", "is required");
    }
    let state = at.code("status", "request-status", |code| {
        Some(match code {
            "draft" | "unknown" => State::Draft,
            "active" => State::Active,
            "on-hold" => State::OnHold,
            "revoked" => State::Revoked,
            "completed" => State::Completed,
            "entered-in-error" => State::EnteredInError,
            _ => return None,
        })
    });
    state.unwrap_or_default()
}

/// What a person would call the plan: its title, else what kind of plan it is.
fn title(at: &Node<'_>, categories: &[Concept]) -> String {
    let title = at.text("title", 200);
    if !title.is_empty() {
        return title;
    }
    // US Core marks every plan as an assessment and plan, which says nothing about this one.
    let own = categories.iter().filter(|concept| {
        concept.codings.iter().all(|coding| !coding.system.ends_with("/careplan-category"))
    });
    let words = own.map(datatype::words).find(|words| !words.is_empty()).unwrap_or("Care plan");
    words.chars().take(200).collect()
}

/// What a list of references leads to in the input. What is contained goes to `own` with its id.
fn parts(
    at: &Node<'_>,
    links: &Links<'_>,
    member: &str,
    kind: &str,
    mut own: impl FnMut(&Node<'_>, &str),
) -> Vec<usize> {
    let mut found = vec![];
    for reference in at.list(member) {
        match Reference::at(&reference, kind) {
            None => {}
            Some(Reference::Contained(id)) => {
                let inner = at.list("contained").into_iter().find(|inner| {
                    let says = |member: &str| inner.value().get(member).and_then(Value::as_str);
                    says("id") == Some(&id) && says("resourceType") == Some(kind)
                });
                match inner {
                    Some(inner) => own(&inner, &id),
                    None => reference.warn("refers to nothing that is contained; left out"),
                }
            }
            Some(Reference::Keys(_)) => match links.resource(&reference, &[kind]) {
                Some(resource) if !found.contains(&resource) => found.push(resource),
                Some(_) => {}
                None => reference.warn("refers to a resource that is not in the input; left out"),
            },
        }
    }
    found
}

fn activities(at: &Node<'_>, links: &Links<'_>, plan: &[Identifier]) -> Vec<Activity> {
    let mut activities = vec![];
    for (n, at) in at.list_of("activity", 200).iter().enumerate() {
        let identifiers = part(plan, &format!("activity/{n}"));
        let activity = match (at.get("detail"), at.get("reference")) {
            (Some(detail), _) => Some(detailed(&detail, links, identifiers)),
            (None, Some(reference)) => referred(&reference, links, identifiers),
            (None, None) => None,
        };
        match activity {
            Some(activity) => activities.push(activity),
            None => at.warn("does not say what is done; left out"),
        }
    }
    activities
}

/// An activity that the plan describes itself.
fn detailed(at: &Node<'_>, links: &Links<'_>, identifiers: Vec<Identifier>) -> Activity {
    use activity::{Kind, State};
    let state = at.code("status", "care-plan-activity-status", |code| {
        Some(match code {
            "not-started" => State::NotStarted,
            "scheduled" => State::Scheduled,
            "in-progress" => State::InProgress,
            "on-hold" => State::OnHold,
            "completed" => State::Completed,
            "cancelled" => State::Cancelled,
            "stopped" => State::Stopped,
            "unknown" => State::Unknown,
            "entered-in-error" => State::EnteredInError,
            _ => return None,
        })
    });
    let mut kind = match &*at.text("kind", 100) {
        "Appointment" => Kind::Appointment,
        "ServiceRequest" => Kind::Service,
        "CommunicationRequest" => Kind::Education,
        _ => Kind::Other,
    };
    let mut code = datatype::concept(at, "code");
    let mut description = at.text("description", 4000);
    if at.flag("doNotPerform") == Some(true) {
        // The code alone would read as the opposite.
        let words = if description.is_empty() {
            code.as_ref().map(datatype::words).unwrap_or_default()
        } else {
            &description
        };
        description = format!("Not to be done: {words}");
        code = None;
    }
    if code.is_none() && description.is_empty() {
        let product = datatype::concept(at, "productCodeableConcept");
        let named = at.get("productReference").map(|at| at.text("display", 300));
        description =
            product.map(|one| datatype::words(&one).to_owned()).or(named).unwrap_or_default();
        if description.is_empty() {
            "An activity without words".clone_into(&mut description);
            at.warn("does not say what is done");
        }
    }
    let mut activity = Activity { identifiers, code, description, ..Activity::default() };
    for at in at.list("performer") {
        perform(&mut activity, &at, links, &mut kind);
    }
    activity.kind = kind as i32;
    activity.location = links.name(at, "location", &["Location"]);
    activity.schedule = schedule(at);
    activity.state = state.unwrap_or(State::Unknown) as i32;
    activity
}

/// Sets who does it, of the first who is known. What the person does is self-care.
fn perform(activity: &mut Activity, at: &Node<'_>, links: &Links<'_>, kind: &mut activity::Kind) {
    let types = [
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "HealthcareService",
        "RelatedPerson",
        "Patient",
    ];
    let to = links.target(at, &types);
    let display = at.text("display", 300);
    match to {
        Some(to) if to.resource_type == "Patient" => {
            *kind = activity::Kind::SelfCare;
            if activity.performer_display.is_empty() {
                activity.performer_display =
                    if display.is_empty() { "Patient".to_owned() } else { display };
            }
        }
        Some(to) if to.resource_type != "RelatedPerson" && activity.performer.is_empty() => {
            activity.performer = to.name;
        }
        _ if activity.performer_display.is_empty() => activity.performer_display = display,
        _ => {}
    }
    if !activity.performer.is_empty() {
        activity.performer_display.clear();
    }
}

/// An activity that is another resource: what that one says it is.
fn referred(at: &Node<'_>, links: &Links<'_>, identifiers: Vec<Identifier>) -> Option<Activity> {
    use activity::{Kind, State};
    let types = ["ServiceRequest", "MedicationRequest"];
    let found = links
        .resource(at, &types)
        .map(|n| (&*links.catalog.resources[n].resource_type, links.json(n)));
    let (code, kind) = match found {
        Some(("MedicationRequest", json)) => (json.get("medicationCodeableConcept"), Kind::Other),
        Some((_, json)) => (json.get("code"), Kind::Service),
        None => (None, Kind::Other),
    };
    let code = code.and_then(|code| datatype::concept_of(&at.beside(code)));
    let description = at.text("display", 300);
    (code.is_some() || !description.is_empty()).then(|| Activity {
        identifiers,
        code,
        description,
        kind: kind as i32,
        state: State::Unknown as i32,
        ..Activity::default()
    })
}

fn schedule(at: &Node<'_>) -> Option<Schedule> {
    let timing = at.get("scheduledTiming");
    let repeat = timing.as_ref().and_then(|at| at.get("repeat"));
    let bounds = repeat.as_ref().and_then(|at| datatype::period(at, "boundsPeriod"));
    let event: Option<Period> = timing.as_ref().and_then(|at| {
        let start = at.list("event").first().and_then(|_| at.list("event")[0].own_time());
        start.map(|start| Period { start: Some(start), end: None })
    });
    let (recurrence, spoken) = repeat.as_ref().map(recurrence).unwrap_or_default();
    let text = Some(at.text("scheduledString", 500)).filter(|text| !text.is_empty());
    let schedule = Schedule {
        period: datatype::period(at, "scheduledPeriod").or(bounds).or(event),
        recurrence,
        time_zone: String::new(),
        text: text.unwrap_or(spoken),
    };
    (schedule != Schedule::default()).then_some(schedule)
}

/// How often, as a rule where RFC 5545 has one for it, and in words.
fn recurrence(at: &Node<'_>) -> (String, String) {
    let (Some(period), unit) = (at.number("period"), at.text("periodUnit", 5)) else {
        return Default::default();
    };
    let frequency = at.number("frequency").unwrap_or(1.0);
    let (rule, word) = match &*unit {
        "h" => ("HOURLY", "hours"),
        "d" => ("DAILY", "days"),
        "wk" => ("WEEKLY", "weeks"),
        "mo" => ("MONTHLY", "months"),
        "a" => ("YEARLY", "years"),
        "s" => ("", "seconds"),
        "min" => ("", "minutes"),
        _ => return Default::default(),
    };
    let whole = period.fract() == 0.0 && (1.0..=1000.0).contains(&period) && frequency == 1.0;
    let rule = if whole && !rule.is_empty() {
        format!("FREQ={rule};INTERVAL={period}")
    } else {
        String::new()
    };
    (rule, format!("{frequency} times in {period} {word}"))
}
