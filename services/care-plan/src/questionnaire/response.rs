//! Answers against the Questionnaire they answer: types, choices, conditions, what is missing.
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    Answer, Item, Kind, Options, Questionnaire, Violation, extension,
    item::{Condition, MOST_VIOLATIONS, Operator},
    members, violation,
};

const MOST_NODES: usize = 5_000;
/// Repetitions times conditions: what a hostile pair of resources could make of the rest.
const MOST_STEPS: usize = 5_000_000;
const TOO_MANY: &str = "repeats more than can be checked against the conditions";
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
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Answers {
    given: BTreeMap<String, Vec<Answer>>,
    absent: BTreeMap<String, String>,
}
caseward_core::confidential!(Answers);

impl Answers {
    /// What was answered to a question, wherever in the response it stands.
    pub(crate) fn of(&self, link_id: &str) -> &[Answer] {
        self.given.get(link_id).map_or(&[], Vec::as_slice)
    }

    /// Questions without an answer, and the reason given.
    #[cfg_attr(not(test), expect(dead_code, reason = "no form accepts reasons yet"))]
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
    steps: usize,
    violations: Vec<Violation>,
    answers: Answers,
}

pub(super) fn check(
    questionnaire: &Questionnaire,
    response: &Value,
    policy: &Policy,
) -> Result<Answers, Vec<Violation>> {
    let mut checker = Checker {
        policy,
        asked: HashMap::new(),
        steps: 0,
        violations: vec![],
        answers: Answers::default(),
    };
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
            let places =
                |when: &Condition| self.asked.get(when.question.as_str()).map_or(1, Vec::len);
            self.steps += 1 + item.conditions.iter().map(places).sum::<usize>();
            if self.steps > MOST_STEPS {
                if !self.violations.iter().any(|violation| violation.why == TOO_MANY) {
                    self.wrong("item", TOO_MANY);
                }
                return;
            }
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
mod tests;
