//! What may be chosen and what it weighs, listed with the item or in a contained value set.
use std::sync::Arc;

use serde_json::Value;

use super::{Answer, Coding, extension, members, number};

pub(super) const MOST_OPTIONS: usize = 2_000;

const ORDINAL: &str = "http://hl7.org/fhir/StructureDefinition/ordinalValue";
const WEIGHT: &str = "http://hl7.org/fhir/StructureDefinition/itemWeight";
const PROPERTY: &str =
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion.contains.property";

/// What may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Options {
    /// Whatever is of the item's type.
    Free,
    /// Shared, because many items can name one contained value set.
    Listed(Arc<[Choice]>),
    /// A value set that did not come with the Questionnaire: membership cannot be checked here.
    Elsewhere,
}

/// One thing that may be chosen, and what it weighs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) value: Answer,
    pub(crate) weight: Option<f64>,
}

/// What an option weighs, under either name the extension has had.
pub(super) fn weight(element: &Value) -> Option<f64> {
    let weight = extension(element, ORDINAL).or_else(|| extension(element, WEIGHT))?;
    number(&weight["valueDecimal"]).or_else(|| number(&weight["valueInteger"]))
}

/// What a contained value set lists. Published files disagree between their `compose` and their
/// `expansion`, so a code of either is accepted, with the weight that either gives it.
pub(super) fn contained(set: &Value) -> Options {
    let mut choices: Vec<Choice> = vec![];
    let mut whole = true;
    let mut add = |system: Option<&str>, concept: &Value| {
        let text = |key: &str| concept.get(key).and_then(Value::as_str).map(str::to_owned);
        let coding = Coding {
            system: system.map(str::to_owned).or_else(|| text("system")),
            code: text("code"),
            display: text("display"),
        };
        if choices.len() > MOST_OPTIONS {
            return;
        }
        let value = Answer::Coding(coding);
        let weight = weight(concept).or_else(|| property(concept));
        match choices.iter_mut().find(|choice| choice.value.same(&value)) {
            Some(choice) => choice.weight = choice.weight.or(weight),
            None => choices.push(Choice { value, weight }),
        }
    };
    for include in members(&set["compose"]["include"]) {
        let concepts = members(&include["concept"]);
        // A whole code system, a filter or another value set: more codes than are listed here.
        whole &= !concepts.is_empty();
        for concept in concepts {
            add(include.get("system").and_then(Value::as_str), concept);
        }
    }
    let expansion = members(&set["expansion"]["contains"]);
    for concept in expansion {
        add(None, concept);
    }
    if !(1..=MOST_OPTIONS).contains(&choices.len()) || (!whole && expansion.is_empty()) {
        return Options::Elsewhere;
    }
    Options::Listed(choices.into())
}

/// The `itemWeight` property that R5 expansions carry.
fn property(concept: &Value) -> Option<f64> {
    members(&concept["extension"])
        .iter()
        .filter(|extension| extension.get("url").and_then(Value::as_str) == Some(PROPERTY))
        .find(|property| {
            extension(property, "code")
                .and_then(|code| code.get("valueCode"))
                .and_then(Value::as_str)
                == Some("itemWeight")
        })
        .and_then(|property| extension(property, "value[x]").or(extension(property, "value")))
        .and_then(|value| number(&value["valueDecimal"]).or_else(|| number(&value["valueInteger"])))
}
