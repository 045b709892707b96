//! FHIR R4 Questionnaires as we can use them, kept as given, and the answers they accept.
mod answer;
mod choice;
mod item;
mod response;
mod sum;

use caseward_core::Violation;
use serde_json::Value;

use self::item::Reader;
pub(crate) use self::{
    answer::{Answer, Coding},
    choice::{Choice, Options},
    item::{Item, Kind},
    response::{Answers, Policy},
    sum::Sum,
};

/// The longest text of a Questionnaire we read.
const LONGEST: usize = 1024 * 1024;

/// A Questionnaire that can be asked.
#[derive(Debug)]
pub(crate) struct Questionnaire {
    /// As given, with all that we do not read.
    pub(crate) resource: Value,
    pub(crate) url: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) codes: Vec<Coding>,
    pub(crate) items: Vec<Item>,
}

impl Questionnaire {
    /// Reads a Questionnaire, or says everything that keeps it from being used.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Violation>> {
        if text.len() > LONGEST {
            return Err(vec![violation("", "is longer than 1 MiB")]);
        }
        let resource: Value = serde_json::from_str(text)
            .map_err(|err| vec![violation("", format!("is not JSON at line {}", err.line()))])?;
        if resource.get("resourceType").and_then(Value::as_str) != Some("Questionnaire") {
            return Err(vec![violation("resourceType", "wants `Questionnaire`")]);
        }
        let (items, violations) = Reader::read(&resource);
        if !violations.is_empty() {
            return Err(violations);
        }
        let text = |key: &str| resource.get(key).and_then(Value::as_str).map(str::to_owned);
        let (url, version) = (text("url"), text("version"));
        let codes = Coding::list(&resource["code"]);
        Ok(Self { resource, url, version, codes, items })
    }

    /// Every item, each before those inside it.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Item> {
        let mut waiting: Vec<&Item> = self.items.iter().rev().collect();
        std::iter::from_fn(move || {
            let item = waiting.pop()?;
            waiting.extend(item.items.iter().rev());
            Some(item)
        })
    }

    /// Whether the answers fit; all that is wrong with them is said at once.
    pub(crate) fn check(
        &self,
        response: &Value,
        policy: &Policy,
    ) -> Result<Answers, Vec<Violation>> {
        response::check(self, response, policy)
    }
}

fn violation(field: impl Into<String>, why: impl Into<String>) -> Violation {
    Violation { field: field.into(), why: why.into() }
}

/// The members of an array; none when it is absent or something else.
fn members(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The extension of that name on an element.
fn extension<'a>(element: &'a Value, url: &str) -> Option<&'a Value> {
    members(&element["extension"])
        .iter()
        .find(|extension| extension.get("url").and_then(Value::as_str) == Some(url))
}

/// A number, also when it was written as a string, as real files do.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
    .filter(|number: &f64| number.is_finite())
}
