//! Patients: made once, seen by those who are related, changed as last seen, and never taken by a colleague.
use std::slice::from_ref;

use caseward_api::{patient::v1 as pb, types::v1::ingest_outcome::Action};
use prost_types::FieldMask;
use time::Duration;
use tonic::Code;
use uuid::Uuid;

use crate::world::{code, fields, identifier, patient, person, sees, worlds};

#[tokio::test]
async fn a_repeated_request_makes_one_patient() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let request = pb::CreatePatientRequest {
            patient: Some(pb::Patient { names: person("Byron"), ..Default::default() }),
            request_id: Uuid::now_v7().to_string(),
        };
        let first = ana.create_patient(request.clone()).await.unwrap().into_inner();
        let again = ana.create_patient(request).await.unwrap().into_inner();
        assert_eq!(first, again);
        let mut sue = world.caller("sue", "supervisor");
        let all = sue.list_patients(pb::ListPatientsRequest::default()).await.unwrap();
        assert_eq!(all.into_inner().patients, [first]);
    }
}

#[tokio::test]
async fn whoever_registers_a_patient_sees_them_for_a_month_and_a_colleague_does_not() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut bob = world.caller("bob", "case_manager");
        let patient = patient(&mut ana).await;
        assert!(sees(&mut ana, &patient.name).await);
        assert!(!sees(&mut bob, &patient.name).await);
        world.advance(Duration::days(31)).await;
        assert!(!sees(&mut ana, &patient.name).await);
        assert!(sees(&mut world.caller("sue", "supervisor"), &patient.name).await);
    }
}

#[tokio::test]
async fn only_a_supervisor_says_who_a_patient_signs_in_as_and_the_former_one_sees_no_more() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sue = world.caller("sue", "supervisor");
        let patient = patient(&mut ana).await;
        let request = |patient: &pb::Patient, subject: &str| pb::UpdatePatientRequest {
            patient: Some(pb::Patient { subject: subject.to_owned(), ..patient.clone() }),
            update_mask: Some(FieldMask { paths: vec!["subject".to_owned()] }),
            ..Default::default()
        };
        let refused = ana.update_patient(request(&patient, "ana")).await;
        assert_eq!(fields(refused), ["patient.subject"]);
        let taken =
            pb::Patient { names: person("Byron"), subject: "ana".to_owned(), ..Default::default() };
        let refused = ana
            .create_patient(pb::CreatePatientRequest { patient: Some(taken), ..Default::default() })
            .await;
        assert_eq!(fields(refused), ["patient.subject"]);

        let (mut pat, mut kim) = (world.caller("pat", "patient"), world.caller("kim", "patient"));
        let mut row = patient;
        let moves = [("pat", (true, false)), ("kim", (false, true)), ("", (false, false))];
        for (subject, seen) in moves {
            row = sue.update_patient(request(&row, subject)).await.unwrap().into_inner();
            assert_eq!((sees(&mut pat, &row.name).await, sees(&mut kim, &row.name).await), seen);
            if subject == "kim" {
                assert_eq!(
                    fields(ana.update_patient(request(&row, "")).await),
                    ["patient.subject"]
                );
            }
        }
    }
}

#[tokio::test]
async fn a_patient_is_changed_as_last_seen_and_a_bad_one_is_told_all_that_is_wrong() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut row = patient(&mut ana).await;
        row.names = person("King");
        let request = pb::UpdatePatientRequest { patient: Some(row.clone()), ..Default::default() };
        let changed = ana.update_patient(request.clone()).await.unwrap().into_inner();
        assert_eq!(changed.names, row.names);
        assert_eq!(code(ana.update_patient(request).await), Code::Aborted);
        let bad = pb::Patient {
            gender: 99,
            time_zone: "Mars/Olympus".to_owned(),
            communications: vec![pb::Communication::default()],
            ..Default::default()
        };
        let request = pb::CreatePatientRequest { patient: Some(bad), ..Default::default() };
        let named = fields(ana.create_patient(request).await);
        for field in ["names", "gender", "time_zone", "communications[0].language"] {
            let field = format!("patient.{field}");
            assert!(named.contains(&field), "{field} in {named:?}");
        }
    }
}

#[tokio::test]
async fn no_two_patients_share_an_identifier_and_a_search_finds_the_one() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = pb::Patient {
            names: person("Byron"),
            identifiers: identifier("7"),
            ..Default::default()
        };
        let request = pb::CreatePatientRequest { patient: Some(row), ..Default::default() };
        let made = sue.create_patient(request.clone()).await.unwrap().into_inner();
        assert_eq!(code(sue.create_patient(request).await), Code::AlreadyExists);
        for (value, found) in [("7", vec![made.clone()]), ("8", vec![])] {
            let identifier = format!("urn:test:mrn|{value}");
            let request = pb::ListPatientsRequest { identifier, ..Default::default() };
            assert_eq!(sue.list_patients(request).await.unwrap().into_inner().patients, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_are_registered_at_once_only_whose_identifier_is_taken_is_refused() {
    for world in worlds().await {
        let (mut ana, sue) =
            (world.caller("ana", "case_manager"), world.caller("sue", "supervisor"));
        let made = |number: String| pb::CreatePatientRequest {
            patient: Some(pb::Patient {
                names: person("Byron"),
                identifiers: [identifier(&number), identifier(&format!("{number} too"))].concat(),
                ..Default::default()
            }),
            ..Default::default()
        };
        // Nobody vouches for it, so no rule of the table keeps it from another.
        ana.create_patient(made("taken".to_owned())).await.unwrap();
        let numbers = (0..24).map(|n| if n % 8 == 5 { "taken".to_owned() } else { n.to_string() });
        let all: Vec<_> = numbers
            .map(|number| {
                let (mut sue, request) = (sue.clone(), made(number.clone()));
                tokio::spawn(async move { (number, sue.create_patient(request).await) })
            })
            .collect();
        for one in all {
            let (number, answer) = one.await.unwrap();
            match &*number {
                "taken" => assert_eq!(code(answer), Code::AlreadyExists),
                _ => drop(answer.unwrap()),
            }
        }
    }
}

#[tokio::test]
async fn an_identifier_of_somebody_out_of_sight_is_answered_like_a_free_one() {
    for world in worlds().await {
        let (mut sue, mut ana) =
            (world.caller("sue", "supervisor"), world.caller("ana", "case_manager"));
        let patient = |family: &str, number: &str| pb::Patient {
            names: person(family),
            identifiers: identifier(number),
            ..Default::default()
        };
        let made = |family: &str, number: &str| pb::CreatePatientRequest {
            patient: Some(patient(family, number)),
            ..Default::default()
        };
        let known = sue.create_patient(made("Byron", "7")).await.unwrap().into_inner();
        let hers = ana.create_patient(made("Byron", "7")).await.unwrap().into_inner();
        assert_eq!(hers.identifiers, known.identifiers);
        // Of those whom one sees, no two have it.
        for caller in [&mut ana, &mut sue] {
            assert_eq!(code(caller.create_patient(made("King", "7")).await), Code::AlreadyExists);
        }
        let identifier = "urn:test:mrn|7".to_owned();
        let request = pb::ListPatientsRequest { identifier, ..Default::default() };
        let list = ana.list_patients(request.clone()).await.unwrap().into_inner().patients;
        assert_eq!(list, from_ref(&hers));
        let list = sue.list_patients(request).await.unwrap().into_inner().patients;
        assert_eq!(list, [known.clone(), hers]);

        let mut hub = world.caller("hub", "integration");
        let mut load = async |family: &str, number: &str| {
            let patients = vec![patient(family, number)];
            let request = pb::IngestPatientsRequest { patients, ..Default::default() };
            let outcome =
                hub.ingest_patients(request).await.unwrap().into_inner().outcomes.remove(0);
            (outcome.action(), outcome.name)
        };
        assert_eq!(load("Byron", "7").await, (Action::Unchanged, known.name));
        // A number that was typed wrong bars nobody from having it, and a registration that came early is taken up.
        let early = ana.create_patient(made("Early", "8")).await.unwrap().into_inner().name;
        let (action, right) = load("Right", "8").await;
        assert_eq!((action, right == early), (Action::Created, false));
        assert_eq!(load("Right", "8").await, (Action::Unchanged, right));
        let early = ana.create_patient(made("Early", "9")).await.unwrap().into_inner().name;
        assert_eq!(load("Early", "9").await, (Action::Unchanged, early.clone()));
        assert_eq!(load("Married", "9").await, (Action::Updated, early));
    }
}

#[tokio::test]
async fn every_patient_has_one_preference_which_they_may_write_themselves() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        let name = format!("{}/preference", patient.name);
        let request = pb::GetPreferenceRequest { name };
        let mut row = ana.get_preference(request.clone()).await.unwrap().into_inner();
        assert_eq!((&row.what_matters[..], row.update_time), ("", None));
        row.what_matters = "to be at home".to_owned();
        row.quiet_start = "21:00".to_owned();
        let update = |row: &pb::Preference| pb::UpdatePreferenceRequest {
            preference: Some(row.clone()),
            ..Default::default()
        };
        assert_eq!(fields(ana.update_preference(update(&row)).await), ["preference.quiet_end"]);
        row.quiet_end = "07:30".to_owned();
        row.time_zone = "america/new_york".to_owned();
        let first = ana.update_preference(update(&row)).await.unwrap().into_inner();
        assert_eq!(first.what_matters, "to be at home");
        assert_eq!(first.time_zone, "America/New_York", "as the database of zones spells it");
        for offset in ["+7:30", "-7:30", "7:+30"] {
            let bad = pb::Preference { quiet_end: offset.to_owned(), ..first.clone() };
            assert_eq!(fields(ana.update_preference(update(&bad)).await), ["preference.quiet_end"]);
        }
        for unknown in ["Mars/Olympus", "+05:00", "Etc/Unknown", "half past nine"] {
            let bad = pb::Preference { time_zone: unknown.to_owned(), ..first.clone() };
            assert_eq!(fields(ana.update_preference(update(&bad)).await), ["preference.time_zone"]);
        }
        assert_eq!(code(ana.update_preference(update(&row)).await), Code::Aborted);
        assert_eq!(ana.get_preference(request.clone()).await.unwrap().into_inner(), first);

        let mut sue = world.caller("sue", "supervisor");
        let subject = pb::UpdatePatientRequest {
            patient: Some(pb::Patient { subject: "pat".to_owned(), ..patient }),
            update_mask: Some(FieldMask { paths: vec!["subject".to_owned()] }),
            ..Default::default()
        };
        sue.update_patient(subject).await.unwrap();
        let mut pat = world.caller("pat", "patient");
        let own = pb::Preference { language: "es".to_owned(), ..first };
        let own = pat.update_preference(update(&own)).await.unwrap().into_inner();
        assert_eq!(own.language, "es");
    }
}
