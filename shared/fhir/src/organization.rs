//! Organization, Location, InsurancePlan and HealthcareService, read into the directory's contracts.
use caseward_api::{
    directory::v1::{HealthcareService, InsurancePlan, Location, Organization, RecordStatus},
    types::v1::Identifier,
};

use crate::{
    datatype,
    link::Links,
    node::Node,
    plan_net::{self, url},
};

/// Reads an organization.
pub(crate) fn read(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<Organization> {
    if !at.extensions(&url("location-reference")).is_empty() {
        // A location comes after the organization that runs it, and names it.
        at.warn_at("extension", "refers to locations; only a location's own reference is kept");
    }
    let description = at.extension(&url("org-description"));
    Some(Organization {
        identifiers,
        status: plan_net::active(at) as i32,
        types: datatype::concepts(at, "type", 10),
        display_name: datatype::called(at),
        aliases: at.texts("alias", 20, 300),
        description: description.map(|at| at.text("valueString", 4000)).unwrap_or_default(),
        telecoms: datatype::telecoms(at, 30),
        addresses: datatype::addresses(at, 20),
        part_of: links.name(at, "partOf", &["Organization"]),
        qualifications: plan_net::qualifications(at),
        ..Organization::default()
    })
}

/// Reads a location.
pub(crate) fn location(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<Location> {
    let status = at.code("status", "location-status", |code| {
        Some(match code {
            "active" => RecordStatus::Active,
            "suspended" => RecordStatus::Suspended,
            "inactive" => RecordStatus::Inactive,
            _ => return None,
        })
    });
    Some(Location {
        identifiers,
        status: status.unwrap_or(RecordStatus::Active) as i32,
        display_name: datatype::called(at),
        aliases: at.texts("alias", 20, 300),
        description: at.text("description", 4000),
        types: datatype::concepts(at, "type", 20),
        telecoms: datatype::telecoms(at, 30),
        address: at.get("address").and_then(|at| datatype::address(&at)),
        position: plan_net::position(at),
        managing_organization: links.name(at, "managingOrganization", &["Organization"]),
        part_of: links.name(at, "partOf", &["Location"]),
        hours: plan_net::hours(at, "hoursOfOperation", "openingTime", "closingTime"),
        hours_exceptions: at.text("availabilityExceptions", 1000),
        new_patients: plan_net::new_patients(at, links),
        accessibility: plan_net::concepts(at, "accessibility"),
        ..Location::default()
    })
}

/// Reads a healthcare service.
pub(crate) fn healthcare_service(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<HealthcareService> {
    let words = |member: &str| {
        let all = datatype::concepts(at, member, 20);
        all.iter().map(|concept| datatype::words(concept).to_owned()).collect::<Vec<_>>()
    };
    let paragraphs = [at.text("comment", 4000), at.text("extraDetails", 4000)];
    let description: Vec<String> = paragraphs.into_iter().filter(|text| !text.is_empty()).collect();
    let description = description.join("\n");
    if description.chars().count() > 4000 {
        at.fail_at("extraDetails", "wants at most 4000 characters together with comment");
    }
    let eligibility = at.list("eligibility").into_iter().flat_map(|at| {
        let concept = datatype::concept(&at, "code");
        let said = concept.as_ref().map(|concept| datatype::words(concept).to_owned());
        [said.unwrap_or_default(), at.text("comment", 4000)]
    });
    let eligibility: Vec<String> = eligibility.filter(|text| !text.is_empty()).collect();
    let delivery = at.extensions(&url("delivery-method")).into_iter();
    let delivery =
        delivery.filter_map(|at| datatype::concept(&at.extension("type")?, "valueCodeableConcept"));
    let service = HealthcareService {
        identifiers,
        status: plan_net::active(at) as i32,
        provided_by: links.name(at, "providedBy", &["Organization"]),
        display_name: at.text("name", 300),
        categories: datatype::concepts(at, "category", 20),
        types: datatype::concepts(at, "type", 50),
        specialties: datatype::concepts(at, "specialty", 50),
        locations: links.names(at, "location", 500, &["Location"]),
        description,
        programs: datatype::concepts(at, "program", 20),
        telecoms: datatype::telecoms(at, 30),
        coverage_areas: links.names(at, "coverageArea", 100, &["Location"]),
        eligibility: eligibility.join("\n"),
        cost: words("serviceProvisionCode").join("; "),
        languages: plan_net::languages(at),
        delivery_methods: delivery.collect(),
        referral_methods: datatype::concepts(at, "referralMethod", 20),
        appointment_required: at.flag("appointmentRequired").unwrap_or_default(),
        hours: plan_net::hours(at, "availableTime", "availableStartTime", "availableEndTime"),
        absences: plan_net::absences(at),
        hours_exceptions: at.text("availabilityExceptions", 1000),
        new_patients: plan_net::new_patients(at, links),
        networks: plan_net::networks(at, links),
        ..HealthcareService::default()
    };
    if service.display_name.is_empty() && service.categories.is_empty() && service.types.is_empty()
    {
        at.fail("wants a name, a category or a type");
    }
    Some(service)
}

/// Reads an insurance plan.
pub(crate) fn insurance_plan(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<InsurancePlan> {
    let status = at.code("status", "publication-status", |code| {
        Some(match code {
            "active" => RecordStatus::Active,
            "draft" | "unknown" => RecordStatus::Suspended,
            "retired" => RecordStatus::Inactive,
            _ => return None,
        })
    });
    let plans = at.list_of("plan", 20);
    let telecoms = at.list("contact").iter().flat_map(|at| datatype::telecoms(at, 30)).collect();
    Some(InsurancePlan {
        identifiers,
        status: status.unwrap_or(RecordStatus::Active) as i32,
        display_name: datatype::called(at),
        aliases: at.texts("alias", 20, 300),
        types: datatype::concepts(at, "type", 10),
        plan_types: plans.iter().filter_map(|at| datatype::concept(at, "type")).collect(),
        owned_by: links.name(at, "ownedBy", &["Organization"]),
        administered_by: links.name(at, "administeredBy", &["Organization"]),
        coverage_areas: links.names(at, "coverageArea", 200, &["Location"]),
        networks: links.names(at, "network", 200, &["Organization"]),
        telecoms,
        period: datatype::period(at, "period"),
        ..InsurancePlan::default()
    })
}
