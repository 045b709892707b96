//! Loads: idempotent, by identifier, one bad record costs that one only.
use std::time::Instant;

use caseward_api::{
    directory::v1 as pb,
    types::v1::{self as types, IngestOutcome, ingest_outcome::Action},
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

/// A number for the tax office, which a house and its branches share.
fn tax(value: &str) -> types::Identifier {
    types::Identifier {
        system: "urn:oid:2.16.840.1.113883.4.4".to_owned(),
        value: value.to_owned(),
    }
}

/// The number that a server counts by.
fn source(server: &str, number: usize) -> types::Identifier {
    let value = format!("{server}/Organization/{number}");
    types::Identifier { system: "https://caseward.dev/fhir/id".to_owned(), value }
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
async fn an_identifier_of_another_record_stays_with_it_and_the_load_says_so() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let first = organizations(&suite, &[clinic(1), clinic(2)]).await;
        let mut both = clinic(1);
        both.identifiers.extend(clinic(2).identifiers);
        let outcome = organizations(&suite, &[both]).await.remove(0);
        assert_eq!((outcome.action(), &outcome.name), (Action::Unchanged, &first[0].name));
        assert_eq!(outcome.left_out[0].field, "organization.identifiers");
        // One that has nothing of its own is nobody.
        let mut other = clinic(3);
        other.identifiers = vec![tax("1")];
        let named = pb::Organization { display_name: "Bakery".to_owned(), ..other.clone() };
        let outcomes = organizations(&suite, &[other, named]).await;
        assert_eq!(actions(&outcomes), [Action::Created, Action::Ignored]);
        assert_eq!(outcomes[1].left_out[0].field, "organization.identifiers");
    }
}

#[tokio::test]
async fn a_number_that_two_share_makes_nobody_another() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let branch = |number: usize, name: &str| {
            let mut branch = clinic(number);
            branch.display_name = name.to_owned();
            branch.identifiers.insert(0, source("one", number));
            branch.identifiers.push(tax("7"));
            branch
        };
        // Two branches of one house have its name and its tax number, and an NPI each.
        let branches = [branch(1, "Mercy Health"), branch(2, "Mercy Health")];
        let outcomes = organizations(&suite, &branches).await;
        assert_eq!(actions(&outcomes), [Action::Created, Action::Created]);
        assert!(outcomes[0].left_out.is_empty() && !outcomes[1].left_out.is_empty());

        // Another server counts from one, too, and gives names alone.
        let stranger = |name: &str, identifiers| pb::Organization {
            display_name: name.to_owned(),
            identifiers,
            ..Default::default()
        };
        let counted = stranger("Eastside Imaging", vec![source("one", 1), tax("8")]);
        let outcome = organizations(&suite, &[counted]).await.remove(0);
        assert_eq!((outcome.action(), outcome.left_out.len()), (Action::Created, 1));
        // A tax number and a name may be any branch; two numbers of one record are that record.
        let alike = stranger("MERCY HEALTH, INC.", vec![source("two", 1), tax("7")]);
        let outcome = organizations(&suite, &[alike]).await.remove(0);
        assert_eq!(outcome.name, outcomes[0].name);
        let two = stranger("Mercy Health", vec![source("three", 1), source("two", 1), tax("7")]);
        let outcome = organizations(&suite, &[two]).await.remove(0);
        assert_eq!(outcome.name, outcomes[0].name);
        for _ in 0..2 {
            let again = organizations(&suite, &branches).await;
            assert_eq!(actions(&again), [Action::Unchanged, Action::Unchanged]);
        }
    }
}

#[tokio::test]
async fn a_source_does_not_overrule_what_another_says() {
    for reversed in [false, true] {
        for database in databases().await {
            let suite = Suite::start(database).await;
            // One registry knows the legal name and the mail, the other what people call it and when it is open.
            let registry = pb::Organization { description: "a hospital".to_owned(), ..clinic(1) };
            let mut plan = clinic(1);
            plan.display_name = "Clinic 1 at the river".to_owned();
            plan.aliases = vec!["The river".to_owned()];
            plan.identifiers.insert(0, source("plan", 1));
            let mut sources = [registry, plan];
            if reversed {
                sources.reverse();
            }
            let load = async |sources: &[pb::Organization]| {
                let mut all = vec![];
                for one in sources {
                    all.push(organizations(&suite, std::slice::from_ref(one)).await.remove(0));
                }
                all
            };
            let first = load(&sources).await;
            assert_eq!(actions(&first), [Action::Created, Action::Updated]);
            let mut client = suite.client.clone();
            let mut stored = async || {
                let ask = pb::GetOrganizationRequest { name: first[0].name.clone() };
                client.get_organization(suite.by(EDITOR, ask)).await.unwrap().into_inner()
            };
            let row = stored().await;
            assert_eq!(row.display_name, sources[0].display_name);
            assert_eq!((&*row.description, row.aliases.len()), ("a hospital", 1));

            // Whatever the order, what was said before is no news.
            let backwards: Vec<pb::Organization> = sources.iter().rev().cloned().collect();
            for again in [&sources[..], &backwards] {
                assert_eq!(actions(&load(again).await), [Action::Unchanged, Action::Unchanged]);
            }
            assert_eq!(stored().await, row);

            // Each has the last word on what it said.
            sources[0].display_name = "Clinic One".to_owned();
            sources[1].display_name = "The old river".to_owned();
            assert_eq!(actions(&load(&sources).await), [Action::Updated, Action::Unchanged]);
            assert_eq!(stored().await.display_name, "Clinic One");
            // What a source takes back goes, if nobody else says it.
            for one in &mut sources {
                one.description = String::new();
                one.aliases = vec![];
            }
            assert_eq!(
                load(&sources).await.iter().filter(|one| one.action() == Action::Updated).count(),
                2
            );
            let row = stored().await;
            assert_eq!((&*row.description, row.aliases.len()), ("", 0));
        }
    }
}

#[tokio::test]
async fn what_an_editor_corrected_stands_until_the_source_has_news() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut known = clinic(1);
        let loaded = organizations(&suite, &[known.clone()]).await.remove(0);
        let mut client = suite.client.clone();
        let ask = pb::GetOrganizationRequest { name: loaded.name };
        let mut row = client.get_organization(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        row.display_name = "Clinic Uno".to_owned();
        row.identifiers.push(tax("9"));
        let ask = pb::UpdateOrganizationRequest { organization: Some(row), ..Default::default() };
        client.update_organization(suite.by(EDITOR, ask)).await.unwrap();
        let again = organizations(&suite, &[known.clone()]).await;
        assert_eq!(actions(&again), [Action::Unchanged]);
        known.display_name = "Clinic 1, moved".to_owned();
        assert_eq!(actions(&organizations(&suite, &[known]).await), [Action::Updated]);
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
