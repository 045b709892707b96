//! Records one by one: made, read, changed, held against the world, and by whom.
use caseward_api::directory::v1::{self as pb, verification::State};
use caseward_api::types::v1 as types;
use caseward_testkit::databases;
use prost_types::FieldMask;
use time::Duration;
use tonic::Code;
use uuid::Uuid;

use crate::suite::{CASE_MANAGER, EDITOR, INTEGRATION, Suite, coded, fields, npi};

fn clinic() -> pb::Organization {
    pb::Organization {
        identifiers: vec![npi("1234567893")],
        types: vec![coded("prvgrp", "Provider group")],
        display_name: "River Clinic".to_owned(),
        aliases: vec!["The River".to_owned()],
        addresses: vec![types::Address {
            lines: vec!["1 Quay".to_owned()],
            postal_code: "06473-2129".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn made(suite: &Suite, organization: pb::Organization) -> pb::Organization {
    let ask = pb::CreateOrganizationRequest {
        organization: Some(organization),
        request_id: String::new(),
    };
    let mut client = suite.client.clone();
    client.create_organization(suite.by(EDITOR, ask)).await.unwrap().into_inner()
}

fn change(organization: &pb::Organization, paths: &[&str]) -> pb::UpdateOrganizationRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateOrganizationRequest {
        organization: Some(organization.clone()),
        update_mask: Some(FieldMask { paths }),
        request_id: String::new(),
    }
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was_made() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let clinic = made(&suite, clinic()).await;
        assert_eq!(clinic.status(), pb::RecordStatus::Active);
        assert_eq!(clinic.verification.as_ref().unwrap().state(), State::Unverified);
        let ask = pb::GetOrganizationRequest { name: clinic.name.clone() };
        let read = client.get_organization(suite.by(CASE_MANAGER, ask)).await.unwrap().into_inner();
        assert_eq!(read, clinic);

        let ask = pb::GetOrganizationRequest { name: format!("organizations/{}", Uuid::now_v7()) };
        let absent = client.get_organization(suite.by(CASE_MANAGER, ask)).await.unwrap_err();
        assert_eq!(absent.code(), Code::NotFound);
    }
}

#[tokio::test]
async fn every_kind_of_record_comes_back_with_all_that_was_said() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let org = made(&suite, clinic()).await;
        let hours = vec![pb::Availability {
            days: vec![1, 2],
            start_time: "08:00".to_owned(),
            end_time: "24:00".to_owned(),
            ..Default::default()
        }];
        let takes = vec![pb::NewPatients {
            accepting: pb::AcceptingPatients::New.into(),
            network: org.name.clone(),
            characteristics: "adults".to_owned(),
        }];
        let location = pb::Location {
            display_name: "Quay".to_owned(),
            position: Some(types::LatLng { latitude: 41.384274, longitude: -72.88067 }),
            managing_organization: org.name.clone(),
            hours: hours.clone(),
            new_patients: takes.clone(),
            ..Default::default()
        };
        let ask =
            pb::CreateLocationRequest { location: Some(location.clone()), ..Default::default() };
        let place = client.create_location(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        let said = pb::Location {
            name: place.name.clone(),
            status: place.status,
            verification: place.verification.clone(),
            create_time: place.create_time,
            update_time: place.update_time,
            etag: place.etag.clone(),
            ..location
        };
        assert_eq!(place, said);

        let practitioner = pb::Practitioner {
            names: vec![types::HumanName { family: "Cormier".to_owned(), ..Default::default() }],
            languages: vec!["es".to_owned()],
            qualifications: vec![pb::Qualification {
                identifiers: vec![npi("1")],
                code: Some(coded("MD", "Doctor")),
                issuer: "Board".to_owned(),
                jurisdiction: "CT".to_owned(),
                period: None,
            }],
            ..Default::default()
        };
        let ask = pb::CreatePractitionerRequest {
            practitioner: Some(practitioner.clone()),
            ..Default::default()
        };
        let person = client.create_practitioner(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(person.qualifications, practitioner.qualifications);

        let service = pb::HealthcareService {
            provided_by: org.name.clone(),
            categories: vec![coded("group", "Medical Group")],
            locations: vec![place.name.clone()],
            networks: vec![org.name.clone()],
            appointment_required: true,
            ..Default::default()
        };
        let ask = pb::CreateHealthcareServiceRequest {
            healthcare_service: Some(service.clone()),
            ..Default::default()
        };
        let service =
            client.create_healthcare_service(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert!(service.appointment_required);

        let role = pb::PractitionerRole {
            practitioner: person.name.clone(),
            organization: org.name.clone(),
            locations: vec![place.name.clone()],
            healthcare_services: vec![service.name.clone()],
            networks: vec![org.name.clone()],
            hours,
            new_patients: takes,
            specialties: vec![coded("363LA2200X", "Adult Health")],
            ..Default::default()
        };
        let ask = pb::CreatePractitionerRoleRequest {
            practitioner_role: Some(role.clone()),
            ..Default::default()
        };
        let made =
            client.create_practitioner_role(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(
            (&made.practitioner, &made.organization, &made.locations, &made.hours),
            (&role.practitioner, &role.organization, &role.locations, &role.hours)
        );
        let ask = pb::ListPractitionerRolesRequest {
            practitioner: person.name,
            organization: org.name.clone(),
            specialty: "363LA2200X".to_owned(),
            ..Default::default()
        };
        let roles = client.list_practitioner_roles(suite.by(CASE_MANAGER, ask)).await.unwrap();
        assert_eq!(roles.into_inner().practitioner_roles, [made]);

        let plan = pb::InsurancePlan {
            display_name: "Bronze".to_owned(),
            owned_by: org.name.clone(),
            coverage_areas: vec![place.name],
            ..Default::default()
        };
        let ask =
            pb::CreateInsurancePlanRequest { insurance_plan: Some(plan), ..Default::default() };
        let plan = client.create_insurance_plan(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        let ask = pb::ListInsurancePlansRequest { owned_by: org.name, ..Default::default() };
        let plans = client.list_insurance_plans(suite.by(CASE_MANAGER, ask)).await.unwrap();
        assert_eq!(plans.into_inner().insurance_plans, [plan]);
    }
}

#[tokio::test]
async fn everything_wrong_with_a_record_is_said_at_once() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let location = pb::Location {
            position: Some(types::LatLng { latitude: 91.0, longitude: 0.0 }),
            managing_organization: format!("organizations/{}", Uuid::now_v7()),
            part_of: "organizations/1".to_owned(),
            hours: vec![pb::Availability { start_time: "9:00".to_owned(), ..Default::default() }],
            new_patients: vec![pb::NewPatients::default()],
            ..Default::default()
        };
        let ask = pb::CreateLocationRequest { location: Some(location), ..Default::default() };
        let refused = client.create_location(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let mut named = fields(&refused);
        named.sort();
        let expected = [
            "location.display_name",
            "location.hours[0].end_time",
            "location.hours[0].start_time",
            "location.managing_organization",
            "location.new_patients[0].accepting",
            "location.part_of",
            "location.position",
        ];
        assert_eq!(named, expected);
    }
}

#[tokio::test]
async fn a_reference_by_identifier_is_for_loads_only() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        made(&suite, clinic()).await;
        let part = pb::Organization {
            display_name: "Part".to_owned(),
            part_of: "organizations?identifier=http://hl7.org/fhir/sid/us-npi|1234567893"
                .to_owned(),
            ..Default::default()
        };
        let ask = pb::CreateOrganizationRequest { organization: Some(part), ..Default::default() };
        let mut client = suite.client.clone();
        let refused = client.create_organization(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(fields(&refused), ["organization.part_of"]);
    }
}

#[tokio::test]
async fn two_records_of_a_kind_cannot_share_an_identifier() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        made(&suite, clinic()).await;
        let ask =
            pb::CreateOrganizationRequest { organization: Some(clinic()), ..Default::default() };
        let mut client = suite.client.clone();
        let refused = client.create_organization(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        let location = pb::Location {
            display_name: "Quay".to_owned(),
            identifiers: clinic().identifiers,
            ..Default::default()
        };
        let ask = pb::CreateLocationRequest { location: Some(location), ..Default::default() };
        client.create_location(suite.by(EDITOR, ask)).await.unwrap();
    }
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_wants_the_etag_that_was_read() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let mut clinic = made(&suite, clinic()).await;
        clinic.display_name = "Quay Clinic".to_owned();
        clinic.aliases = vec![];
        clinic.identifiers = vec![npi("1245319599")];
        let ask = change(&clinic, &["display_name", "identifiers"]);
        let changed =
            client.update_organization(suite.by(EDITOR, ask.clone())).await.unwrap().into_inner();
        assert_eq!(changed.display_name, "Quay Clinic");
        assert_eq!(changed.aliases, ["The River"]);
        assert_eq!(changed.etag, "\"2\"");

        let stale = client.update_organization(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(stale.code(), Code::Aborted);
        let blind = change(&pb::Organization { etag: String::new(), ..changed.clone() }, &[]);
        let refused = client.update_organization(suite.by(EDITOR, blind)).await.unwrap_err();
        assert_eq!(fields(&refused), ["etag"]);
        let ask = change(&changed, &["verification"]);
        let refused = client.update_organization(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(fields(&refused), ["update_mask"]);
        let same = client.update_organization(suite.by(EDITOR, change(&changed, &[]))).await;
        assert_eq!(same.unwrap().into_inner(), changed);

        for (identifier, count) in [("1234567893", 0), ("1245319599", 1)] {
            let identifier = format!("http://hl7.org/fhir/sid/us-npi|{identifier}");
            let ask = pb::ListOrganizationsRequest { identifier, ..Default::default() };
            let found = client.list_organizations(suite.by(EDITOR, ask)).await.unwrap();
            assert_eq!(found.into_inner().organizations.len(), count);
        }
        let ask =
            pb::ListOrganizationsRequest { name_prefix: "quay".to_owned(), ..Default::default() };
        let found = client.list_organizations(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(found.organizations, [changed]);
    }
}

#[tokio::test]
async fn a_request_sent_twice_makes_one_record() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let ask = pb::CreateOrganizationRequest {
            organization: Some(clinic()),
            request_id: Uuid::now_v7().to_string(),
        };
        let first = client.create_organization(suite.by(EDITOR, ask.clone())).await.unwrap();
        let second = client.create_organization(suite.by(EDITOR, ask)).await.unwrap();
        assert_eq!(first.into_inner(), second.into_inner());
    }
}

#[tokio::test]
async fn a_case_manager_reads_and_only_editors_and_integrations_write() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let ask = |value| pb::CreateOrganizationRequest {
            organization: Some(pb::Organization { identifiers: vec![npi(value)], ..clinic() }),
            ..Default::default()
        };
        for who in [CASE_MANAGER, "sue/supervisor", "tom/care_team", "pat/patient", "aud/auditor"] {
            let refused = client.create_organization(suite.by(who, ask("1"))).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{who}");
        }
        client.create_organization(suite.by(EDITOR, ask("2"))).await.unwrap();
        client.create_organization(suite.by(INTEGRATION, ask("3"))).await.unwrap();
        let ask = pb::ListOrganizationsRequest::default();
        let all = client.list_organizations(suite.by(CASE_MANAGER, ask.clone())).await.unwrap();
        assert_eq!(all.into_inner().organizations.len(), 2);
        let refused = client.list_organizations(suite.by("aud/auditor", ask)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_verification_holds_for_ninety_days() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let clinic = made(&suite, clinic()).await;
        let mut ask = pb::VerifyRecordRequest {
            name: clinic.name.clone(),
            etag: clinic.etag,
            method: pb::verification::Method::Phone.into(),
            note: "the number rings".to_owned(),
            ..Default::default()
        };
        let seen = client.verify_record(suite.by(EDITOR, ask.clone())).await.unwrap().into_inner();
        assert_eq!((seen.state(), seen.verifier.as_str()), (State::Verified, "eve"));

        suite.advance(Duration::days(90)).await;
        let read = pb::GetOrganizationRequest { name: clinic.name.clone() };
        let read =
            client.get_organization(suite.by(CASE_MANAGER, read)).await.unwrap().into_inner();
        assert_eq!(read.verification.unwrap().state(), State::Lapsed);
        assert_eq!(read.etag, "\"3\"", "made, verified, lapsed");

        let stale = client.verify_record(suite.by(EDITOR, ask.clone())).await.unwrap_err();
        assert_eq!(stale.code(), Code::Aborted);
        ask.etag = read.etag;
        ask.disputed = true;
        let wrong = client.verify_record(suite.by(EDITOR, ask.clone())).await.unwrap().into_inner();
        assert_eq!((wrong.state(), wrong.next_due_time), (State::Disputed, None));

        ask.method = 0;
        ask.note = "x".repeat(1001);
        ask.verify_time = Some((suite.now() + Duration::seconds(1)).into());
        let refused = client.verify_record(suite.by(EDITOR, ask.clone())).await.unwrap_err();
        assert_eq!(fields(&refused), ["method", "note", "verify_time"]);
        let refused = client.verify_record(suite.by(CASE_MANAGER, ask)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}
