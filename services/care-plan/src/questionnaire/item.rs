//! Items of a Questionnaire: what they ask, what may be chosen, when they are asked.
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    Answer, Choice, Coding, Options, Sum, Violation,
    choice::{MOST_OPTIONS, contained, weight},
    extension, members, number,
    sum::sum,
    violation,
};

const MOST_ITEMS: usize = 2_000;
const DEEPEST: usize = 10;
const MOST_CONDITIONS: usize = 100;
/// Past these a caller learns nothing more, and a hostile file costs more than it should.
pub(super) const MOST_VIOLATIONS: usize = 200;

const MIN: &str = "http://hl7.org/fhir/StructureDefinition/minValue";
const MAX: &str = "http://hl7.org/fhir/StructureDefinition/maxValue";

/// One item and those inside it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) link_id: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) codes: Vec<Coding>,
    pub(crate) required: bool,
    pub(crate) repeats: bool,
    pub(crate) longest: Option<u64>,
    /// The `minValue` and `maxValue` of a number.
    pub(crate) bounds: (Option<f64>, Option<f64>),
    pub(crate) options: Options,
    pub(crate) conditions: Vec<Condition>,
    /// Whether all conditions must hold, or any.
    pub(crate) all: bool,
    /// Present on the item that carries the total.
    pub(crate) sum: Option<Sum>,
    pub(crate) items: Vec<Item>,
}

/// The item types of R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Display,
    Boolean,
    Decimal,
    Integer,
    Date,
    DateTime,
    Time,
    String,
    Text,
    Url,
    Choice,
    OpenChoice,
    Attachment,
    Reference,
    Quantity,
}

/// One `enableWhen`.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(super) question: String,
    pub(super) operator: Operator,
    pub(super) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Exists,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// Reads items and notes everything wrong on the way.
pub(super) struct Reader<'a> {
    resource: &'a Value,
    count: usize,
    violations: Vec<Violation>,
    links: HashSet<String>,
    /// Where a condition names a question, which may stand later in the file.
    named: Vec<(String, String)>,
    /// Contained value sets already read.
    sets: HashMap<String, Options>,
}

impl Kind {
    fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "group" => Self::Group,
            "display" => Self::Display,
            "boolean" => Self::Boolean,
            "decimal" => Self::Decimal,
            "integer" => Self::Integer,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "time" => Self::Time,
            "string" => Self::String,
            "text" => Self::Text,
            "url" => Self::Url,
            "choice" => Self::Choice,
            "open-choice" => Self::OpenChoice,
            "attachment" => Self::Attachment,
            "reference" => Self::Reference,
            "quantity" => Self::Quantity,
            _ => return None,
        })
    }

    pub(crate) fn asks(self) -> bool {
        !matches!(self, Self::Group | Self::Display)
    }

    /// Whether a value is of this type; a choice takes whatever its options are.
    pub(super) fn takes(self, answer: &Answer) -> bool {
        match answer {
            Answer::Boolean(_) => self == Self::Boolean,
            Answer::Decimal(_) => self == Self::Decimal,
            Answer::DateTime(_) => self == Self::DateTime,
            Answer::Url(_) => self == Self::Url,
            Answer::Attachment => self == Self::Attachment,
            Answer::Quantity { .. } => self == Self::Quantity,
            Answer::Coding(_) => matches!(self, Self::Choice | Self::OpenChoice),
            Answer::Integer(_) => matches!(self, Self::Integer | Self::Choice | Self::OpenChoice),
            Answer::Date(_) => matches!(self, Self::Date | Self::Choice | Self::OpenChoice),
            Answer::Time(_) => matches!(self, Self::Time | Self::Choice | Self::OpenChoice),
            Answer::Reference(_) => {
                matches!(self, Self::Reference | Self::Choice | Self::OpenChoice)
            }
            Answer::Text(_) => {
                matches!(self, Self::String | Self::Text | Self::Choice | Self::OpenChoice)
            }
        }
    }
}

impl Operator {
    fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "exists" => Self::Exists,
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" => Self::GreaterOrEqual,
            "<=" => Self::LessOrEqual,
            _ => return None,
        })
    }
}

impl<'a> Reader<'a> {
    pub(super) fn read(resource: &'a Value) -> (Vec<Item>, Vec<Violation>) {
        let mut reader = Self {
            resource,
            count: 0,
            violations: vec![],
            links: HashSet::new(),
            named: vec![],
            sets: HashMap::new(),
        };
        let items = reader.items(resource, "", 1);
        if reader.count == 0 {
            reader.wrong("item".to_owned(), "is required");
        }
        for (path, question) in std::mem::take(&mut reader.named) {
            if !reader.links.contains(&question) {
                reader.wrong(path, "names no item of this questionnaire");
            }
        }
        (items, reader.violations)
    }

    fn wrong(&mut self, path: String, why: &str) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation(path, why));
        }
    }

    fn items(&mut self, parent: &Value, path: &str, depth: usize) -> Vec<Item> {
        let given = match parent.get("item") {
            None | Some(Value::Null) => return vec![],
            Some(Value::Array(given)) => given,
            Some(_) => {
                self.wrong(format!("{path}item"), "wants a list");
                return vec![];
            }
        };
        if depth > DEEPEST {
            self.wrong(format!("{path}item"), "is nested more than 10 deep");
            return vec![];
        }
        let mut items = vec![];
        for (n, given) in given.iter().enumerate() {
            self.count += 1;
            if self.count == MOST_ITEMS + 1 {
                self.wrong("item".to_owned(), "holds more than 2000 items");
            }
            if self.count > MOST_ITEMS {
                break;
            }
            items.extend(self.item(given, &format!("{path}item[{n}]"), depth));
        }
        items
    }

    fn item(&mut self, given: &Value, path: &str, depth: usize) -> Option<Item> {
        let link_id = given.get("linkId").and_then(Value::as_str).unwrap_or_default().to_owned();
        if link_id.trim().is_empty() {
            self.wrong(format!("{path}.linkId"), "is required");
        } else if !self.links.insert(link_id.clone()) {
            self.wrong(format!("{path}.linkId"), "is used by another item");
        }
        let kind = given.get("type").and_then(Value::as_str).and_then(Kind::parse);
        if kind.is_none() {
            self.wrong(format!("{path}.type"), "wants an item type of FHIR R4");
        }
        let items = self.items(given, &format!("{path}."), depth + 1);
        let kind = kind?;
        let required = self.flag(given, path, "required");
        let repeats = self.flag(given, path, "repeats");
        if kind == Kind::Display && (required || repeats || !items.is_empty()) {
            self.wrong(path.to_owned(), "is a display, which asks nothing and holds nothing");
        }
        let longest = match given.get("maxLength").filter(|value| !value.is_null()) {
            None => None,
            Some(value) => {
                let longest = number(value).filter(|n| *n >= 1.0 && n.fract() == 0.0);
                if longest.is_none() {
                    self.wrong(format!("{path}.maxLength"), "wants a whole number from 1");
                }
                longest.map(|n| n as u64)
            }
        };
        let options = self.options(given, path, kind);
        let (conditions, all) = self.conditions(given, path, &link_id);
        Some(Item {
            kind,
            text: given.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
            codes: Coding::list(&given["code"]),
            required,
            repeats,
            longest,
            bounds: (bound(given, MIN), bound(given, MAX)),
            options,
            conditions,
            all,
            sum: sum(given),
            items,
            link_id,
        })
    }

    fn flag(&mut self, given: &Value, path: &str, key: &str) -> bool {
        match given.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(flag)) if flag == "true" || flag == "false" => flag == "true",
            Some(_) => {
                self.wrong(format!("{path}.{key}"), "wants true or false");
                false
            }
        }
    }

    fn options(&mut self, given: &Value, path: &str, kind: Kind) -> Options {
        let listed = given.get("answerOption").filter(|listed| !listed.is_null());
        let set = given.get("answerValueSet").filter(|set| !set.is_null());
        match (listed, set) {
            // R4 lets a choice say nowhere what may be chosen, and its own examples do.
            (None, None) => Options::Free,
            (Some(_), Some(_)) => {
                self.wrong(path.to_owned(), "wants answerOption or answerValueSet, not both");
                Options::Free
            }
            (Some(Value::Array(listed)), None) => self.listed(listed, path, kind),
            (Some(_), None) => {
                self.wrong(format!("{path}.answerOption"), "wants a list");
                Options::Free
            }
            (None, Some(set)) => self.set(set, &format!("{path}.answerValueSet"), kind),
        }
    }

    fn listed(&mut self, listed: &[Value], path: &str, kind: Kind) -> Options {
        let mut choices: Vec<Choice> = vec![];
        if !(1..=MOST_OPTIONS).contains(&listed.len()) {
            self.wrong(format!("{path}.answerOption"), "wants 1 to 2000 options");
        }
        for (n, option) in listed.iter().enumerate().take(MOST_OPTIONS) {
            let path = format!("{path}.answerOption[{n}]");
            match Answer::read(option, "value") {
                Err(why) => self.wrong(path, why),
                Ok(None) => self.wrong(path, "holds no value"),
                Ok(Some(value)) if !kind.takes(&value) => {
                    self.wrong(path, "is of another type than its item");
                }
                Ok(Some(value)) if choices.iter().any(|choice| choice.value.same(&value)) => {
                    self.wrong(path, "is listed twice");
                }
                Ok(Some(value)) => {
                    let weight = weight(option).or_else(|| weight(&option["valueCoding"]));
                    choices.push(Choice { value, weight });
                }
            }
        }
        Options::Listed(choices.into())
    }

    fn set(&mut self, set: &Value, path: &str, kind: Kind) -> Options {
        if !matches!(kind, Kind::Choice | Kind::OpenChoice) {
            self.wrong(path.to_owned(), "is for choices only");
        }
        let Some(url) = set.as_str() else {
            self.wrong(path.to_owned(), "wants a canonical URL");
            return Options::Elsewhere;
        };
        let Some(id) = url.strip_prefix('#') else { return Options::Elsewhere };
        if let Some(known) = self.sets.get(id) {
            return known.clone();
        }
        let found = members(&self.resource["contained"]).iter().find(|contained| {
            contained.get("resourceType").and_then(Value::as_str) == Some("ValueSet")
                && contained.get("id").and_then(Value::as_str) == Some(id)
        });
        let Some(found) = found else {
            self.wrong(path.to_owned(), "names no contained value set");
            return Options::Elsewhere;
        };
        let options = contained(found);
        self.sets.insert(id.to_owned(), options.clone());
        options
    }

    fn conditions(&mut self, given: &Value, path: &str, own: &str) -> (Vec<Condition>, bool) {
        let listed = members(&given["enableWhen"]);
        let all = match given.get("enableBehavior").and_then(Value::as_str) {
            Some("all") => true,
            Some("any") => false,
            None if listed.len() < 2 => false,
            _ => {
                self.wrong(format!("{path}.enableBehavior"), "wants `all` or `any`");
                false
            }
        };
        if listed.len() > MOST_CONDITIONS {
            self.wrong(format!("{path}.enableWhen"), "holds more than 100 conditions");
        }
        let mut conditions = vec![];
        for (n, when) in listed.iter().enumerate().take(MOST_CONDITIONS) {
            let path = format!("{path}.enableWhen[{n}]");
            let question = when.get("question").and_then(Value::as_str).unwrap_or_default();
            if question == own {
                self.wrong(format!("{path}.question"), "names the item itself");
            }
            self.named.push((format!("{path}.question"), question.to_owned()));
            let operator = when.get("operator").and_then(Value::as_str).and_then(Operator::parse);
            if operator.is_none() {
                self.wrong(format!("{path}.operator"), "wants exists, =, !=, >, <, >= or <=");
            }
            let read = Answer::read(when, "answer")
                .or_else(|why| Answer::mistyped(when, "answer").map(Some).ok_or(why));
            let answer = read.and_then(|answer| match (operator, answer) {
                (_, None) => Err("holds no answer to compare with"),
                (Some(Operator::Exists), Some(answer)) if !matches!(answer, Answer::Boolean(_)) => {
                    Err("wants answerBoolean, because it asks whether an answer exists")
                }
                (_, Some(answer)) => Ok(answer),
            });
            match (operator, answer) {
                (_, Err(why)) => self.wrong(path, why),
                (None, Ok(_)) => {}
                (Some(operator), Ok(answer)) => {
                    conditions.push(Condition { question: question.to_owned(), operator, answer });
                }
            }
        }
        (conditions, all)
    }
}

fn bound(given: &Value, url: &str) -> Option<f64> {
    let bound = extension(given, url)?;
    number(&bound["valueInteger"]).or_else(|| number(&bound["valueDecimal"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::questionnaire::Questionnaire;

    fn wrong(items: Value) -> Vec<String> {
        let resource = json!({ "resourceType": "Questionnaire", "item": items });
        let read = Questionnaire::parse(&resource.to_string());
        read.err().into_iter().flatten().map(|v| format!("{}: {}", v.field, v.why)).collect()
    }

    #[test]
    fn everything_that_keeps_a_questionnaire_from_use_is_said_at_once() {
        let items = json!([
            { "linkId": "a", "type": "choice" },
            { "linkId": "a", "type": "question" },
            { "type": "group", "item": [{ "linkId": "d", "type": "display", "required": true }] },
            { "linkId": "v", "type": "choice", "answerValueSet": "#gone" },
            { "linkId": "o", "type": "integer", "answerOption": [
                { "valueString": "x" }, { "valueInteger": 1 }, { "valueInteger": 1 }, {}] },
            { "linkId": "w", "type": "string", "maxLength": 0, "enableWhen": [
                { "question": "nowhere", "operator": "~", "answerBoolean": true },
                { "question": "w", "operator": "exists", "answerString": "x" }] },
        ]);
        assert_eq!(
            wrong(items),
            [
                "item[1].linkId: is used by another item",
                "item[1].type: wants an item type of FHIR R4",
                "item[2].linkId: is required",
                "item[2].item[0]: is a display, which asks nothing and holds nothing",
                "item[3].answerValueSet: names no contained value set",
                "item[4].answerOption[0]: is of another type than its item",
                "item[4].answerOption[2]: is listed twice",
                "item[4].answerOption[3]: holds no value",
                "item[5].maxLength: wants a whole number from 1",
                "item[5].enableBehavior: wants `all` or `any`",
                "item[5].enableWhen[0].operator: wants exists, =, !=, >, <, >= or <=",
                "item[5].enableWhen[1].question: names the item itself",
                "item[5].enableWhen[1]: wants answerBoolean, because it asks whether an answer exists",
                "item[5].enableWhen[0].question: names no item of this questionnaire",
            ]
        );
        assert_eq!(wrong(json!([])), ["item: is required"]);
    }

    #[test]
    fn size_depth_and_number_of_items_are_bounded() {
        let many: Vec<Value> = (0..=MOST_ITEMS)
            .map(|n| json!({ "linkId": n.to_string(), "type": "string" }))
            .collect();
        assert_eq!(wrong(json!(many)), ["item: holds more than 2000 items"]);
        let deep = (0..=DEEPEST).fold(
            json!([]),
            |inside, n| json!([{ "linkId": n.to_string(), "type": "group", "item": inside }]),
        );
        assert!(wrong(deep)[0].ends_with("is nested more than 10 deep"));
        let long = Questionnaire::parse(&" ".repeat(1024 * 1024 + 1)).unwrap_err();
        assert_eq!(long[0].why, "is longer than 1 MiB");
    }
}
