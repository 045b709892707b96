//! What the comment of a field says of its values, as JSON Schema: people and programs read the same sentence.
//!
//! Read are counts (`1 to 200 characters`, `at most 20 of 300 characters`, `-90 to 90`), alphabets
//! (``characters of `a-z0-9-` ``), UUIDs, and forms (``Format: `cases/{case}/notes/{note}` ``).
use std::iter;

use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Value, json};

/// Exactly one spelling of an id names a resource, as in `caseward_core::id`.
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// Text holds no controls but line ends and tabs, as in `caseward_core::check::text`.
const PLAIN: &str = r"[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*";

/// A field, and what is said of it.
pub(super) struct Said<'c> {
    comment: &'c str,
    counts: Vec<Count<'c>>,
    /// Whether it is part of a load, which may name what it brings by identifiers instead.
    loaded: bool,
}

#[derive(Debug, PartialEq)]
struct Count<'c> {
    least: Option<i64>,
    most: i64,
    /// The word after it, where no punctuation is between; else empty.
    unit: &'c str,
    /// The word after `of` after the unit.
    of: &'c str,
}

impl<'c> Said<'c> {
    pub(super) fn read(comment: &'c str, loaded: bool) -> Self {
        Said { comment, counts: counts(comment), loaded }
    }

    /// Whether the value may not be missing: of what must be there at least once, none is too few.
    pub(super) fn required(&self, field: &FieldDescriptor) -> bool {
        self.amount(field).and_then(|count| count.least).is_some_and(|least| least > 0)
            && !self.empties()
    }

    /// Narrows the schema of the field's type to the values that are not refused.
    pub(super) fn narrow(&self, field: &FieldDescriptor, required: bool, schema: &mut Value) {
        if field.is_map() {
            return;
        }
        if field.is_list() {
            let least = self.amount(field).and_then(|count| count.least).unwrap_or(0);
            let least = least.max(i64::from(required));
            if least > 0 {
                schema["minItems"] = least.into();
            }
            if let Some(count) = self.amount(field) {
                schema["maxItems"] = count.most.into();
            }
            if let Kind::String = field.kind() {
                self.text(field, true, &mut schema["items"]);
            }
            return;
        }
        match field.kind() {
            Kind::String => self.text(field, required, schema),
            Kind::Int32 | Kind::Sint32 | Kind::Float | Kind::Double => {
                if let Some(Count { least, most, .. }) = self.amount(field) {
                    let least = if self.empties() { least.map(|it| it.min(0)) } else { *least };
                    if let Some(least) = least {
                        schema["minimum"] = least.into();
                    }
                    schema["maximum"] = (*most).into();
                }
                // AIP-158: more than the most is the most.
                if field.name() == "page_size" {
                    schema["minimum"] = 0.into();
                }
            }
            _ => {}
        }
    }

    fn text(&self, field: &FieldDescriptor, required: bool, schema: &mut Value) {
        let length = self.counts.iter().find(|count| count.unit == "characters");
        if let Some(count) = length {
            schema["maxLength"] = count.most.into();
        }
        let least = length.and_then(|count| count.least).filter(|_| !self.empties()).unwrap_or(0);
        let least = if field.is_list() { 0 } else { least }.max(i64::from(required));
        if least > 0 {
            schema["minLength"] = least.into();
        }
        if let Some(pattern) = self.pattern(field) {
            let pattern = if least > 0 { pattern } else { format!("({pattern})?") };
            schema["pattern"] = format!("^{pattern}$").into();
        }
    }

    fn pattern(&self, field: &FieldDescriptor) -> Option<String> {
        let forms: Vec<_> = forms(self.comment).map(pattern_of).collect();
        if !forms.is_empty() {
            let load =
                self.loaded.then(|| r"[A-Za-z]*\?identifier=[^|]{1,200}\|.{1,200}".to_owned());
            return Some(format!(
                "({})",
                forms.into_iter().chain(load).collect::<Vec<_>>().join("|")
            ));
        }
        // AIP-155.
        if field.name() == "request_id" || self.comment.split_whitespace().any(|it| it == "UUID") {
            return Some(UUID.to_owned());
        }
        self.counts.iter().find_map(|Count { least, most, unit, of }| match *unit {
            "digits" => Some(format!("[0-9]{{{},{most}}}", least.unwrap_or(1))),
            "characters" => {
                let alphabet = of.strip_prefix('`').and_then(|of| of.strip_suffix('`'));
                Some(alphabet.map_or(PLAIN.to_owned(), |alphabet| format!("[{alphabet}]*")))
            }
            _ => None,
        })
    }

    /// How many there may be: members of a list, characters of a text; or how much a number may be.
    fn amount(&self, field: &FieldDescriptor) -> Option<&Count<'c>> {
        let text = |count: &&Count<'_>| matches!(count.unit, "characters" | "digits");
        if field.is_list() {
            self.counts.iter().find(|count| !text(count))
        } else if let Kind::String = field.kind() {
            self.counts.iter().find(|count| count.unit == "characters")
        } else {
            self.counts.first()
        }
    }

    /// Whether leaving it out means something.
    fn empties(&self) -> bool {
        let mut words = self.comment.split_whitespace();
        words.any(|word| word == "Empty" || word == "Empty:") || self.comment.contains("or 0 where")
    }
}

/// The wildcards of a field's form: the name of each, and which values it takes.
pub(super) fn wildcards(comment: &str) -> Vec<(String, String)> {
    let forms: Vec<Vec<&str>> = forms(comment).map(|form| form.split('/').collect()).collect();
    let Some(first) = forms.first() else { return vec![] };
    let named = first.iter().enumerate().filter_map(|(at, segment)| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let mut values: Vec<_> = forms
            .iter()
            .filter(|form| form.len() == first.len() && form[..at] == first[..at])
            .map(|form| pattern_of(form[at]))
            .collect();
        values.dedup();
        Some((camel(name), format!("^({})$", values.join("|"))))
    });
    named.collect()
}

/// The forms that a comment lists: ``Format: `a/{b}`, or `c/{d}` ``.
fn forms(comment: &str) -> impl Iterator<Item = &str> {
    let begin = |mark: &str| comment.find(mark).map(|at| &comment[at + mark.len() - 1..]);
    let mut rest = begin("Format: `")
        .or_else(|| begin(", as `{").map(|rest| &comment[comment.len() - rest.len() - 1..]));
    iter::from_fn(move || {
        let (form, after) = rest?.strip_prefix('`')?.split_once('`')?;
        rest = after.strip_prefix(", or ");
        Some(form)
    })
}

/// Which texts have the form.
fn pattern_of(form: &str) -> String {
    let mut pattern = String::new();
    let mut rest = form;
    while let Some((literal, after)) = rest.split_once('{') {
        pattern.push_str(&escaped(literal));
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        pattern.push_str(match name {
            // What the issuer calls somebody.
            "subject" => "[^/]+",
            // As `caseward_core::check::identifier` reads them.
            "system" => "[^|]{1,200}",
            "value" => ".{1,200}",
            _ => UUID,
        });
        rest = after;
    }
    pattern + &escaped(rest)
}

fn escaped(literal: &str) -> String {
    let special = |c: char| "?|.+*()[]".contains(c).then_some('\\').into_iter().chain([c]);
    literal.chars().flat_map(special).collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}

fn counts(comment: &str) -> Vec<Count<'_>> {
    let words: Vec<&str> = comment.split_whitespace().collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let mut counts = vec![];
    let mut at = 0;
    while at < words.len() {
        let least = number(word(at));
        let (least, end) = match (word(at), word(at + 1)) {
            (_, "to") if least.is_some() => (least, at + 2),
            ("at", "most") => (None, at + 2),
            // `20 of 300 characters`: what each of them has.
            ("of", _) if counts.last().is_some_and(|it: &Count<'_>| it.unit == "of") => {
                (None, at + 1)
            }
            _ => {
                at += 1;
                continue;
            }
        };
        at += 1;
        let Some(most) = number(word(end)) else { continue };
        let apart = word(end).ends_with(['.', ',', ';', ':']);
        let unit = if apart { "" } else { bare(word(end + 1)) };
        let of = if !apart && word(end + 2) == "of" { bare(word(end + 3)) } else { "" };
        counts.push(Count { least, most, unit, of });
        at = end + 1;
    }
    counts
}

fn number(word: &str) -> Option<i64> {
    bare(word).replace(',', "").parse().ok()
}

fn bare(word: &str) -> &str {
    word.trim_end_matches(['.', ',', ';', ':'])
}

/// That at most one of a group is given, or exactly one.
pub(super) fn one_of(names: &[&str], exactly: bool) -> Value {
    let given: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
    let none = json!({ "not": { "anyOf": given } });
    json!({ "oneOf": given.into_iter().chain((!exactly).then_some(none)).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count<'c>(least: Option<i64>, most: i64, unit: &'c str, of: &'c str) -> Count<'c> {
        Count { least, most, unit, of }
    }

    #[test]
    fn a_count_is_read_with_its_unit() {
        let said =
            |comment, expected: &[Count<'_>]| assert_eq!(counts(comment), expected, "{comment}");
        said("Why, 1 to 1,000 characters.", &[count(Some(1), 1000, "characters", "")]);
        said("Names, 1 to 20; the first is shown.", &[count(Some(1), 20, "", "")]);
        said("Degrees, -90 to 90.", &[count(Some(-90), 90, "", "")]);
        said("How near, at most 500,000; 50,000 where 0.", &[count(None, 500_000, "", "")]);
        said("A code, 1 to 9 characters of `a-z-`;", &[count(Some(1), 9, "characters", "`a-z-`")]);
        let both = [count(None, 20, "of", ""), count(None, 300, "characters", "")];
        said("What else, at most 20 of 300 characters.", &both);
        said("How many at most: 50 where 0, 1,000 where more.", &[]);
        said("Moves it from draft to proposed, or to 3 others.", &[]);
    }

    #[test]
    fn a_form_names_its_wildcards_and_says_what_they_take() {
        let held = |comment| wildcards(comment);
        let uuid = format!("^({UUID})$");
        assert_eq!(
            held("Format: `patients/{patient}/relatedPersons/{related_person}`."),
            [("patient".into(), uuid.clone()), ("relatedPerson".into(), uuid)]
        );
        assert_eq!(
            held("Format: `patients/{patient}`, or `patients/-` for all."),
            [("patient".into(), format!("^({UUID}|-)$"))]
        );
        assert_eq!(held("Format: `inboxes/{subject}`."), [("subject".into(), "^([^/]+)$".into())]);
        assert_eq!(held("What it is called."), []);
        assert_eq!(
            forms("Only that with this identifier, as `{system}|{value}`.").map(pattern_of).next(),
            Some(r"[^|]{1,200}\|.{1,200}".into())
        );
    }
}
