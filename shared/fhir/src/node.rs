//! A place in a resource: reads what is there with tolerance, and notes what is odd or wrong with its FHIR path.
//!
//! Not structs: the same mistakes (a number where a string belongs, an object where an array does) are made
//! everywhere, and are forgiven in one place here, with the path at hand.
use std::{cell::RefCell, fmt};

use caseward_api::types::v1 as pb;
use prost_types::Timestamp;
use serde_json::Value;

use crate::moment;

/// What is noted while one resource is read.
#[derive(Default)]
pub(crate) struct Notes {
    /// What is wrong: any of it costs the resource.
    pub(crate) failures: RefCell<Vec<Note>>,
    /// What is odd, and was taken nevertheless.
    pub(crate) warnings: RefCell<Vec<Note>>,
}
caseward_core::confidential!(Notes);

/// One thing about one place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The FHIR path.
    pub(crate) path: String,
    /// What about it.
    pub(crate) reason: String,
}
caseward_core::confidential!(Note);

impl Notes {
    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.failures.borrow().is_empty()
    }
}

/// A value at a path.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    path: String,
    notes: &'a Notes,
}

impl<'a> Node<'a> {
    /// A whole resource.
    pub(crate) fn root(value: &'a Value, resource_type: &str, notes: &'a Notes) -> Self {
        Node { value, path: resource_type.to_owned(), notes }
    }

    /// The JSON at this place.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Notes that this place is wrong.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        self.notes.failures.borrow_mut().push(self.note(reason));
    }

    /// Notes that this place is odd.
    pub(crate) fn warn(&self, reason: impl Into<String>) {
        self.notes.warnings.borrow_mut().push(self.note(reason));
    }

    /// Notes that a member is wrong, whether it is there or not.
    pub(crate) fn fail_at(&self, member: &str, reason: impl Into<String>) {
        self.absent(member).fail(reason);
    }

    /// Notes that a member is odd, whether it is there or not.
    pub(crate) fn warn_at(&self, member: &str, reason: impl Into<String>) {
        self.absent(member).warn(reason);
    }

    fn note(&self, reason: impl Into<String>) -> Note {
        Note { path: self.path.clone(), reason: reason.into() }
    }

    fn absent(&self, member: &str) -> Node<'a> {
        Node { value: &Value::Null, path: format!("{}.{member}", self.path), notes: self.notes }
    }

    /// The member, where it is there. Where a list stands in its place, the first of it.
    pub(crate) fn get(&self, member: &str) -> Option<Node<'a>> {
        let value = self.value.get(member).filter(|value| !value.is_null())?;
        let at = Node { value, ..self.absent(member) };
        match value {
            Value::Array(members) => {
                at.warn("is a list; its first member was taken");
                members.first().filter(|value| !value.is_null()).map(|value| Node { value, ..at })
            }
            _ => Some(at),
        }
    }

    /// The members of a list. One that stands alone where a list belongs is a list of one.
    pub(crate) fn list(&self, member: &str) -> Vec<Node<'a>> {
        let Some(value) = self.value.get(member).filter(|value| !value.is_null()) else {
            return vec![];
        };
        let at = Node { value, ..self.absent(member) };
        let Value::Array(members) = value else {
            at.warn("is not a list; taken as a list of one");
            return vec![at];
        };
        let members = members.iter().enumerate().filter(|(_, value)| !value.is_null());
        members
            .map(|(n, value)| Node { value, path: format!("{}[{n}]", at.path), notes: at.notes })
            .collect()
    }

    /// At most so many members of a list; more are a failure.
    pub(crate) fn list_of(&self, member: &str, most: usize) -> Vec<Node<'a>> {
        let members = self.list(member);
        if members.len() > most {
            self.fail_at(member, format!("wants at most {most} members"));
        }
        members
    }

    /// The text of a member of at most so many characters; empty where it is not there.
    pub(crate) fn text(&self, member: &str, most: usize) -> String {
        self.get(member).map(|at| at.as_text(most)).unwrap_or_default()
    }

    /// The texts of a list, without empty ones.
    pub(crate) fn texts(&self, member: &str, members: usize, most: usize) -> Vec<String> {
        let all = self.list_of(member, members);
        all.iter().map(|at| at.as_text(most)).filter(|text| !text.is_empty()).collect()
    }

    /// This place as text of at most so many characters.
    pub(crate) fn as_text(&self, most: usize) -> String {
        let text = match self.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => {
                self.warn("is a number where text belongs");
                number.to_string()
            }
            Value::Bool(flag) => {
                self.warn("is true or false where text belongs");
                flag.to_string()
            }
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                self.fail("wants text");
                String::new()
            }
        };
        if text.chars().count() > most {
            self.fail(format!("wants at most {most} characters"));
            return String::new();
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.fail("must not hold control characters");
            return String::new();
        }
        text
    }

    /// A member that is true or false.
    pub(crate) fn flag(&self, member: &str) -> Option<bool> {
        let at = self.get(member)?;
        match at.value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if matches!(&**text, "true" | "false") => {
                at.warn("is text where true or false belongs");
                Some(text == "true")
            }
            _ => {
                at.fail("wants true or false");
                None
            }
        }
    }

    /// A member that is a number.
    pub(crate) fn number(&self, member: &str) -> Option<f64> {
        let at = self.get(member)?;
        let number = match at.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => {
                at.warn("is text where a number belongs");
                text.trim().parse().ok()
            }
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            at.fail("wants a number");
        }
        number
    }

    /// A member that is a date, perhaps without day or month. Of a time, its date.
    pub(crate) fn date(&self, member: &str) -> Option<pb::Date> {
        let at = self.get(member)?;
        match moment::parse(&at.as_text(64)) {
            Some(moment) => {
                at.warn_of_zone(&moment);
                Some(moment.date())
            }
            None => {
                at.fail("wants a date that exists, such as 1971-04-30");
                None
            }
        }
    }

    /// A member that is a time: the first instant of what it says.
    pub(crate) fn time(&self, member: &str) -> Option<Timestamp> {
        self.moment(member).map(|moment| moment.begins())
    }

    /// This place as a time.
    pub(crate) fn own_time(&self) -> Option<Timestamp> {
        self.own_moment().map(|moment| moment.begins())
    }

    /// A value of another resource, of which this place speaks.
    pub(crate) fn beside(&self, value: &'a Value) -> Node<'a> {
        Node { value, ..self.clone() }
    }

    /// A member that ends a period: the first instant after what it says.
    pub(crate) fn end(&self, member: &str) -> Option<Timestamp> {
        self.moment(member).map(|moment| moment.ends())
    }

    /// A member that is a date or a time.
    pub(crate) fn moment(&self, member: &str) -> Option<moment::Moment> {
        self.get(member)?.own_moment()
    }

    fn own_moment(&self) -> Option<moment::Moment> {
        let moment = moment::parse(&self.as_text(64));
        match &moment {
            Some(moment) => self.warn_of_zone(moment),
            None => self.fail("wants a date or time that exists, such as 2020-04-30T12:00:00Z"),
        }
        moment
    }

    fn warn_of_zone(&self, moment: &moment::Moment) {
        if moment.lacks_zone() {
            self.warn("is a time without a zone; taken as UTC");
        }
    }

    /// A member that is a code of a value set: its meaning. A code outside is a failure that names the set.
    pub(crate) fn code<T>(
        &self,
        member: &str,
        value_set: &str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let at = self.get(member)?;
        let code = at.as_text(200);
        let known = meaning(&code);
        if known.is_none() && !code.is_empty() {
            at.fail(format!("wants a code of {value_set}"));
        }
        known
    }

    /// The extension of this place with that URL.
    pub(crate) fn extension(&self, url: &str) -> Option<Node<'a>> {
        self.extensions(url).into_iter().next()
    }

    /// The extensions of this place with that URL.
    pub(crate) fn extensions(&self, url: &str) -> Vec<Node<'a>> {
        let all = self.list("extension").into_iter();
        all.filter(|at| at.value.get("url").and_then(Value::as_str) == Some(url)).collect()
    }
}

/// The path alone: the value is a patient's.
impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_understood_is_taken_with_a_warning() {
        let notes = Notes::default();
        let json = json!({"value": 1407071236, "line": "1 Main St", "name": [{"family": "Ng"}],
            "active": "true", "at": "2020-01-02T03:04:05"});
        let node = Node::root(&json, "X", &notes);
        assert_eq!(node.text("value", 20), "1407071236");
        assert_eq!(node.texts("line", 5, 50), ["1 Main St"]);
        assert_eq!(node.get("name").unwrap().text("family", 10), "Ng");
        assert_eq!(node.flag("active"), Some(true));
        assert_eq!(node.time("at").unwrap().seconds, 1_577_934_245);
        let paths: Vec<String> = notes.warnings.take().into_iter().map(|note| note.path).collect();
        assert_eq!(paths, ["X.value", "X.line", "X.name", "X.active", "X.at"]);
        assert!(notes.is_clean());
    }

    #[test]
    fn what_cannot_be_understood_fails_with_its_path_and_without_its_value() {
        let notes = Notes::default();
        let json = json!({"name": [{"family": "Schwarzenegger"}], "status": "dormant", "born": "1990-02-30"});
        let node = Node::root(&json, "X", &notes);
        node.list("name")[0].text("family", 5);
        node.code("status", "x-status", |code| (code == "active").then_some(1));
        node.date("born");
        let failures: Vec<(String, String)> =
            notes.failures.take().into_iter().map(|note| (note.path, note.reason)).collect();
        assert_eq!(
            failures[0],
            ("X.name[0].family".to_owned(), "wants at most 5 characters".to_owned())
        );
        assert_eq!(failures[1], ("X.status".to_owned(), "wants a code of x-status".to_owned()));
        assert_eq!(failures[2].0, "X.born");
    }
}
