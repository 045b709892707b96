//! Loads: idempotent, by identifier, one bad record costs that one only.
use std::time::Instant;

use caseward_api::{
    directory::v1 as pb,
    types::v1::{IngestOutcome, ingest_outcome::Action},
};
use caseward_testkit::databases;
use tonic::Code;

use crate::suite::{CASE_MANAGER, EDITOR, INTEGRATION, Suite, npi};

fn clinic(number: usize) -> pb::Organization {
    pb::Organization {
        identifiers: vec![npi(&format!("12300{number:05}"))],
        display_name: format!("Clinic {number}"),
        ..Default::default()
    }
}

fn actions(outcomes: &[IngestOutcome]) -> Vec<Action> {
    outcomes.iter().map(IngestOutcome::action).collect()
}

async fn organizations(suite: &Suite, organizations: &[pb::Organization]) -> Vec<IngestOutcome> {
    let organizations = organizations.to_vec();
    let ask = pb::IngestOrganizationsRequest { organizations, ..Default::default() };
    let mut client = suite.client.clone();
    let reply = client.ingest_organizations(suite.by(INTEGRATION, ask)).await.unwrap();
    reply.into_inner().outcomes
}

async fn locations(suite: &Suite, locations: Vec<pb::Location>) -> Vec<IngestOutcome> {
    let ask = pb::IngestLocationsRequest { locations, ..Default::default() };
    let mut client = suite.client.clone();
    let reply = client.ingest_locations(suite.by(INTEGRATION, ask)).await.unwrap();
    reply.into_inner().outcomes
}

#[tokio::test]
async fn a_second_load_of_the_same_changes_nothing() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let all: Vec<pb::Organization> = (0..200).map(clinic).collect();
        let first = organizations(&suite, &all).await;
        assert_eq!(actions(&first), vec![Action::Created; 200]);
        let second = organizations(&suite, &all).await;
        assert_eq!(actions(&second), vec![Action::Unchanged; 200]);
        let names = |outcomes: &[IngestOutcome]| -> Vec<String> {
            outcomes.iter().map(|outcome| outcome.name.clone()).collect()
        };
        assert_eq!(names(&first), names(&second));
    }
}

#[tokio::test]
async fn a_load_brings_a_record_up_to_date_and_keeps_what_other_sources_know_it_by() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut known = clinic(1);
        organizations(&suite, &[known.clone()]).await;
        known.display_name = "Clinic at the river".to_owned();
        known.identifiers = vec![npi("1230000001"), npi("9990000001")];
        let outcome = organizations(&suite, &[known.clone()]).await.remove(0);
        assert_eq!(outcome.action(), Action::Updated);

        known.identifiers = vec![npi("9990000001")];
        let again = organizations(&suite, &[known]).await.remove(0);
        assert_eq!((again.action(), &again.name), (Action::Unchanged, &outcome.name));
        let ask = pb::GetOrganizationRequest { name: outcome.name };
        let mut client = suite.client.clone();
        let row = client.get_organization(suite.by(CASE_MANAGER, ask)).await.unwrap().into_inner();
        assert_eq!(row.display_name, "Clinic at the river");
        assert_eq!(row.identifiers, [npi("1230000001"), npi("9990000001")]);
        assert_eq!(row.etag, "\"2\"");
    }
}

#[tokio::test]
async fn one_bad_record_costs_that_one_and_those_that_name_it() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut bad = clinic(2);
        bad.display_name = String::new();
        bad.aliases = vec![String::new()];
        let mut part = clinic(3);
        part.part_of =
            "organizations?identifier=http://hl7.org/fhir/sid/us-npi|1230000002".to_owned();
        let mut nameless = clinic(4);
        nameless.identifiers = vec![];
        let outcomes = organizations(&suite, &[clinic(1), bad, part, nameless]).await;
        let expected = [Action::Created, Action::Failed, Action::Failed, Action::Failed];
        assert_eq!(actions(&outcomes), expected);
        let fields = |outcome: &IngestOutcome| -> Vec<String> {
            outcome.violations.iter().map(|violation| violation.field.clone()).collect()
        };
        assert_eq!(fields(&outcomes[1]), ["organization.display_name", "organization.aliases[0]"]);
        assert_eq!(fields(&outcomes[2]), ["organization.part_of"]);
        assert_eq!(fields(&outcomes[3]), ["organization.identifiers"]);
    }
}

#[tokio::test]
async fn records_name_each_other_by_identifier_within_a_load_and_across_loads() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        // The part comes before the whole.
        let mut part = clinic(1);
        part.part_of =
            "organizations?identifier=http://hl7.org/fhir/sid/us-npi|1230000002".to_owned();
        let outcomes = organizations(&suite, &[part, clinic(2)]).await;
        assert_eq!(actions(&outcomes), [Action::Created, Action::Created]);
        let mut client = suite.client.clone();
        let ask = pb::GetOrganizationRequest { name: outcomes[0].name.clone() };
        let part = client.get_organization(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(part.part_of, outcomes[1].name);

        let place = pb::Location {
            identifiers: vec![npi("1230000001")],
            display_name: "Main street".to_owned(),
            managing_organization:
                "organizations?identifier=http://hl7.org/fhir/sid/us-npi|1230000001".to_owned(),
            ..Default::default()
        };
        let lost = pb::Location {
            identifiers: vec![npi("5")],
            managing_organization: "organizations?identifier=http://hl7.org/fhir/sid/us-npi|0"
                .to_owned(),
            ..place.clone()
        };
        let outcomes = locations(&suite, vec![place, lost]).await;
        assert_eq!(actions(&outcomes), [Action::Created, Action::Failed]);
        assert_eq!(outcomes[1].violations[0].field, "location.managing_organization");
        let ask = pb::GetLocationRequest { name: outcomes[0].name.clone() };
        let place = client.get_location(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(place.managing_organization, part.name);
    }
}

#[tokio::test]
async fn an_identifier_of_two_records_is_refused_not_guessed() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        organizations(&suite, &[clinic(1), clinic(2)]).await;
        let mut both = clinic(1);
        both.identifiers.extend(clinic(2).identifiers);
        let outcome = organizations(&suite, &[both]).await.remove(0);
        assert_eq!(outcome.violations[0].field, "organization.identifiers");
    }
}

#[tokio::test]
async fn a_record_that_comes_twice_in_one_load_is_made_once() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut renamed = clinic(1);
        renamed.display_name = "Clinic One".to_owned();
        let outcomes = organizations(&suite, &[clinic(1), renamed.clone(), renamed]).await;
        assert_eq!(actions(&outcomes), [Action::Created, Action::Updated, Action::Unchanged]);
        let mut client = suite.client.clone();
        let ask = pb::ListOrganizationsRequest::default();
        let all = client.list_organizations(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(all.organizations.len(), 1);
        assert_eq!(all.organizations[0].display_name, "Clinic One");
    }
}

#[tokio::test]
async fn only_an_integration_loads_and_at_most_two_hundred_at_a_time() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let ask = |count| pb::IngestOrganizationsRequest {
            organizations: (0..count).map(clinic).collect(),
            ..Default::default()
        };
        for who in [EDITOR, CASE_MANAGER] {
            let refused = client.ingest_organizations(suite.by(who, ask(1))).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
        for count in [0, 201] {
            let asked = suite.by(INTEGRATION, ask(count));
            let refused = client.ingest_organizations(asked).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
    }
}

#[tokio::test]
async fn thousands_of_records_go_in_within_seconds() {
    for database in databases().await {
        let kind = format!("{database:?}");
        let suite = Suite::start(database).await;
        let all: Vec<pb::Organization> = (0..4000).map(clinic).collect();
        for round in ["made", "left alone"] {
            let start = Instant::now();
            for some in all.chunks(200) {
                organizations(&suite, some).await;
            }
            let took = start.elapsed();
            println!("{kind}: 4000 records {round} in {took:?}");
            assert!(took.as_secs() < 60, "{took:?}");
        }
    }
}
