//! What forms and their answers withstand. Called by `tests/fuzz`, and here by a few inputs.
use caseward_api::careplan::v1::{ScoringRule, scoring_rule::Method, scoring_rule::Missing};
use caseward_core::Violations;
use serde_json::{Value, json};

use crate::{
    form_rule::Rule,
    questionnaire::{Answers, Policy, Questionnaire},
    score::{self, Total},
};

/// A form that is accepted stays so, as do answers that fit it; a score of them is a number, within the range of its
/// instrument, in the band that it says, and the sum of its parts.
///
/// An input is a Questionnaire, a zero, and a QuestionnaireResponse. One without a zero is how both are made: see
/// [`made`].
pub fn questionnaire(input: &[u8]) {
    let (form, response) = match input.iter().position(|byte| *byte == 0) {
        Some(at) => {
            let form = String::from_utf8_lossy(&input[..at]).into_owned();
            (form, serde_json::from_slice(&input[at + 1..]).ok())
        }
        None => made(input),
    };
    let Ok(form) = Questionnaire::parse(&form) else { return };
    let again = Questionnaire::parse(&form.resource.to_string()).expect("a form stays one");
    assert_eq!(again.all().count(), form.all().count());
    let Some(response) = response else { return };
    for draft in [true, false] {
        let policy = Policy { draft, ..Policy::default() };
        let Ok(answers) = form.check(&response, &policy) else { continue };
        assert_eq!(again.check(&response, &policy).as_ref(), Ok(&answers));
        assert!(draft || form.check(&response, &Policy { draft: true, ..policy }).is_ok());
        scored(&form, &answers);
    }
}

fn scored(form: &Questionnaire, answers: &Answers) {
    let scored = score::score(form, answers);
    for found in &scored.critical {
        assert!(!answers.of(&found.link_id).is_empty() && found.points.is_finite());
    }
    if let Ok(total) = &scored.total {
        adds_up(total);
        if let Some(instrument) = scored.instrument {
            let (least, most) = instrument.range;
            assert!((least..=most).contains(&total.value), "{} is out of range", total.value);
            assert!(total.band.is_some_and(|band| band.from <= total.value));
        }
    }
    for method in [Method::ItemWeight, Method::Sum] {
        for missing in [Missing::Refuse, Missing::Prorate, Missing::Zero] {
            let rule = ScoringRule {
                score: "fuzz".to_owned(),
                method: method.into(),
                missing: missing.into(),
                max_missing: 2,
                ..ScoringRule::default()
            };
            let mut bad = Violations::default();
            let rules = Rule::all(form, &[rule], &mut bad);
            assert!(bad.is_empty(), "a rule without links fits every form");
            if let Ok(total) = rules.0[0].total(form, answers) {
                adds_up(&total);
            }
        }
    }
}

fn adds_up(total: &Total) {
    assert!(total.value.is_finite(), "a score is a number");
    let sum: f64 = total.parts.iter().map(|(_, points)| points).sum();
    assert!(total.prorated > 0 || sum == total.value, "{sum} is not {}", total.value);
}

const KINDS: [&str; 16] = [
    "group",
    "display",
    "boolean",
    "decimal",
    "integer",
    "date",
    "dateTime",
    "time",
    "string",
    "text",
    "url",
    "choice",
    "open-choice",
    "attachment",
    "reference",
    "quantity",
];
const OPERATORS: [&str; 7] = ["exists", "=", "!=", ">", "<", ">=", "<="];
const NUMBERS: [f64; 8] = [0.0, 1.0, 2.0, -1.0, 0.5, 1e308, -1e308, 1e-300];
const DATES: [&str; 3] = ["2024", "2024-02-29", "2023-02-29"];
const TEXTS: [&str; 3] = ["", "x", "é"];
const LOINC: [&str; 4] = ["44250-9", "44260-8", "69725-0", "44249-1"];

/// A form and answers made from bytes, so that many of them fit each other.
fn made(input: &[u8]) -> (String, Option<Value>) {
    let mut bytes = input.iter().copied();
    let mut next = |most: usize| usize::from(bytes.next().unwrap_or(0)) % most.max(1);
    let (mut items, mut answered) = (vec![], vec![]);
    for n in 0..=next(12) {
        let kind = KINDS[next(KINDS.len())];
        let weight = |points: f64| {
            json!([{ "url": "http://hl7.org/fhir/StructureDefinition/ordinalValue",
                     "valueDecimal": points }])
        };
        let options: Vec<Value> = (0..next(5))
            .map(|n| {
                json!({ "valueCoding": { "code": n.to_string(), "system": "s" },
                        "extension": weight(NUMBERS[next(NUMBERS.len())]) })
            })
            .collect();
        let value = match next(8) {
            0 => json!({ "valueInteger": NUMBERS[next(4)] as i64 }),
            1 => json!({ "valueDecimal": NUMBERS[next(NUMBERS.len())] }),
            2 => json!({ "valueBoolean": next(2) == 0 }),
            3 => json!({ "valueDate": DATES[next(3)] }),
            4 => json!({ "valueString": TEXTS[next(3)] }),
            5 => json!({ "valueQuantity": { "value": NUMBERS[next(NUMBERS.len())] } }),
            _ => json!({ "valueCoding": { "code": next(5).to_string(), "system": "s" } }),
        };
        let answer = |value: &Value| -> Vec<(String, Value)> {
            let members = value.as_object().into_iter().flatten();
            members.map(|(key, value)| (key.replace("value", "answer"), value.clone())).collect()
        };
        let conditions: Vec<Value> = (0..next(3))
            .map(|_| {
                let operator = OPERATORS[next(OPERATORS.len())];
                let mut when = json!({ "question": next(12).to_string(), "operator": operator });
                if operator == "exists" {
                    when["answerBoolean"] = (next(2) == 0).into();
                } else {
                    when.as_object_mut().expect("an object").extend(answer(&value));
                }
                when
            })
            .collect();
        let mut item = json!({
            "linkId": n.to_string(), "type": kind, "enableWhen": conditions,
            "enableBehavior": if next(2) == 0 { "all" } else { "any" },
            "code": [{ "system": "http://loinc.org", "code": LOINC[next(LOINC.len())] }],
        });
        if kind.ends_with("choice") && !options.is_empty() {
            item["answerOption"] = options.into();
        }
        if next(4) == 0 && kind != "display" {
            item["required"] = true.into();
            item["repeats"] = (next(2) == 0).into();
        }
        if next(3) != 0 {
            answered.push(json!({ "linkId": n.to_string(), "answer": [value] }));
        }
        if kind == "group" || next(8) == 0 {
            let inside = items.split_off(items.len() - next(items.len() + 1));
            item["item"] = inside.into();
        }
        items.push(item);
    }
    let form = json!({ "resourceType": "Questionnaire", "item": items });
    let response = json!({
        "resourceType": "QuestionnaireResponse", "status": "completed", "item": answered,
    });
    (form.to_string(), Some(response))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_form_and_its_answers_stay_what_they_are_and_their_score_is_a_number() {
        caseward_testkit::fuzz::few("questionnaire", 2000, super::questionnaire);
    }
}
