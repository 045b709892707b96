//! Practitioner and PractitionerRole, read into the directory's contracts.
use caseward_api::{
    directory::v1::{Practitioner, PractitionerRole, Qualification},
    types::v1::{Concept, Identifier},
};

use crate::{
    datatype,
    link::Links,
    node::Node,
    plan_net::{self, TAXONOMY},
};

/// Reads a practitioner.
pub(crate) fn read(
    at: &Node<'_>,
    _: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<Practitioner> {
    let names = datatype::names_or_unnamed(at, 20);
    let qualifications = plan_net::qualifications(at);
    Some(Practitioner {
        identifiers,
        status: plan_net::active(at) as i32,
        names,
        gender: plan_net::gender(at),
        telecoms: datatype::telecoms(at, 30),
        addresses: datatype::addresses(at, 20),
        languages: plan_net::languages(at),
        specialties: specialties(&qualifications),
        qualifications,
        ..Practitioner::default()
    })
}

/// Plan-Net tells what practitioners are specialized in by the taxonomy codes of their qualifications.
fn specialties(qualifications: &[Qualification]) -> Vec<Concept> {
    let mut specialties: Vec<Concept> = vec![];
    for concept in qualifications.iter().filter_map(|one| one.code.as_ref()) {
        let taxonomy = concept.codings.iter().any(|coding| coding.system == TAXONOMY);
        if taxonomy && !specialties.contains(concept) {
            specialties.push(concept.clone());
        }
    }
    specialties
}

/// Reads what a practitioner does for an organization.
pub(crate) fn role(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<PractitionerRole> {
    let role = PractitionerRole {
        identifiers,
        status: plan_net::active(at) as i32,
        practitioner: links.name(at, "practitioner", &["Practitioner"]),
        organization: links.name(at, "organization", &["Organization"]),
        roles: datatype::concepts(at, "code", 20),
        specialties: datatype::concepts(at, "specialty", 50),
        locations: links.names(at, "location", 100, &["Location"]),
        healthcare_services: links.names(at, "healthcareService", 100, &["HealthcareService"]),
        networks: plan_net::networks(at, links),
        telecoms: datatype::telecoms(at, 30),
        period: datatype::period(at, "period"),
        hours: plan_net::hours(at, "availableTime", "availableStartTime", "availableEndTime"),
        absences: plan_net::absences(at),
        hours_exceptions: at.text("availabilityExceptions", 1000),
        new_patients: plan_net::new_patients(at, links),
        ..PractitionerRole::default()
    };
    if role.practitioner.is_empty() && role.organization.is_empty() {
        at.fail("wants a practitioner or an organization that is known");
    }
    Some(role)
}
