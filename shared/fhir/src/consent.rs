//! Consent, read into the patient service's contract.
use caseward_api::{
    patient::v1::{
        Consent, PatientConsent,
        consent::{Decision, State, Type},
    },
    types::v1::{Concept, Identifier},
};

use crate::{datatype, link::Links, node::Node};

/// Reads a consent.
pub(crate) fn read(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<PatientConsent> {
    let state = at.code("status", "consent-state-codes", |code| {
        Some(match code {
            "draft" => State::Draft,
            "proposed" => State::Proposed,
            "active" => State::Active,
            "inactive" => State::Inactive,
            "rejected" => State::Rejected,
            "entered-in-error" => State::EnteredInError,
            _ => return None,
        })
    });
    if at.get("status").is_none() {
        at.fail_at("status", "is required");
    }
    let provision = at.get("provision");
    let decision = decision(at, provision.as_ref());
    let grantor = at.list("performer").iter().find_map(|at| {
        links.target(at, &["RelatedPerson", "Patient", "Practitioner", "Organization"])
    });
    let grantor = grantor.filter(|to| matches!(&*to.resource_type, "Patient" | "RelatedPerson"));
    let recipients = provision.as_ref().map(|at| recipients(at, links)).unwrap_or_default();
    let consent = Consent {
        identifiers,
        r#type: kind(at, &recipients) as i32,
        decision: decision as i32,
        grantor: grantor.map(|to| to.name).unwrap_or_default(),
        recipients,
        purposes: codings(provision.as_ref(), "purpose", 20),
        data_classes: codings(provision.as_ref(), "class", 50),
        period: provision.as_ref().and_then(|at| datatype::period(at, "period")),
        evidence: evidence(at),
        state: state.unwrap_or_default() as i32,
        activate_time: at.time("dateTime").filter(|_| state == Some(State::Active)),
        ..Consent::default()
    };
    Some(PatientConsent { patient: links.patient(at, "patient")?, consent: Some(consent) })
}

/// What it is about. FHIR says so by scope, category and policy; ours is a list of kinds.
fn kind(at: &Node<'_>, recipients: &[String]) -> Type {
    let scope = datatype::concept(at, "scope");
    let policy = datatype::concept(at, "policyRule");
    let categories = datatype::concepts(at, "category", 20);
    let says = |code: &str| {
        let all = scope.iter().chain(&policy).chain(&categories);
        all.flat_map(|concept| &concept.codings).any(|coding| coding.code == code)
    };
    if says("research") || says("RESEARCH") {
        Type::Research
    } else if says("42CFRPart2") {
        Type::Part2
    } else if says("IDSCL")
        || says("INFA")
        || says("INFAO")
        || says("hipaa-auth")
        || !recipients.is_empty()
    {
        Type::Release
    } else {
        Type::TreatmentCoordination
    }
}

/// What the grantor decided. An exception cannot be kept; one that would widen what we keep is refused.
fn decision(at: &Node<'_>, provision: Option<&Node<'_>>) -> Decision {
    let said = provision.and_then(|at| {
        at.code("type", "consent-provision-type", |code| match code {
            "permit" => Some(Decision::Permit),
            "deny" => Some(Decision::Deny),
            _ => None,
        })
    });
    let policy = datatype::concept(at, "policyRule");
    let opted_out = datatype::codes(&policy).any(|code| matches!(code, "OPTOUT" | "OPTOUTE"));
    let decision = said.unwrap_or(if opted_out { Decision::Deny } else { Decision::Permit });
    if let Some(provision) = provision
        && !provision.list("provision").is_empty()
    {
        match decision {
            Decision::Deny => {
                provision.warn_at("provision", "holds exceptions; what they permit stays denied")
            }
            _ => provision.fail_at(
                "provision",
                "holds exceptions that cannot be kept; permission without them would go too far",
            ),
        }
    }
    decision
}

/// Who it is for: those named to receive.
fn recipients(provision: &Node<'_>, links: &Links<'_>) -> Vec<String> {
    let mut recipients = vec![];
    for actor in provision.list_of("actor", 50) {
        let role = datatype::concept(&actor, "role");
        if !datatype::codes(&role).any(|code| matches!(code, "PRCP" | "IRCP")) {
            continue;
        }
        let Some(at) = actor.get("reference") else { continue };
        let types =
            ["Organization", "Practitioner", "PractitionerRole", "Patient", "RelatedPerson"];
        let to = links.target(&at, &types).map(|to| to.name);
        let to = to.unwrap_or_else(|| at.text("display", 300));
        if !to.is_empty() {
            recipients.push(to);
        }
    }
    recipients
}

fn codings(provision: Option<&Node<'_>>, member: &str, most: usize) -> Vec<Concept> {
    let all = provision.map(|at| at.list_of(member, most)).unwrap_or_default();
    let coded = all.iter().map(datatype::coding).filter(|coding| !coding.code.is_empty());
    coded.map(|coding| Concept { codings: vec![coding], text: String::new() }).collect()
}

/// What shows it: the title of the document, or where it is.
fn evidence(at: &Node<'_>) -> String {
    let attachment = at.get("sourceAttachment");
    let said = attachment.map(|at| (at.text("title", 500), at.text("url", 400)));
    let (title, url) = said.unwrap_or_default();
    let reference =
        at.get("sourceReference").map(|at| (at.text("display", 500), at.text("reference", 400)));
    let (display, reference) = reference.unwrap_or_default();
    [title, url, display, reference].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}
