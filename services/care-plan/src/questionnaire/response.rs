//! Answers against the Questionnaire they answer: types, choices, conditions, what is missing.
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    Answer, Item, Kind, Options, Questionnaire, Violation, extension,
    item::{Condition, MOST_VIOLATIONS, Operator},
    members, violation,
};

const MOST_NODES: usize = 5_000;
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// What is accepted in place of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// A draft is checked for what it holds, not for what it lacks.
    pub(crate) draft: bool,
    /// Whether a required question may carry a `data-absent-reason` instead of an answer.
    pub(crate) reasons: bool,
    /// Reasons said outside of the response, by `linkId`.
    pub(crate) excused: BTreeMap<String, String>,
}

/// Answers that fit their Questionnaire, by `linkId`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answers {
    given: BTreeMap<String, Vec<Answer>>,
    absent: BTreeMap<String, String>,
}

impl Answers {
    /// What was answered to a question, wherever in the response it stands.
    pub(crate) fn of(&self, link_id: &str) -> &[Answer] {
        self.given.get(link_id).map_or(&[], Vec::as_slice)
    }

    /// Questions without an answer, and the reason given.
    pub(crate) fn absent(&self) -> &BTreeMap<String, String> {
        &self.absent
    }
}

/// Where an item or answer stands: the position at every level from the root.
type Trail = Vec<usize>;

struct Checker<'a> {
    policy: &'a Policy,
    /// Every answer of the response, so that a condition finds its question in one step.
    asked: HashMap<&'a str, Vec<(Trail, Vec<Answer>)>>,
    violations: Vec<Violation>,
    answers: Answers,
}

pub(super) fn check(
    questionnaire: &Questionnaire,
    response: &Value,
    policy: &Policy,
) -> Result<Answers, Vec<Violation>> {
    let mut checker =
        Checker { policy, asked: HashMap::new(), violations: vec![], answers: Answers::default() };
    checker.header(questionnaire, response);
    if checker.index(response, &mut vec![], &mut 0) {
        checker.items(&questionnaire.items, response, "", &mut vec![]);
    } else {
        checker.wrong("item", "holds more than 5000 items and answers, or is nested too deep");
    }
    if checker.violations.is_empty() { Ok(checker.answers) } else { Err(checker.violations) }
}

impl<'a> Checker<'a> {
    fn wrong(&mut self, path: impl Into<String>, why: &str) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation(path, why));
        }
    }

    fn header(&mut self, questionnaire: &Questionnaire, response: &Value) {
        let text = |key: &str| response.get(key).and_then(Value::as_str);
        if text("resourceType") != Some("QuestionnaireResponse") {
            self.wrong("resourceType", "wants `QuestionnaireResponse`");
        }
        let known = ["in-progress", "completed", "amended", "entered-in-error", "stopped"];
        if !text("status").is_some_and(|status| known.contains(&status)) {
            self.wrong("status", "wants a status of FHIR R4");
        }
        let Some(canonical) = text("questionnaire") else { return };
        let (url, version) = canonical.split_once('|').unzip();
        let differs = |ours: &Option<String>, theirs: Option<&str>| {
            ours.as_deref().zip(theirs).is_some_and(|(ours, theirs)| ours != theirs)
        };
        if differs(&questionnaire.url, url.or(Some(canonical))) {
            self.wrong("questionnaire", "names another questionnaire");
        } else if differs(&questionnaire.version, version) {
            self.wrong("questionnaire", "names another version of the questionnaire");
        }
    }

    /// Notes where every answer stands; false when the response is too large to look at.
    fn index(&mut self, parent: &'a Value, trail: &mut Trail, count: &mut usize) -> bool {
        if trail.len() > 64 {
            return false;
        }
        for (n, item) in members(&parent["item"]).iter().enumerate() {
            *count += 1;
            trail.push(n);
            let mut answers = vec![];
            for (n, answer) in members(&item["answer"]).iter().enumerate() {
                *count += 1;
                answers.extend(Answer::read(answer, "value").ok().flatten());
                trail.push(n);
                if *count > MOST_NODES || !self.index(answer, trail, count) {
                    return false;
                }
                trail.pop();
            }
            if let Some(link) = item.get("linkId").and_then(Value::as_str)
                && !answers.is_empty()
            {
                self.asked.entry(link).or_default().push((trail.clone(), answers));
            }
            if *count > MOST_NODES || !self.index(item, trail, count) {
                return false;
            }
            trail.pop();
        }
        true
    }

    fn items(&mut self, defined: &[Item], parent: &Value, path: &str, trail: &mut Trail) {
        let given = match parent.get("item") {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(given)) => given,
            Some(_) => return self.wrong(format!("{path}item"), "wants a list"),
        };
        let link = |item: &Value| item.get("linkId").and_then(Value::as_str).map(str::to_owned);
        for (n, item) in given.iter().enumerate() {
            match link(item) {
                None => self.wrong(format!("{path}item[{n}].linkId"), "is required"),
                Some(link) if !defined.iter().any(|item| item.link_id == link) => {
                    self.wrong(format!("{path}item[{n}].linkId"), "is not asked here");
                }
                Some(_) => {}
            }
        }
        for item in defined {
            let here: Vec<(usize, &Value)> = given
                .iter()
                .enumerate()
                .filter(|(_, given)| {
                    given.get("linkId").and_then(Value::as_str) == Some(&item.link_id)
                })
                .collect();
            if !self.enabled(item, trail) {
                for (n, given) in here {
                    if holds(given) {
                        self.wrong(
                            format!("{path}item[{n}]"),
                            "is not enabled by the other answers",
                        );
                    }
                }
                continue;
            }
            if here.len() > 1 && !(item.kind == Kind::Group && item.repeats) {
                self.wrong(format!("{path}item[{}]", here[1].0), "does not repeat");
            }
            let mut answered = false;
            for (n, given) in here {
                let path = format!("{path}item[{n}]");
                trail.push(n);
                answered |= self.item(item, given, &path, trail);
                trail.pop();
            }
            if item.required && !answered && !self.policy.draft && !self.excused(item) {
                let link = &item.link_id;
                self.wrong(format!("{path}item.where(linkId='{link}')"), "is required");
            }
        }
    }

    /// Whether a question may go without an answer, because a reason is known.
    fn excused(&mut self, item: &Item) -> bool {
        let link = &item.link_id;
        if let Some(reason) = self.policy.excused.get(link) {
            self.answers.absent.insert(link.clone(), reason.clone());
        }
        self.answers.absent.contains_key(link)
            && (self.policy.reasons || self.policy.excused.contains_key(link))
    }

    /// Checks one item as given; true when it says anything.
    fn item(&mut self, item: &Item, given: &Value, path: &str, trail: &mut Trail) -> bool {
        let answers = match given.get("answer") {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(answers)) => answers,
            Some(_) => {
                self.wrong(format!("{path}.answer"), "wants a list");
                &[][..]
            }
        };
        if !item.kind.asks() && !answers.is_empty() {
            self.wrong(
                format!("{path}.answer"),
                "belongs to a group or display, which asks nothing",
            );
            return true;
        }
        if item.kind == Kind::Group {
            self.items(&item.items, given, &format!("{path}."), trail);
            return holds(given);
        }
        if answers.len() > 1 && !item.repeats {
            self.wrong(format!("{path}.answer[1]"), "is one answer more than the question takes");
        }
        if let Some(reason) = absent(given) {
            self.answers.absent.insert(item.link_id.clone(), reason);
        }
        let mut answered = false;
        for (n, answer) in answers.iter().enumerate() {
            let path = format!("{path}.answer[{n}]");
            match Answer::read(answer, "value") {
                Err(why) => self.wrong(&path, why),
                Ok(Some(value)) => {
                    self.value(item, &value, &path);
                    self.answers.given.entry(item.link_id.clone()).or_default().push(value);
                    answered = true;
                }
                Ok(None) => match absent(answer) {
                    Some(reason) => {
                        self.answers.absent.insert(item.link_id.clone(), reason);
                    }
                    None => self.wrong(&path, "holds no value"),
                },
            }
            trail.push(n);
            self.items(&item.items, answer, &format!("{path}."), trail);
            trail.pop();
        }
        if given.get("item").is_some_and(|items| !items.is_null()) {
            self.wrong(format!("{path}.item"), "belongs under the answer it depends on");
        }
        answered
    }

    fn value(&mut self, item: &Item, value: &Answer, path: &str) {
        if !item.kind.takes(value) {
            return self.wrong(path, "is of another type than the question");
        }
        if let (Some(longest), Answer::Text(text) | Answer::Url(text)) = (item.longest, value)
            && text.chars().count() as u64 > longest
        {
            self.wrong(path, "is longer than the question takes");
        }
        if let Some(number) = value.number()
            && (item.bounds.0.is_some_and(|least| number < least)
                || item.bounds.1.is_some_and(|most| number > most))
        {
            self.wrong(path, "is outside what the question takes");
        }
        let text = matches!(value, Answer::Text(_));
        match &item.options {
            Options::Listed(choices) => {
                let listed = choices.iter().any(|choice| choice.value.same(value));
                let own = item.kind == Kind::OpenChoice && text;
                if !listed && !own {
                    self.wrong(path, "is none of the options");
                }
            }
            Options::Elsewhere | Options::Free
                if item.kind == Kind::Choice && !matches!(value, Answer::Coding(_)) =>
            {
                self.wrong(path, "wants a coding");
            }
            Options::Free
                if item.kind == Kind::OpenChoice
                    && !text
                    && !matches!(value, Answer::Coding(_)) =>
            {
                self.wrong(path, "wants a coding or text");
            }
            _ => {}
        }
    }

    /// Answers of items that are themselves not enabled need no thought: they are refused.
    fn enabled(&self, item: &Item, trail: &Trail) -> bool {
        let mut conditions = item.conditions.iter().map(|when| self.holds(when, trail));
        if item.conditions.is_empty() {
            true
        } else if item.all {
            conditions.all(|holds| holds)
        } else {
            conditions.any(|holds| holds)
        }
    }

    fn holds(&self, when: &Condition, trail: &Trail) -> bool {
        let answers: Vec<&Answer> = self.nearest(&when.question, trail);
        let any = |test: fn(std::cmp::Ordering) -> bool| {
            answers.iter().any(|answer| answer.order(&when.answer).is_some_and(test))
        };
        match when.operator {
            Operator::Exists => when.answer == Answer::Boolean(!answers.is_empty()),
            Operator::Equal => answers.iter().any(|answer| answer.same(&when.answer)),
            // R4: true when no answer is equal, so also when there is none.
            Operator::NotEqual => !answers.iter().any(|answer| answer.same(&when.answer)),
            Operator::Greater => any(std::cmp::Ordering::is_gt),
            Operator::Less => any(std::cmp::Ordering::is_lt),
            Operator::GreaterOrEqual => any(std::cmp::Ordering::is_ge),
            Operator::LessOrEqual => any(std::cmp::Ordering::is_le),
        }
    }

    /// Where a question stands several times, because a group repeats, the closest one counts.
    fn nearest(&self, question: &str, trail: &Trail) -> Vec<&Answer> {
        let Some(places) = self.asked.get(question) else { return vec![] };
        let shared = |place: &Trail| place.iter().zip(trail).take_while(|(a, b)| a == b).count();
        let closest = places.iter().map(|(place, _)| shared(place)).max().unwrap_or_default();
        let near = places.iter().filter(|(place, _)| shared(place) == closest);
        near.flat_map(|(_, answers)| answers).collect()
    }
}

/// Whether an item holds an answer, itself or inside.
fn holds(given: &Value) -> bool {
    !members(&given["answer"]).is_empty() || members(&given["item"]).iter().any(holds)
}

/// Why an element has no value, said in the element or beside its primitive value.
fn absent(element: &Value) -> Option<String> {
    let reason = |element| extension(element, ABSENT)?.get("valueCode")?.as_str();
    let beside = |(key, value): (&String, &'_ Value)| {
        key.starts_with("_value")
            .then(|| extension(value, ABSENT)?.get("valueCode")?.as_str().map(str::to_owned))?
    };
    reason(element).map(str::to_owned).or_else(|| element.as_object()?.iter().find_map(beside))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn questionnaire(items: Value) -> Questionnaire {
        let resource =
            json!({ "resourceType": "Questionnaire", "status": "active", "item": items });
        Questionnaire::parse(&resource.to_string()).unwrap()
    }

    fn wrong(questionnaire: &Questionnaire, items: Value, policy: &Policy) -> Vec<String> {
        let response = json!({ "resourceType": "QuestionnaireResponse", "status": "completed", "item": items });
        let checked = questionnaire.check(&response, policy);
        checked.err().into_iter().flatten().map(|v| format!("{}: {}", v.field, v.why)).collect()
    }

    #[test]
    fn an_answer_is_of_the_type_of_its_question() {
        let right = [
            ("boolean", json!({ "valueBoolean": true })),
            ("decimal", json!({ "valueDecimal": 1.5 })),
            ("decimal", json!({ "valueDecimal": "1.5" })),
            ("integer", json!({ "valueInteger": 3 })),
            ("date", json!({ "valueDate": "2024-02-29" })),
            ("dateTime", json!({ "valueDateTime": "2024-02-29T10:00:00Z" })),
            ("time", json!({ "valueTime": "10:00:00" })),
            ("string", json!({ "valueString": "a" })),
            ("text", json!({ "valueString": "a\nb" })),
            ("url", json!({ "valueUri": "https://example.org" })),
            ("open-choice", json!({ "valueString": "other" })),
            ("open-choice", json!({ "valueCoding": { "code": "a" } })),
            ("attachment", json!({ "valueAttachment": { "url": "Binary/1" } })),
            ("reference", json!({ "valueReference": { "reference": "Patient/1" } })),
            ("quantity", json!({ "valueQuantity": { "value": "5", "unit": "kg" } })),
        ];
        for (kind, answer) in &right {
            let asked = questionnaire(json!([{ "linkId": "q", "type": kind }]));
            let given = json!([{ "linkId": "q", "answer": [answer] }]);
            assert_eq!(wrong(&asked, given, &Policy::default()), [""; 0], "{kind} {answer}");
            for (other, answer) in &right {
                let alike = |kind: &str| match kind {
                    "text" | "string" => "string".to_owned(),
                    kind => kind.to_owned(),
                };
                if alike(kind) != alike(other)
                    && !kind.contains("choice")
                    && !other.contains("choice")
                {
                    let given = json!([{ "linkId": "q", "answer": [answer] }]);
                    let why = ["item[0].answer[0]: is of another type than the question"];
                    assert_eq!(wrong(&asked, given, &Policy::default()), why, "{kind} {answer}");
                }
            }
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_path() {
        let asked = questionnaire(json!([
            { "linkId": "name", "type": "string", "maxLength": 3, "required": true },
            { "linkId": "pick", "type": "choice", "answerOption": [{ "valueInteger": 1 }, { "valueString": "b" }] },
            { "linkId": "group", "type": "group", "required": true, "item": [
                { "linkId": "inner", "type": "boolean", "required": true },
                { "linkId": "say", "type": "display" }] },
        ]));
        let given = json!([
            { "linkId": "name", "answer": [{ "valueString": "Anna" }, { "valueString": "B" }] },
            { "linkId": "pick", "answer": [{ "valueInteger": 2 }] },
            { "linkId": "group", "item": [
                { "linkId": "say", "answer": [{ "valueString": "x" }] },
                { "linkId": "nowhere" }] },
            { "linkId": "inner" },
            {},
        ]);
        assert_eq!(
            wrong(&asked, given, &Policy::default()),
            [
                "item[3].linkId: is not asked here",
                "item[4].linkId: is required",
                "item[0].answer[1]: is one answer more than the question takes",
                "item[0].answer[0]: is longer than the question takes",
                "item[1].answer[0]: is none of the options",
                "item[2].item[1].linkId: is not asked here",
                "item[2].item.where(linkId='inner'): is required",
                "item[2].item[0].answer: belongs to a group or display, which asks nothing",
            ]
        );
    }

    #[test]
    fn a_reason_stands_for_an_answer_only_where_the_policy_takes_it() {
        let asked = questionnaire(json!([{ "linkId": "q", "type": "boolean", "required": true }]));
        let said = json!([{ "linkId": "q", "extension": [{ "url": ABSENT, "valueCode": "asked-declined" }] }]);
        let beside = json!([{ "linkId": "q", "answer": [{ "_valueBoolean": { "extension": [
            { "url": ABSENT, "valueCode": "asked-declined" }] } }] }]);
        let reasons = Policy { reasons: true, ..Policy::default() };
        for given in [said, beside] {
            assert_eq!(wrong(&asked, given.clone(), &reasons), [""; 0]);
            let required = ["item.where(linkId='q'): is required"];
            assert_eq!(wrong(&asked, given, &Policy::default()), required);
        }
        let excused = BTreeMap::from([("q".to_owned(), "refused".to_owned())]);
        let excused = Policy { excused, ..Policy::default() };
        assert_eq!(wrong(&asked, json!([]), &excused), [""; 0]);
        let empty = json!({ "resourceType": "QuestionnaireResponse", "status": "completed" });
        let answers = asked.check(&empty, &excused).unwrap();
        assert_eq!(answers.absent().get("q").map(String::as_str), Some("refused"));
        assert_eq!(wrong(&asked, json!([]), &Policy { draft: true, ..Policy::default() }), [""; 0]);
    }

    #[test]
    fn a_condition_decides_whether_a_question_is_asked() {
        // Operator, what it compares with, the answer it needs, one that it refuses; and without one.
        let cases = [
            ("exists", json!({ "answerBoolean": true }), Some(1), None),
            ("exists", json!({ "answerBoolean": false }), None, Some(1)),
            ("=", json!({ "answerInteger": 2 }), Some(2), Some(3)),
            ("!=", json!({ "answerInteger": 2 }), Some(3), Some(2)),
            ("!=", json!({ "answerInteger": 2 }), None, Some(2)),
            (">", json!({ "answerInteger": 2 }), Some(3), Some(2)),
            ("<", json!({ "answerInteger": 2 }), Some(1), None),
            (">=", json!({ "answerDecimal": 2.5 }), Some(3), Some(2)),
            ("<=", json!({ "answerInteger": 2 }), Some(2), Some(3)),
        ];
        for (operator, mut when, enabling, disabling) in cases {
            when["question"] = json!("n");
            when["operator"] = json!(operator);
            let asked = questionnaire(json!([
                { "linkId": "n", "type": "integer" },
                { "linkId": "then", "type": "boolean", "required": true, "enableWhen": [when] },
            ]));
            let given = |n: Option<i32>, then: bool| {
                let n = n.map(|n| json!({ "linkId": "n", "answer": [{ "valueInteger": n }] }));
                let then =
                    then.then(|| json!({ "linkId": "then", "answer": [{ "valueBoolean": true }] }));
                Value::Array(n.into_iter().chain(then).collect())
            };
            let policy = Policy::default();
            assert_eq!(wrong(&asked, given(enabling, true), &policy), [""; 0], "{operator}");
            assert_eq!(wrong(&asked, given(disabling, false), &policy), [""; 0], "{operator}");
            assert!(wrong(&asked, given(enabling, false), &policy)[0].ends_with("is required"));
            let refused = wrong(&asked, given(disabling, true), &policy);
            assert!(refused[0].ends_with("is not enabled by the other answers"), "{operator}");
        }
    }

    #[test]
    fn any_or_all_conditions_and_the_closest_of_repeated_questions_count() {
        let when = |link: &str| json!({ "question": link, "operator": "=", "answerBoolean": true });
        let asked = questionnaire(
            json!([{ "linkId": "g", "type": "group", "repeats": true, "item": [
            { "linkId": "a", "type": "boolean" },
            { "linkId": "b", "type": "boolean", "item": [
                { "linkId": "any", "type": "string", "enableBehavior": "any", "enableWhen": [when("a"), when("b")] },
                { "linkId": "all", "type": "string", "enableBehavior": "all", "enableWhen": [when("a"), when("b")] }] },
        ] }]),
        );
        let group = |a: bool, b: bool, under: &[&str]| {
            let under: Vec<Value> = under
                .iter()
                .map(|link| json!({ "linkId": link, "answer": [{ "valueString": "x" }] }))
                .collect();
            json!({ "linkId": "g", "item": [
                { "linkId": "a", "answer": [{ "valueBoolean": a }] },
                { "linkId": "b", "answer": [{ "valueBoolean": b, "item": under }] }] })
        };
        let policy = Policy::default();
        let fine = json!([
            group(true, true, &["any", "all"]),
            group(false, true, &["any"]),
            group(false, false, &[])
        ]);
        assert_eq!(wrong(&asked, fine, &policy), [""; 0]);
        let not = json!([
            group(true, true, &[]),
            group(false, true, &["all"]),
            group(false, false, &["any"])
        ]);
        let why = "is not enabled by the other answers";
        assert_eq!(
            wrong(&asked, not, &policy),
            [
                format!("item[1].item[1].answer[0].item[0]: {why}"),
                format!("item[2].item[1].answer[0].item[0]: {why}"),
            ]
        );
    }
}
