//! FHIR's data types, read into the types that the contracts share.
use std::cmp::Ordering;

use caseward_api::types::v1 as pb;
use caseward_core::check;
use pb::{contact_point, human_name};
use prost_types::Timestamp;

use crate::node::Node;

/// Names of a person, those still in use first.
pub(crate) fn names(of: &Node<'_>, most: usize) -> Vec<pb::HumanName> {
    current_first(of.list_of("name", most), name)
}

/// Names of a person whose record cannot be without one. A newborn may have none yet, and is cared for nevertheless.
pub(crate) fn names_or_unnamed(of: &Node<'_>, most: usize) -> Vec<pb::HumanName> {
    let mut names = names(of, most);
    if names.is_empty() {
        of.warn_at("name", "is missing; kept as unnamed");
        names.push(pb::HumanName {
            r#use: human_name::Use::Anonymous as i32,
            text: "Unnamed".to_owned(),
            ..pb::HumanName::default()
        });
    }
    names
}

/// What an organization, a place or a plan is called: its name, else an alias, else what kind it is. FHIR lets it have
/// none where it has an identifier.
pub(crate) fn called(of: &Node<'_>) -> String {
    let name = of.text("name", 300);
    if !name.is_empty() {
        return name;
    }
    of.warn_at("name", "is missing; called by its alias or its kind");
    let alias = of.texts("alias", 20, 300).into_iter().next();
    let kind = || concepts(of, "type", 20).iter().map(|kind| words(kind).to_owned()).next();
    let called = alias.or_else(kind).filter(|text| !text.is_empty());
    called.unwrap_or_else(|| "Unnamed".to_owned()).chars().take(300).collect()
}

/// The one name of a person, where FHIR allows one only.
pub(crate) fn name(at: &Node<'_>) -> Option<pb::HumanName> {
    use human_name::Use;
    let usage = at.code("use", "name-use", |code| {
        Some(match code {
            "usual" => Use::Usual,
            "official" => Use::Official,
            "temp" => Use::Temp,
            "nickname" => Use::Nickname,
            "anonymous" => Use::Anonymous,
            "old" => Use::Old,
            "maiden" => Use::Maiden,
            _ => return None,
        })
    });
    let name = pb::HumanName {
        r#use: usage.unwrap_or_default() as i32,
        given: at.texts("given", 10, 100),
        family: at.text("family", 100),
        prefix: at.texts("prefix", 5, 40),
        suffix: at.texts("suffix", 5, 40),
        text: at.text("text", 300),
    };
    if name.given.is_empty() && name.family.is_empty() && name.text.is_empty() {
        at.warn("is a name without a family name, a given name or a text; left out");
        return None;
    }
    Some(name)
}

/// Ways to reach someone, those still in use first. What has no value reaches nobody and is left out.
pub(crate) fn telecoms(of: &Node<'_>, most: usize) -> Vec<pb::ContactPoint> {
    current_first(of.list_of("telecom", most), telecom)
}

fn telecom(at: &Node<'_>) -> Option<pb::ContactPoint> {
    use contact_point::{System, Use};
    let value = at.text("value", 254);
    if value.is_empty() {
        at.warn("is a contact without a value; left out");
        return None;
    }
    let system = at.code("system", "contact-point-system", |code| {
        Some(match code {
            "phone" => System::Phone,
            "fax" => System::Fax,
            "email" => System::Email,
            "pager" => System::Pager,
            "url" => System::Url,
            "sms" => System::Sms,
            "other" => System::Other,
            _ => return None,
        })
    });
    let system = match system {
        Some(System::Email) if check::email(&value).is_err() => {
            at.warn("is no email address; kept as another kind of contact");
            System::Other
        }
        Some(system) => system,
        None => {
            at.warn("is a contact that does not say of what kind");
            System::Other
        }
    };
    let usage = at.code("use", "contact-point-use", |code| {
        Some(match code {
            "home" => Use::Home,
            "work" => Use::Work,
            "temp" => Use::Temp,
            "old" => Use::Old,
            "mobile" => Use::Mobile,
            _ => return None,
        })
    });
    // Ours has no period: at an address that ended, what is sent may reach somebody else.
    let usage = match usage {
        Some(Use::Old) => Use::Old,
        _ if has_end(at) => {
            at.warn("has an end; kept as no longer in use");
            Use::Old
        }
        usage => usage.unwrap_or_default(),
    };
    let rank = at.number("rank").map_or(0, |rank| rank.clamp(0.0, 1000.0) as i32);
    Some(pb::ContactPoint { system: system as i32, value, r#use: usage as i32, rank })
}

/// Postal addresses, those still in use first.
pub(crate) fn addresses(of: &Node<'_>, most: usize) -> Vec<pb::Address> {
    current_first(of.list_of("address", most), address)
}

/// One postal address. An address of nothing is none.
pub(crate) fn address(at: &Node<'_>) -> Option<pb::Address> {
    let mut lines = at.texts("line", 5, 200);
    let city = at.text("city", 100);
    if lines.is_empty() && city.is_empty() {
        lines = Some(at.text("text", 200)).filter(|text| !text.is_empty()).into_iter().collect();
    }
    let address = pb::Address {
        lines,
        city,
        district: at.text("district", 100),
        state: at.text("state", 100),
        postal_code: at.text("postalCode", 20),
        country: at.text("country", 100),
    };
    (address != pb::Address::default()).then_some(address)
}

/// What ended or is old comes after what is not, because the first of our lists is the one used.
fn current_first<T>(all: Vec<Node<'_>>, read: impl Fn(&Node<'_>) -> Option<T>) -> Vec<T> {
    let ended = |at: &Node<'_>| {
        let usage = at.value().get("use").and_then(|usage| usage.as_str());
        matches!(usage, Some("old" | "maiden")) || has_end(at)
    };
    let (past, present): (Vec<_>, Vec<_>) = all.into_iter().partition(ended);
    present.iter().chain(&past).filter_map(read).collect()
}

/// Whether it says when its use ends, which may be yet to come: no clock is at hand. In 9999 is how some say never.
fn has_end(at: &Node<'_>) -> bool {
    let end = at.value().pointer("/period/end").filter(|end| !end.is_null());
    end.is_some_and(|end| !end.as_str().is_some_and(|end| end.starts_with("9999")))
}

/// A concept. One without code and text is none.
pub(crate) fn concept(of: &Node<'_>, member: &str) -> Option<pb::Concept> {
    of.get(member).and_then(|at| concept_of(&at))
}

/// A list of concepts.
pub(crate) fn concepts(of: &Node<'_>, member: &str, most: usize) -> Vec<pb::Concept> {
    of.list_of(member, most).iter().filter_map(concept_of).collect()
}

/// The concept at a place.
pub(crate) fn concept_of(at: &Node<'_>) -> Option<pb::Concept> {
    let mut concept = pb::Concept { codings: vec![], text: at.text("text", 1000) };
    for at in at.list_of("coding", 10) {
        let coding = coding(&at);
        match coding.code.is_empty() {
            false => concept.codings.push(coding),
            // Words without a code are still words.
            true if concept.text.is_empty() => concept.text = coding.display,
            true => {}
        }
    }
    (concept != pb::Concept::default()).then_some(concept)
}

/// The code at a place.
pub(crate) fn coding(at: &Node<'_>) -> pb::Coding {
    pb::Coding {
        system: at.text("system", 200),
        code: at.text("code", 100),
        display: at.text("display", 500),
    }
}

/// The words of a concept: its text, else what a code system calls it, else a code.
pub(crate) fn words(concept: &pb::Concept) -> &str {
    let mut said = std::iter::once(&*concept.text)
        .chain(concept.codings.iter().map(|coding| &*coding.display))
        .chain(concept.codings.iter().map(|coding| &*coding.code));
    said.find(|words| !words.is_empty()).unwrap_or_default()
}

/// The codes that a concept holds, in any system.
pub(crate) fn codes(concept: &Option<pb::Concept>) -> impl Iterator<Item = &str> {
    concept.iter().flat_map(|concept| &concept.codings).map(|coding| &*coding.code)
}

/// A span of time.
pub(crate) fn period(of: &Node<'_>, member: &str) -> Option<pb::Period> {
    let at = of.get(member)?;
    let (start, mut end) = (at.time("start"), at.end("end"));
    if let (Some(start), Some(until)) = (&start, &mut end) {
        match order(until, start) {
            Ordering::Less => at.fail("ends before it begins"),
            // Our periods end before their end; one of no length would hold nothing.
            Ordering::Equal => until.seconds += 1,
            Ordering::Greater => {}
        }
    }
    (start.is_some() || end.is_some()).then_some(pb::Period { start, end })
}

fn order(a: &Timestamp, b: &Timestamp) -> Ordering {
    (a.seconds, a.nanos).cmp(&(b.seconds, b.nanos))
}

/// A measured amount.
pub(crate) fn quantity(of: &Node<'_>, member: &str) -> Option<pb::Quantity> {
    let at = of.get(member)?;
    let value = at.number("value")?;
    let unit = Some(at.text("unit", 50)).filter(|unit| !unit.is_empty());
    Some(pb::Quantity { value, unit: unit.unwrap_or_else(|| at.text("code", 50)) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::Notes;

    #[test]
    fn the_name_and_the_address_in_use_come_first() {
        let notes = Notes::default();
        let json = json!({
            "name": [{"use": "maiden", "family": "Old"}, {"use": "official", "family": "New"}],
            "address": [{"city": "There", "period": {"end": "2020-07-22"}}, {"text": "Here"}],
        });
        let at = Node::root(&json, "Patient", &notes);
        assert_eq!(names(&at, 20)[0].family, "New");
        assert_eq!(addresses(&at, 20)[0].lines, ["Here"]);
        assert!(notes.is_clean());
    }

    #[test]
    fn a_contact_that_says_little_is_kept_as_far_as_it_goes() {
        let notes = Notes::default();
        let json = json!({"telecom": [{"system": "email", "value": "none"}, {"value": "555"}, {"system": "phone"}]});
        let contacts = telecoms(&Node::root(&json, "Patient", &notes), 30);
        assert_eq!(contacts.len(), 2);
        assert!(contacts.iter().all(|contact| contact.system() == contact_point::System::Other));
        assert_eq!(notes.warnings.take().len(), 3);
    }

    #[test]
    fn a_contact_that_ended_is_kept_as_no_longer_in_use_behind_those_that_are() {
        use contact_point::Use;
        let notes = Notes::default();
        let json = json!({"telecom": [
            {"system": "email", "value": "a@example.org", "use": "home", "period": {"start": "2019", "end": "2020-07-22"}},
            {"system": "phone", "value": "555", "use": "old", "period": {"end": "2014"}},
            {"system": "email", "value": "b@example.org", "use": "home", "period": {"start": "2020-07-22"}},
            {"system": "sms", "value": "556", "use": "mobile", "period": {"end": "9999-12-31"}}]});
        let contacts = telecoms(&Node::root(&json, "Patient", &notes), 30);
        let known: Vec<_> = contacts.iter().map(|one| (&one.value[..], one.r#use())).collect();
        let (used, old) =
            ([("b@example.org", Use::Home), ("556", Use::Mobile)], ["a@example.org", "555"]);
        assert_eq!(known, [used, old.map(|value| (value, Use::Old))].concat());
        let warnings = notes.warnings.take();
        assert_eq!((warnings.len(), &warnings[0].path[..]), (1, "Patient.telecom[0]"));
        assert!(notes.is_clean());
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused() {
        let notes = Notes::default();
        let json = json!({"period": {"start": "2020-01-02", "end": "2019-12-30"}, "day": {"start": "2020", "end": "2020"}});
        let at = Node::root(&json, "X", &notes);
        period(&at, "day").unwrap();
        assert!(notes.is_clean());
        period(&at, "period");
        assert_eq!(notes.failures.take()[0].path, "X.period");
    }
}
