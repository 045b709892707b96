//! Condition, read into the care-plan service's problem.
use caseward_api::{
    careplan::v1::{PatientProblem, Problem, problem},
    types::v1::Identifier,
};

use crate::{datatype, link::Links, node::Node};

/// Reads a condition. None where it was found not to be there.
pub(crate) fn read(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<PatientProblem> {
    let verification = datatype::concept(at, "verificationStatus");
    if datatype::codes(&verification).any(|code| code == "refuted") {
        return None;
    }
    let problem = Some(content(at, identifiers));
    Some(PatientProblem { patient: links.patient(at, "subject")?, problem })
}

/// What a condition says, whoever has it.
pub(crate) fn content(at: &Node<'_>, identifiers: Vec<Identifier>) -> Problem {
    let code = datatype::concept(at, "code");
    if code.is_none() {
        at.fail_at("code", "is required");
    }
    let onset = at.time("onsetDateTime").or_else(|| at.get("onsetPeriod")?.time("start"));
    let abatement = at.time("abatementDateTime").or_else(|| at.get("abatementPeriod")?.time("end"));
    if let (Some(onset), Some(abatement)) = (&onset, &abatement)
        && (abatement.seconds, abatement.nanos) < (onset.seconds, onset.nanos)
    {
        at.fail_at("abatement[x]", "is before onset[x]");
    }
    let ended = abatement.is_some() || at.get("abatementString").is_some();
    Problem {
        identifiers,
        code,
        categories: datatype::concepts(at, "category", 10),
        kind: problem::Kind::Problem as i32,
        source: problem::Source::Imported as i32,
        onset_time: onset,
        abatement_time: abatement,
        note: note(at),
        state: state(at, ended) as i32,
        ..Problem::default()
    }
}

fn state(at: &Node<'_>, ended: bool) -> problem::State {
    use problem::State;
    let verification = datatype::concept(at, "verificationStatus");
    if datatype::codes(&verification).any(|code| code == "entered-in-error") {
        return State::EnteredInError;
    }
    let clinical = datatype::concept(at, "clinicalStatus");
    let Some(code) = datatype::codes(&clinical).next() else {
        return if ended { State::Resolved } else { State::Active };
    };
    match code {
        "active" | "recurrence" | "relapse" => State::Active,
        "inactive" | "remission" => State::Inactive,
        "resolved" => State::Resolved,
        _ => {
            at.fail_at("clinicalStatus", "wants a code of condition-clinical");
            State::Unspecified
        }
    }
}

/// The notes, and an onset that is only said in words.
fn note(at: &Node<'_>) -> String {
    let onset = at.text("onsetString", 500);
    let onset = (!onset.is_empty()).then(|| format!("Onset: {onset}"));
    let notes = at.list("note").into_iter().map(|at| at.text("text", 4000));
    let all: Vec<String> = notes.chain(onset).filter(|text| !text.is_empty()).collect();
    let all = all.join("\n");
    if all.chars().count() > 4000 {
        at.fail_at("note", "wants at most 4000 characters in all");
        return String::new();
    }
    all
}
