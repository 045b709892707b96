//! Questionnaire, handed on as FHIR JSON: the care-plan service reads it itself.
use caseward_api::{
    careplan::v1::{Questionnaire, questionnaire::State},
    types::v1::Identifier,
};

use crate::{link::Links, node::Node};

/// The most bytes of one form, as the contract says.
const MAX_JSON_BYTES: usize = 1 << 20;

/// Reads a questionnaire. The JSON keeps its members, their order and their values; only white space is lost.
pub(crate) fn read(
    at: &Node<'_>,
    _: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<Questionnaire> {
    let state = at.code("status", "publication-status", |code| {
        Some(match code {
            "retired" => State::Retired,
            "active" | "draft" | "unknown" => State::Active,
            _ => return None,
        })
    });
    let json = at.value().to_string();
    if json.len() > MAX_JSON_BYTES {
        at.fail("wants at most 1 MiB of JSON");
    }
    Some(Questionnaire {
        json,
        state: state.unwrap_or(State::Active) as i32,
        identifiers,
        ..Questionnaire::default()
    })
}
