//! Loads: found by identifier, the same twice, and one that is bad costs itself only.
use caseward_api::{
    patient::v1::{
        self as pb,
        consent::{State, Type},
    },
    types::v1::{Date, IngestOutcome, ingest_outcome::Action},
};
use caseward_core::{Ctx, data::Identifier};
use caseward_server::LOCAL_ORGANIZATION;
use caseward_store::identifier as index;
use prost_types::FieldMask;
use sea_orm::{ConnectionTrait, QueryTrait, Statement};
use tonic::Code;
use uuid::Uuid;

use crate::world::{Caller, code, concept, identifier, person, worlds};

fn actions(outcomes: &[IngestOutcome]) -> Vec<Action> {
    outcomes.iter().map(IngestOutcome::action).collect()
}

async fn patients(caller: &mut Caller, family: &str) -> Vec<IngestOutcome> {
    let patient = |family, number| pb::Patient {
        names: person(family),
        identifiers: identifier(number),
        ..Default::default()
    };
    let nobody = pb::Patient { names: person("Nobody"), ..Default::default() };
    let patients = vec![patient(family, "1"), nobody, patient("Lamb", "2")];
    let request = pb::IngestPatientsRequest { patients, ..Default::default() };
    caller.ingest_patients(request).await.unwrap().into_inner().outcomes
}

const WHOSE: &str = "patients?identifier=urn:test:mrn|1";

async fn consent(caller: &mut Caller, state: State) -> IngestOutcome {
    let consent = pb::Consent {
        r#type: Type::Release.into(),
        state: state.into(),
        identifiers: identifier("c"),
        ..Default::default()
    };
    let consents = vec![pb::PatientConsent { patient: WHOSE.to_owned(), consent: Some(consent) }];
    let request = pb::IngestConsentsRequest { consents, ..Default::default() };
    caller.ingest_consents(request).await.unwrap().into_inner().outcomes.remove(0)
}

#[tokio::test]
async fn patients_loaded_twice_are_unchanged_and_what_is_new_is_taken() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        let (made, kept, bad) = (Action::Created, Action::Unchanged, Action::Failed);
        assert_eq!(actions(&patients(&mut hub, "Byron").await), [made, bad, made]);
        assert_eq!(actions(&patients(&mut hub, "Byron").await), [kept, bad, kept]);
        let outcomes = patients(&mut hub, "King").await;
        assert_eq!(actions(&outcomes), [Action::Updated, bad, kept]);
        assert_eq!(outcomes[1].violations[0].field, "patient.identifiers");

        let mut ana = world.caller("ana", "case_manager");
        let request = pb::IngestPatientsRequest::default();
        assert_eq!(code(ana.ingest_patients(request).await), Code::PermissionDenied);
    }
}

/// A load of the daughter of whoever has the number.
fn daughter() -> pb::IngestRelatedPersonsRequest {
    let related_person = pb::RelatedPerson {
        relationships: vec![concept("daughter")],
        identifiers: identifier("r"),
        ..Default::default()
    };
    let related_persons = vec![pb::PatientRelatedPerson {
        patient: WHOSE.to_owned(),
        related_person: Some(related_person),
    }];
    pb::IngestRelatedPersonsRequest { related_persons, ..Default::default() }
}

#[tokio::test]
async fn what_is_loaded_below_a_patient_finds_them_by_identifier() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        patients(&mut hub, "Byron").await;
        let coverage = |patient: &str, member_id: &str| pb::PatientCoverage {
            patient: patient.to_owned(),
            coverage: Some(pb::Coverage {
                payer_display: "Medicaid".to_owned(),
                member_id: member_id.to_owned(),
                identifiers: identifier("v"),
                ..Default::default()
            }),
        };
        let people = daughter();
        let rounds = [
            ("9", Action::Created, Action::Created),
            ("9", Action::Unchanged, Action::Unchanged),
            ("10", Action::Updated, Action::Unchanged),
        ];
        for (member_id, of_coverage, of_person) in rounds {
            let coverages = vec![
                coverage(WHOSE, member_id),
                coverage("patients?identifier=urn:test:mrn|404", member_id),
                coverage("patients?identifier=urn:test:mrn|2", member_id),
            ];
            let request = pb::IngestCoveragesRequest { coverages, ..Default::default() };
            let outcomes = hub.ingest_coverages(request).await.unwrap().into_inner().outcomes;
            assert_eq!(actions(&outcomes), [of_coverage, Action::Failed, Action::Failed]);
            assert_eq!(outcomes[1].violations[0].field, "patient");
            assert_eq!(outcomes[2].violations[0].field, "coverage.identifiers");
            let outcomes = hub.ingest_related_persons(people.clone()).await.unwrap();
            assert_eq!(actions(&outcomes.into_inner().outcomes), [of_person]);
        }
    }
}

#[tokio::test]
async fn two_persons_who_share_a_number_stay_two_in_whatever_order_they_come() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        let patient = |family: &str, own: &str| pb::Patient {
            names: person(family),
            identifiers: [identifier(own), identifier("shared")].concat(),
            ..Default::default()
        };
        let mut load = async |patient: pb::Patient| {
            let request =
                pb::IngestPatientsRequest { patients: vec![patient], ..Default::default() };
            hub.ingest_patients(request).await.unwrap().into_inner().outcomes.remove(0)
        };
        let betsy = load(patient("Johnson", "betsy")).await;
        let patricia = load(patient("Noelle", "patricia")).await;
        assert_eq!((betsy.action(), patricia.action()), (Action::Created, Action::Created));
        assert_ne!(betsy.name, patricia.name);
        for _ in 0..2 {
            assert_eq!(load(patient("Johnson", "betsy")).await.action(), Action::Unchanged);
            assert_eq!(load(patient("Noelle", "patricia")).await.action(), Action::Unchanged);
        }
        // Her own number still finds her when her name is another.
        let married = load(patient("Ray", "patricia")).await;
        assert_eq!((married.action(), &married.name), (Action::Updated, &patricia.name));
        // Somebody who may be the same person is: another system numbers her otherwise.
        let elsewhere = load(patient("johnson", "elsewhere")).await;
        assert_eq!((elsewhere.action(), &elsewhere.name), (Action::Updated, &betsy.name));
    }
}

#[tokio::test]
async fn two_sources_that_both_count_from_one_do_not_make_two_persons_one() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        let patient = |family: &str, year: i32, own: &str| pb::Patient {
            names: person(family),
            birth_date: Some(Date { year, month: 5, day: 3 }),
            identifiers: [identifier("1"), identifier(own)].concat(),
            ..Default::default()
        };
        let mut load = async |patient: pb::Patient| {
            let request =
                pb::IngestPatientsRequest { patients: vec![patient], ..Default::default() };
            hub.ingest_patients(request).await.unwrap().into_inner().outcomes.remove(0)
        };
        let first = load(patient("Johnson", 1950, "mrn-a")).await;
        let second = load(patient("Noelle", 1988, "mrn-b")).await;
        assert_eq!((first.action(), second.action()), (Action::Created, Action::Created));
        for _ in 0..2 {
            let again = load(patient("Noelle", 1988, "mrn-b")).await;
            assert_eq!((again.action(), &again.name), (Action::Unchanged, &second.name));
        }
        // Who has no number of their own cannot be told apart from the first, and is not taken for them.
        let stranger =
            pb::Patient { identifiers: identifier("1"), ..patient("Okafor", 1971, "none") };
        assert_eq!(load(stranger).await.action(), Action::Failed);
        // One of both may change: people marry, and dates are corrected.
        let corrected = load(patient("Johnson", 1951, "mrn-a")).await;
        assert_eq!((corrected.action(), &corrected.name), (Action::Updated, &first.name));
    }
}

#[tokio::test]
async fn a_load_vouches_for_the_identifiers_that_it_says_and_for_no_other_on_record() {
    for world in worlds().await {
        let patient = |family: &str, numbers: &[&str]| pb::Patient {
            names: person(family),
            identifiers: numbers.iter().flat_map(|number| identifier(number)).collect(),
            ..Default::default()
        };
        let mut ana = world.caller("ana", "case_manager");
        let typed = pb::CreatePatientRequest {
            patient: Some(patient("Byron", &["a", "own", "mistyped"])),
            ..Default::default()
        };
        let byron = ana.create_patient(typed).await.unwrap().into_inner().name;
        let mut hub = world.caller("hub", "integration");
        let mut load = async |family: &str, numbers: &[&str]| {
            let patients = vec![patient(family, numbers)];
            let request = pb::IngestPatientsRequest { patients, ..Default::default() };
            let outcome =
                hub.ingest_patients(request).await.unwrap().into_inner().outcomes.remove(0);
            (outcome.action(), outcome.name)
        };
        let (made, updated, unchanged) = (Action::Created, Action::Updated, Action::Unchanged);
        assert_eq!(load("Byron", &["a", "b"]).await, (updated, byron.clone()));
        let (action, king) = load("King", &["mistyped"]).await;
        assert_eq!((action, king == byron), (made, false));
        assert_eq!(load("King", &["mistyped"]).await, (unchanged, king));
        // What ana typed stays on record, and keeps neither of them from being loaded on.
        assert_eq!(load("Byron", &["a", "b", "c"]).await, (updated, byron.clone()));
        let row = ana.get_patient(pb::GetPatientRequest { name: byron.clone() }).await.unwrap();
        let numbers = ["a", "b", "c", "mistyped", "own"];
        assert_eq!(row.into_inner().identifiers, patient("Byron", &numbers).identifiers);

        assert_eq!(load("Byron", &["a", "own"]).await, (unchanged, byron));
        let (_, lamb) = load("Lamb", &["lamb", "own"]).await;
        let mut sue = world.caller("sue", "supervisor");
        let row = sue.get_patient(pb::GetPatientRequest { name: lamb }).await.unwrap();
        let theirs = row.into_inner().identifiers;
        assert_eq!(theirs, identifier("lamb"), "the other is vouched to be Byron's");
    }
}

/// What staff change of a record, as a mask.
fn mask(fields: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: fields.iter().map(|field| (*field).to_owned()).collect() })
}

#[tokio::test]
async fn a_death_and_a_time_zone_on_record_outlast_loads_that_do_not_speak_of_them() {
    for world in worlds().await {
        let (mut hub, mut sue) =
            (world.caller("hub", "integration"), world.caller("sue", "supervisor"));
        let name = patients(&mut hub, "Byron").await.remove(0).name;
        let get = pb::GetPatientRequest { name: name.clone() };
        let row = sue.get_patient(get.clone()).await.unwrap().into_inner();
        let died = Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 });
        let patient =
            pb::Patient { deceased_time: died, time_zone: "America/Denver".to_owned(), ..row };
        let update_mask = mask(&["deceased", "time_zone"]);
        let request =
            pb::UpdatePatientRequest { patient: Some(patient), update_mask, ..Default::default() };
        sue.update_patient(request).await.unwrap();
        for (family, action) in [("Byron", Action::Unchanged), ("King", Action::Updated)] {
            assert_eq!(patients(&mut hub, family).await[0].action(), action);
            let row = sue.get_patient(get.clone()).await.unwrap().into_inner();
            assert_eq!((row.deceased, row.deceased_time), (true, died));
            assert_eq!(row.time_zone, "America/Denver");
        }
        // What a source does say counts.
        let said = pb::Patient {
            names: person("King"),
            identifiers: identifier("1"),
            deceased: true,
            time_zone: "America/Boise".to_owned(),
            ..Default::default()
        };
        let request = pb::IngestPatientsRequest { patients: vec![said], ..Default::default() };
        hub.ingest_patients(request).await.unwrap();
        let row = sue.get_patient(get).await.unwrap().into_inner();
        assert_eq!((row.deceased_time, &row.time_zone[..]), (died, "America/Boise"));
    }
}

#[tokio::test]
async fn what_staff_know_of_a_relative_and_of_a_coverage_outlasts_a_load_that_cannot_say_it() {
    for world in worlds().await {
        let (mut hub, mut sue) =
            (world.caller("hub", "integration"), world.caller("sue", "supervisor"));
        patients(&mut hub, "Byron").await;
        let mut relative = async || {
            let outcomes = hub.ingest_related_persons(daughter()).await.unwrap();
            outcomes.into_inner().outcomes.remove(0)
        };
        let name = relative().await.name;
        let get = pb::GetRelatedPersonRequest { name };
        let row = sue.get_related_person(get).await.unwrap().into_inner();
        let request = pb::UpdateRelatedPersonRequest {
            related_person: Some(pb::RelatedPerson {
                time_zone: "America/Denver".to_owned(),
                ..row
            }),
            update_mask: mask(&["time_zone"]),
            ..Default::default()
        };
        sue.update_related_person(request).await.unwrap();
        assert_eq!(relative().await.action(), Action::Unchanged);

        let mut coverage = async |plan_display: &str| {
            let coverage = pb::Coverage {
                payer_display: "Medicaid".to_owned(),
                plan_display: plan_display.to_owned(),
                identifiers: identifier("v"),
                ..Default::default()
            };
            let coverages =
                vec![pb::PatientCoverage { patient: WHOSE.to_owned(), coverage: Some(coverage) }];
            let request = pb::IngestCoveragesRequest { coverages, ..Default::default() };
            hub.ingest_coverages(request).await.unwrap().into_inner().outcomes.remove(0)
        };
        let name = coverage("Gold").await.name;
        let get = pb::GetCoverageRequest { name };
        let row = sue.get_coverage(get.clone()).await.unwrap().into_inner();
        let plan = format!("insurancePlans/{}", Uuid::now_v7());
        let due = Some(Date { year: 2026, month: 9, day: 30 });
        let request = pb::UpdateCoverageRequest {
            coverage: Some(pb::Coverage {
                plan: plan.clone(),
                redetermination_due_date: due,
                ..row
            }),
            update_mask: mask(&["plan", "redetermination_due_date"]),
            ..Default::default()
        };
        sue.update_coverage(request).await.unwrap();
        assert_eq!(coverage("Gold").await.action(), Action::Unchanged);
        // Called otherwise it is another plan, of which staff have not said which record it has.
        for (words, action, plan) in [
            ("", Action::Updated, &plan[..]),
            ("Gold", Action::Updated, &plan),
            ("Silver", Action::Updated, ""),
        ] {
            assert_eq!(coverage(words).await.action(), action);
            let row = sue.get_coverage(get.clone()).await.unwrap().into_inner();
            assert_eq!((&row.plan[..], row.redetermination_due_date), (plan, due), "{words}");
        }
    }
}

#[tokio::test]
async fn a_consent_whose_time_is_over_is_loaded_as_ended_and_a_second_load_changes_nothing() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        patients(&mut hub, "Byron").await;
        let end = prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 };
        let consent = pb::Consent {
            r#type: Type::Release.into(),
            state: State::Active.into(),
            identifiers: identifier("ended"),
            period: Some(caseward_api::types::v1::Period { start: None, end: Some(end) }),
            ..Default::default()
        };
        let consents =
            vec![pb::PatientConsent { patient: WHOSE.to_owned(), consent: Some(consent) }];
        let request = pb::IngestConsentsRequest { consents, ..Default::default() };
        for action in [Action::Created, Action::Unchanged] {
            let outcomes =
                hub.ingest_consents(request.clone()).await.unwrap().into_inner().outcomes;
            assert_eq!(actions(&outcomes), [action]);
            let get = pb::GetConsentRequest { name: outcomes[0].name.clone() };
            let mut sue = world.caller("sue", "supervisor");
            assert_eq!(sue.get_consent(get).await.unwrap().into_inner().state(), State::Inactive);
        }
    }
}

#[tokio::test]
async fn a_loaded_consent_keeps_its_state_and_one_that_was_taken_back_stays_so() {
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        patients(&mut hub, "Byron").await;
        let first = consent(&mut hub, State::Active).await;
        assert_eq!(first.action(), Action::Created);
        assert_eq!(consent(&mut hub, State::Active).await.action(), Action::Unchanged);
        // A source that does not say where it stands does not change where it stands.
        assert_eq!(consent(&mut hub, State::Unspecified).await.action(), Action::Unchanged);

        let mut sue = world.caller("sue", "supervisor");
        let name = first.name;
        let get = pb::GetConsentRequest { name: name.clone() };
        let held = sue.get_consent(get.clone()).await.unwrap().into_inner();
        assert_eq!(held.state(), State::Active);
        let request = pb::RevokeConsentRequest { name, etag: held.etag, ..Default::default() };
        sue.revoke_consent(request).await.unwrap();
        let refused = consent(&mut hub, State::Active).await;
        assert_eq!(refused.action(), Action::Failed);
        assert_eq!(refused.violations[0].field, "consent.state");
        assert_eq!(consent(&mut hub, State::Inactive).await.action(), Action::Unchanged);
        assert_eq!(sue.get_consent(get).await.unwrap().into_inner().state(), State::Inactive);

        // Only a load says where a consent stands: whoever writes one begins with a draft.
        let written = pb::Consent {
            r#type: Type::Release.into(),
            state: State::Active.into(),
            ..Default::default()
        };
        let (parent, _) = held.name.split_once("/consents/").unwrap();
        let request = pb::CreateConsentRequest {
            parent: parent.to_owned(),
            consent: Some(written),
            ..Default::default()
        };
        let written = hub.create_consent(request).await.unwrap().into_inner();
        assert_eq!(written.state(), State::Draft);
    }
}

#[tokio::test]
async fn a_load_says_whether_a_record_is_in_use() {
    use pb::patient::State;
    for world in worlds().await {
        let mut hub = world.caller("hub", "integration");
        let mut load = async |state: State| {
            let patient = pb::Patient {
                names: person("Byron"),
                identifiers: identifier("1"),
                state: state.into(),
                ..Default::default()
            };
            let request =
                pb::IngestPatientsRequest { patients: vec![patient], ..Default::default() };
            let outcome =
                hub.ingest_patients(request).await.unwrap().into_inner().outcomes.remove(0);
            let request = pb::GetPatientRequest { name: outcome.name.clone() };
            let row = hub.get_patient(request).await;
            (outcome.action(), row.map(|row| row.into_inner().state()).ok())
        };
        let (active, inactive) = (Some(State::Active), Some(State::Inactive));
        assert_eq!(load(State::Unspecified).await, (Action::Created, active));
        assert_eq!(load(State::Inactive).await, (Action::Updated, inactive));
        // A source that does not say so has no opinion.
        assert_eq!(load(State::Unspecified).await, (Action::Unchanged, inactive));
        assert_eq!(load(State::Active).await, (Action::Updated, active));
        assert_eq!(load(State::Merged).await, (Action::Failed, None));
    }
}

#[tokio::test]
async fn who_has_one_of_some_identifiers_is_looked_up_and_not_searched_for() {
    for world in worlds().await.into_iter().filter(|world| world.database.is_sqlite()) {
        let db = sea_orm::Database::connect(&world.database.url).await.unwrap();
        let ctx = Ctx::task("patient", "test", LOCAL_ORGANIZATION, world.process.clock.clone());
        for count in [1, 2, 50] {
            let wanted: Vec<Identifier> = (0..count)
                .map(|n| Identifier { system: format!("urn:{n}"), value: n.to_string() })
                .collect();
            let holders = index::holders(&ctx, "patient", &wanted);
            let holders = holders.build(db.get_database_backend());
            let explain = format!("EXPLAIN QUERY PLAN {}", holders.sql);
            let plan = db.query_all_raw(Statement { sql: explain, ..holders }).await.unwrap();
            let steps: Vec<String> =
                plan.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
            let looked_up = "system=? AND value=?";
            assert!(steps.iter().any(|step| step.contains(looked_up)), "{steps:?}");
        }
    }
}
