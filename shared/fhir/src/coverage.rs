//! Coverage, on its own or within an ExplanationOfBenefit, read into the patient service's contract.
use std::collections::HashSet;

use caseward_api::{
    patient::v1::{Coverage, PatientCoverage, coverage::Status},
    types::v1::Identifier,
};
use serde_json::{Value, json};

use crate::{
    Entry, datatype,
    link::Links,
    node::Node,
    reference::{Key, PART_SYSTEM, Reference},
};

/// Reads a coverage. None where it says that nobody pays.
pub(crate) fn read(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<PatientCoverage> {
    let coverage_type = datatype::concept(at, "type");
    // Synthea writes the absence of insurance as one.
    if coverage_type.as_ref().is_some_and(|concept| concept.text == "NO_INSURANCE") {
        return None;
    }
    let status = at.code("status", "fm-status", |code| {
        Some(match code {
            "active" => Status::Active,
            "cancelled" => Status::Cancelled,
            "draft" => Status::Draft,
            "entered-in-error" => Status::EnteredInError,
            _ => return None,
        })
    });
    let payors = at.list("payor");
    let payer = payors
        .iter()
        .find_map(|at| links.target(at, &["Organization", "Patient", "RelatedPerson"]));
    let mut payer_display =
        payors.iter().map(|at| at.text("display", 300)).find(|text| !text.is_empty());
    let payer = match payer {
        Some(to) if to.resource_type == "Organization" => to.name,
        // Whoever pays for themselves or for their family has no record in the directory.
        Some(to) => {
            let by = if to.resource_type == "Patient" { "self-pay" } else { "family" };
            payer_display.get_or_insert_with(|| by.to_owned());
            String::new()
        }
        None => {
            // Who it is may be learned later; that somebody pays is known.
            let addresses = payors.iter().map(|at| at.text("reference", 300));
            payer_display = payer_display.or(addresses.into_iter().find(|text| !text.is_empty()));
            String::new()
        }
    };
    let payer_display = payer_display.filter(|_| payer.is_empty()).unwrap_or_default();
    if payer.is_empty() && payer_display.is_empty() {
        at.fail_at("payor", "wants a reference or a display");
    }
    let coverage = Coverage {
        identifiers,
        status: status.unwrap_or(Status::Active) as i32,
        r#type: coverage_type,
        payer,
        payer_display,
        plan_display: class(at, "plan", "name", 300),
        member_id: member_id(at),
        group_number: class(at, "group", "value", 100),
        relationship: datatype::concept(at, "relationship"),
        period: datatype::period(at, "period"),
        order: at.number("order").map_or(0, |order| order.clamp(0.0, 20.0) as i32),
        ..Coverage::default()
    };
    Some(PatientCoverage { patient: links.patient(at, "beneficiary")?, coverage: Some(coverage) })
}

/// A member of the class of that kind, such as the name of the plan.
fn class(at: &Node<'_>, kind: &str, member: &str, most: usize) -> String {
    let of_kind =
        |at: &Node<'_>| datatype::codes(&datatype::concept(at, "type")).any(|code| code == kind);
    at.list("class")
        .iter()
        .find(|at| of_kind(at))
        .map(|at| at.text(member, most))
        .unwrap_or_default()
}

/// The number of the member: the subscriber's, else an identifier of that type.
fn member_id(at: &Node<'_>) -> String {
    let subscriber = at.text("subscriberId", 100);
    if !subscriber.is_empty() {
        return subscriber;
    }
    let is_member =
        |at: &Node<'_>| datatype::codes(&datatype::concept(at, "type")).any(|code| code == "MB");
    let all = at.list("identifier");
    all.iter().find(|at| is_member(at)).map(|at| at.text("value", 100)).unwrap_or_default()
}

/// The coverages that claims carry with them, as entries of their own.
///
/// Every claim repeats the coverage it was paid from, under an id that means nothing outside of the claim. One
/// person's coverage by one payer is therefore one, known by the person and the payer.
pub(crate) fn contained(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = HashSet::new();
    let mut coverages = vec![];
    for entry in entries.iter().filter(|entry| entry.resource_type == "ExplanationOfBenefit") {
        let contained = entry.json.get("contained").and_then(Value::as_array).into_iter().flatten();
        for coverage in contained.filter(|one| one.get("resourceType") == Some(&json!("Coverage")))
        {
            let Some(value) = identity(coverage) else { continue };
            if !seen.insert(value.clone()) {
                continue;
            }
            let mut json = coverage.clone();
            if let Some(members) = json.as_object_mut() {
                members.remove("id");
                members
                    .insert("identifier".into(), json!([{"system": PART_SYSTEM, "value": value}]));
            }
            coverages.push(Entry {
                file: entry.file.clone(),
                place: entry.place.clone(),
                full_url: None,
                resource_type: "Coverage".to_owned(),
                id: None,
                json,
            });
        }
    }
    coverages
}

/// The person, `#`, and the payer.
fn identity(coverage: &Value) -> Option<String> {
    let text = |pointer: &str| coverage.pointer(pointer).and_then(Value::as_str);
    let person = match Reference::parse(text("/beneficiary/reference")?)? {
        Reference::Keys(keys) => match keys.into_iter().next()? {
            Key::Uri(uri) => uri,
            Key::Local(kind, id) => format!("{kind}/{id}"),
            Key::Business(_, system, value) => format!("{system}|{value}"),
        },
        Reference::Contained(_) => return None,
    };
    let payer = text("/payor/0/display")
        .or_else(|| text("/payor/0/reference"))
        .or_else(|| text("/type/text"))?;
    Some(format!("{person}#{payer}"))
}
