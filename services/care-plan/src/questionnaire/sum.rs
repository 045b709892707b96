//! Which sum an item calculates, read from the few published forms that we know.
use std::collections::HashMap;

use serde_json::Value;

use super::{extension, members};

const CALCULATED: &str =
    "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-calculatedExpression";
const VARIABLE: &str = "http://hl7.org/fhir/StructureDefinition/variable";

/// The sums of published expressions that we know; FHIRPath is not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// `%resource.item….weight().sum()`: every weighed choice.
    Everything,
    /// `….where(linkId='…').item….weight()…`: the choices directly inside that item.
    Inside(String),
    /// `%a + %b + …` over variables that each read one question's `ordinalValue`.
    Of(Vec<String>),
    /// Anything else: the total is carried by an expression we do not know.
    Unknown,
}

/// Which sum an item calculates, if it calculates.
pub(super) fn sum(given: &Value) -> Option<Sum> {
    let text = |extension: &Value, key: &str| {
        extension["valueExpression"].get(key).and_then(Value::as_str).map(str::to_owned)
    };
    let expression = text(extension(given, CALCULATED)?, "expression").unwrap_or_default();
    let plain: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let summed =
        [".answer.value.weight().sum()", ".answer.value.weight().aggregate($this+$total,0)"]
            .iter()
            .find_map(|end| plain.strip_suffix(end));
    let own = given.get("linkId").and_then(Value::as_str).unwrap_or_default();
    if let Some(from) = summed {
        let own: String = own.chars().filter(|c| !c.is_whitespace()).collect();
        let inside = from
            .strip_prefix("%resource.repeat(item).where(linkId='")
            .and_then(|rest| rest.strip_suffix("').item"));
        return Some(match inside {
            Some(link) if !link.contains('\'') => Sum::Inside(link.to_owned()),
            _ if from == format!("%resource.item.where(linkId!='{own}')")
                || from == "%resource.repeat(item)"
                || from == "%resource.item" =>
            {
                Sum::Everything
            }
            _ => Sum::Unknown,
        });
    }
    let variables: HashMap<String, String> = members(&given["extension"])
        .iter()
        .filter(|extension| extension.get("url").and_then(Value::as_str) == Some(VARIABLE))
        .filter_map(|extension| Some((text(extension, "name")?, text(extension, "expression")?)))
        .collect();
    Some(of_variables(&plain, &variables).map_or(Sum::Unknown, Sum::Of))
}

/// `iif(%answered, iif(%q1.exists(), %q1, 0) + …, …)` or `%q1 + %q2`: the questions it adds up.
fn of_variables(plain: &str, variables: &HashMap<String, String>) -> Option<Vec<String>> {
    if !plain.contains('+') || plain.contains(['*', '/', '-', '&', '|']) {
        return None;
    }
    let mut links: Vec<String> = vec![];
    for mention in plain.split('%').skip(1) {
        let name: String =
            mention.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let read = variables.get(&name)?.strip_prefix("%questionnaire.item.where(linkId = '");
        // The guard of `iif` is a variable too, and adds nothing.
        let Some(read) = read else { continue };
        let (link, _) = read.split_once('\'')?;
        if !links.iter().any(|known| known == link) {
            links.push(link.to_owned());
        }
    }
    (!links.is_empty()).then_some(links)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_known_sums_are_recognised() {
        let sum_of = |expression: &str| {
            sum(&json!({ "linkId": "t", "extension": [
                { "url": VARIABLE, "valueExpression": { "name": "q_1",
                    "expression": "%questionnaire.item.where(linkId = '/a').answerOption.valueDecimal" } },
                { "url": VARIABLE, "valueExpression": { "name": "any", "expression": "%q_1.exists()" } },
                { "url": CALCULATED, "valueExpression": { "expression": expression } }] }))
            .unwrap()
        };
        let everything = "%resource.item.where(linkId!='t').answer.value.weight().sum()";
        assert_eq!(sum_of(everything), Sum::Everything);
        let inside = "%resource.repeat(item).where(linkId='1.0').item.answer.value.weight().aggregate($this + $total, 0)";
        assert_eq!(sum_of(inside), Sum::Inside("1.0".to_owned()));
        assert_eq!(
            sum_of("iif(%any, iif(%q_1.exists(), %q_1, 0) + 0, {})"),
            Sum::Of(vec!["/a".to_owned()])
        );
        assert_eq!(sum_of("%q_1 * 2 + %q_1"), Sum::Unknown);
        assert_eq!(
            sum_of("%resource.item.where(linkId!='x').answer.value.weight().sum()"),
            Sum::Unknown
        );
    }
}
