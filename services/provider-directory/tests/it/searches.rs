//! Lists and searches: each filter alone and together, pages without gaps, the nearest first.
use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_testkit::databases;
use tonic::Code;

use crate::suite::{CASE_MANAGER, EDITOR, INTEGRATION, Suite, coded, fields, npi};

const NORTH_HAVEN: &str = "06473";

/// What the tests of this file search: two networks, three places, four services.
struct Town {
    suite: Suite,
    green: String,
    blue: String,
    services: Vec<String>,
}

impl Town {
    async fn start(database: caseward_testkit::Database) -> Town {
        let suite = Suite::start(database).await;
        let networks = ["Green", "Blue"].map(|name| pb::Organization {
            identifiers: vec![npi(name)],
            display_name: name.to_owned(),
            types: vec![coded("ntwk", "Network")],
            ..Default::default()
        });
        let mut client = suite.client.clone();
        let organizations = networks.to_vec();
        let ask = pb::IngestOrganizationsRequest { organizations, ..Default::default() };
        let networks = client.ingest_organizations(suite.by(INTEGRATION, ask)).await.unwrap();
        let [green, blue] = names(networks.into_inner().outcomes).try_into().unwrap();

        let address = |postal_code: &str| types::Address {
            postal_code: postal_code.to_owned(),
            ..Default::default()
        };
        // North Haven by its postal code, Hamden beside it by its position, Boston far away.
        let position = Some(types::LatLng { latitude: 41.40, longitude: -72.90 });
        let locations = vec![
            place("north-haven", Some(address("06473-2129")), None),
            place("hamden", Some(address("06514")), position),
            place(
                "boston",
                Some(address("02101")),
                Some(types::LatLng { latitude: 42.36, longitude: -71.06 }),
            ),
        ];
        let ask = pb::IngestLocationsRequest { locations, ..Default::default() };
        let places = client.ingest_locations(suite.by(INTEGRATION, ask)).await.unwrap();
        let [haven, hamden, boston] = names(places.into_inner().outcomes).try_into().unwrap();

        let said = |accepting: pb::AcceptingPatients, network: &str| pb::NewPatients {
            accepting: accepting.into(),
            network: network.to_owned(),
            ..Default::default()
        };
        let healthcare_services = vec![
            pb::HealthcareService {
                specialties: vec![coded("207RC0000X", "Cardiovascular Disease")],
                locations: vec![boston.clone(), hamden.clone()],
                languages: vec!["es".to_owned()],
                networks: vec![green.clone(), blue.clone()],
                new_patients: vec![
                    said(pb::AcceptingPatients::New, ""),
                    said(pb::AcceptingPatients::None, &blue),
                ],
                provided_by: green.clone(),
                ..service("Heart Center", "outpat")
            },
            pb::HealthcareService {
                locations: vec![haven.clone()],
                ..service("Café of Meals", "meals")
            },
            pb::HealthcareService {
                locations: vec![boston],
                new_patients: vec![said(pb::AcceptingPatients::ExistingOnly, "")],
                ..service("Meals on Wheels", "meals")
            },
            pb::HealthcareService {
                locations: vec![haven],
                status: pb::RecordStatus::Inactive.into(),
                ..service("Closed Kitchen", "meals")
            },
        ];
        let ask = pb::IngestHealthcareServicesRequest { healthcare_services, ..Default::default() };
        let services = client.ingest_healthcare_services(suite.by(INTEGRATION, ask)).await.unwrap();
        let services = names(services.into_inner().outcomes);
        Town { suite, green, blue, services }
    }

    async fn search(&self, ask: pb::SearchServicesRequest) -> Vec<pb::ServiceMatch> {
        let mut client = self.suite.client.clone();
        let asked = self.suite.by(CASE_MANAGER, ask);
        client.search_services(asked).await.unwrap().into_inner().matches
    }

    async fn finds(&self, ask: pb::SearchServicesRequest) -> Vec<String> {
        let found = self.search(ask).await.into_iter();
        found.map(|hit| hit.healthcare_service.unwrap().display_name).collect()
    }
}

fn names(outcomes: Vec<types::IngestOutcome>) -> Vec<String> {
    let name = |outcome: types::IngestOutcome| {
        assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
        outcome.name
    };
    outcomes.into_iter().map(name).collect()
}

fn place(
    name: &str,
    address: Option<types::Address>,
    position: Option<types::LatLng>,
) -> pb::Location {
    pb::Location {
        identifiers: vec![npi(name)],
        display_name: name.to_owned(),
        address,
        position,
        ..Default::default()
    }
}

fn service(name: &str, category: &str) -> pb::HealthcareService {
    pb::HealthcareService {
        identifiers: vec![npi(name)],
        display_name: name.to_owned(),
        categories: vec![coded(category, category)],
        ..Default::default()
    }
}

fn any() -> pb::SearchServicesRequest {
    pb::SearchServicesRequest::default()
}

#[tokio::test]
async fn services_in_use_are_found_by_what_was_asked_and_by_all_of_it() {
    for database in databases().await {
        let town = Town::start(database).await;
        let every = ["Café of Meals", "Heart Center", "Meals on Wheels"];
        assert_eq!(town.finds(any()).await, every);
        let text = |text: &str| pb::SearchServicesRequest { text: text.to_owned(), ..any() };
        assert_eq!(town.finds(text("CARDIO heart")).await, ["Heart Center"]);
        assert_eq!(town.finds(text("café")).await, ["Café of Meals"]);
        assert!(town.finds(text("heart meals")).await.is_empty());

        let meals = || pb::SearchServicesRequest { category: "meals".to_owned(), ..any() };
        assert_eq!(town.finds(meals()).await, ["Café of Meals", "Meals on Wheels"]);
        let wheels = pb::SearchServicesRequest { text: "wheel".to_owned(), ..meals() };
        assert_eq!(town.finds(wheels).await, ["Meals on Wheels"]);
        let specialty = "207RC0000X".to_owned();
        let heart = pb::SearchServicesRequest { specialty, language: "ES".to_owned(), ..any() };
        assert_eq!(town.finds(heart).await, ["Heart Center"]);
    }
}

#[tokio::test]
async fn what_is_said_of_one_network_goes_before_what_is_said_of_all() {
    for database in databases().await {
        let town = Town::start(database).await;
        let open = |network: &str| pb::SearchServicesRequest {
            accepting_new_patients: true,
            network: network.to_owned(),
            ..any()
        };
        assert_eq!(town.finds(open("")).await, ["Heart Center"]);
        assert_eq!(town.finds(open(&town.green)).await, ["Heart Center"]);
        assert!(town.finds(open(&town.blue)).await.is_empty());
        let blue = pb::SearchServicesRequest { network: town.blue.clone(), ..any() };
        assert_eq!(town.finds(blue).await, ["Heart Center"]);
    }
}

#[tokio::test]
async fn the_nearest_comes_first_with_its_nearest_place_and_its_provider() {
    for database in databases().await {
        let town = Town::start(database).await;
        let near = |postal_code: &str, within_meters| pb::SearchServicesRequest {
            postal_code: postal_code.to_owned(),
            within_meters,
            ..any()
        };
        let found = town.search(near(NORTH_HAVEN, 0)).await;
        let told: Vec<(&str, &str, bool)> = found
            .iter()
            .map(|hit| {
                let service = &hit.healthcare_service.as_ref().unwrap().display_name;
                let place = &hit.location.as_ref().unwrap().display_name;
                (service.as_str(), place.as_str(), hit.distance_meters < 10_000.0)
            })
            .collect();
        let expected = [("Café of Meals", "north-haven", true), ("Heart Center", "hamden", true)];
        assert_eq!(told, expected);
        assert_eq!(found[1].organization_display_name, "Green");

        assert_eq!(town.finds(near("02101", 0)).await, ["Heart Center", "Meals on Wheels"]);
        let all = town.finds(near("06473-0001", 300_000)).await;
        assert_eq!(all, ["Café of Meals", "Heart Center", "Meals on Wheels"]);
        assert_eq!(town.finds(near(NORTH_HAVEN, 100)).await, ["Café of Meals"]);
        let here = pb::SearchServicesRequest {
            near: Some(types::LatLng { latitude: 42.36, longitude: -71.06 }),
            category: "meals".to_owned(),
            ..near(NORTH_HAVEN, 1000)
        };
        assert_eq!(town.finds(here).await, ["Meals on Wheels"]);
        assert!(town.finds(near("00000", 0)).await.is_empty());
    }
}

#[tokio::test]
async fn pages_of_a_search_have_no_gaps_whatever_the_order() {
    for database in databases().await {
        let town = Town::start(database).await;
        let everywhere = pb::SearchServicesRequest {
            postal_code: NORTH_HAVEN.to_owned(),
            within_meters: 500_000,
            ..any()
        };
        for ask in [any(), everywhere] {
            let whole = town.finds(ask.clone()).await;
            let mut paged = vec![];
            let mut ask = pb::SearchServicesRequest { page_size: 1, ..ask };
            loop {
                let mut client = town.suite.client.clone();
                let asked = town.suite.by(CASE_MANAGER, ask.clone());
                let page = client.search_services(asked).await.unwrap().into_inner();
                let found = page.matches.into_iter();
                paged.extend(found.map(|hit| hit.healthcare_service.unwrap().display_name));
                ask.page_token = page.next_page_token;
                if ask.page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(paged, whole);
        }
    }
}

#[tokio::test]
async fn everything_wrong_with_a_search_is_said_at_once() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let ask = pb::SearchServicesRequest {
            text: "x".repeat(201),
            postal_code: "abc".to_owned(),
            within_meters: -1,
            network: "networks/1".to_owned(),
            near: Some(types::LatLng { latitude: f64::NAN, longitude: 0.0 }),
            ..any()
        };
        let mut client = suite.client.clone();
        let refused = client.search_services(suite.by(CASE_MANAGER, ask)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(fields(&refused), ["text", "network", "near", "within_meters", "postal_code"]);
    }
}

#[tokio::test]
async fn lists_are_narrowed_by_each_filter() {
    for database in databases().await {
        let town = Town::start(database).await;
        let (suite, mut client) = (&town.suite, town.suite.client.clone());
        let ask = pb::ListLocationsRequest { postal_code: "064".to_owned(), ..Default::default() };
        let found = client.list_locations(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(found.locations.len(), 1);
        assert!(found.locations[0].position.is_some(), "from the postal code");

        let ask = pb::ListHealthcareServicesRequest {
            name_prefix: "CAF".to_owned(),
            category: "meals".to_owned(),
            ..Default::default()
        };
        let found = client.list_healthcare_services(suite.by(EDITOR, ask)).await.unwrap();
        assert_eq!(found.into_inner().healthcare_services[0].name, town.services[1]);
        let ask = pb::ListHealthcareServicesRequest {
            provided_by: town.green.clone(),
            ..Default::default()
        };
        let found = client.list_healthcare_services(suite.by(EDITOR, ask)).await.unwrap();
        assert_eq!(found.into_inner().healthcare_services[0].name, town.services[0]);

        let ask = pb::ListOrganizationsRequest {
            identifier: "none".to_owned(),
            postal_code: "12".to_owned(),
            name_prefix: "x".repeat(301),
            ..Default::default()
        };
        let refused = client.list_organizations(suite.by(EDITOR, ask)).await.unwrap_err();
        assert_eq!(fields(&refused), ["identifier", "name_prefix", "postal_code"]);
        let ask = pb::ListOrganizationsRequest { r#type: "ntwk".to_owned(), ..Default::default() };
        let found = client.list_organizations(suite.by(EDITOR, ask)).await.unwrap().into_inner();
        assert_eq!(found.organizations.len(), 2);
    }
}

#[tokio::test]
async fn pages_of_a_list_have_no_gaps() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut client = suite.client.clone();
        let practitioners = (0..23)
            .map(|number| pb::Practitioner {
                identifiers: vec![npi(&number.to_string())],
                names: vec![types::HumanName {
                    family: format!("Lee{number}"),
                    ..Default::default()
                }],
                specialties: vec![coded("207Q00000X", "Family Medicine")],
                ..Default::default()
            })
            .collect();
        let ask = pb::IngestPractitionersRequest { practitioners, ..Default::default() };
        let made = client.ingest_practitioners(suite.by(INTEGRATION, ask)).await.unwrap();
        let mut made = names(made.into_inner().outcomes);
        let mut ask = pb::ListPractitionersRequest {
            page_size: 5,
            name_prefix: "lee".to_owned(),
            specialty: "207Q00000X".to_owned(),
            ..Default::default()
        };
        let mut listed = vec![];
        loop {
            let page = client.list_practitioners(suite.by(CASE_MANAGER, ask.clone())).await;
            let page = page.unwrap().into_inner();
            listed.extend(page.practitioners.into_iter().map(|row| row.name));
            ask.page_token = page.next_page_token;
            if ask.page_token.is_empty() {
                break;
            }
        }
        made.sort();
        assert_eq!(listed, made);
    }
}
