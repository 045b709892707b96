//! What the suite stands on goes away and comes back: nobody restarts anything, and nothing is half done.
use std::time::Duration;

use caseward_api::{
    notification::v1::{ListInboxItemsRequest, inbox_service_client::InboxServiceClient},
    patient::v1::{self as people, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_testkit::{Caller, Suite, Victim, suites};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::cycle::enrolled;

fn someone(family: &str) -> people::CreatePatientRequest {
    let name = HumanName { family: family.to_owned(), ..Default::default() };
    let patient = Some(people::Patient { names: vec![name], ..Default::default() });
    people::CreatePatientRequest { patient, request_id: Uuid::now_v7().to_string() }
}

async fn create(
    by: &Caller,
    request: &people::CreatePatientRequest,
) -> Result<people::Patient, Status> {
    let made = by.client(PatientServiceClient::new).create_patient(request.clone()).await;
    Ok(made?.into_inner())
}

/// A database that does not serve: PostgreSQL is dead, or somebody else writes the file and does not come to an end.
enum Away {
    Dead,
    Locked(DatabaseConnection),
}

impl Away {
    async fn send(suite: &mut Suite) -> Away {
        if suite.is_cluster() {
            suite.kill(Victim::Postgres, &mut fastrand::Rng::with_seed(1)).await;
            return Away::Dead;
        }
        let mut options = ConnectOptions::new(suite.database("patient"));
        options.max_connections(1).sqlx_logging(false);
        let other = Database::connect(options).await.unwrap();
        other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
        Away::Locked(other)
    }

    async fn back(self, suite: &mut Suite) {
        match self {
            Away::Dead => suite.restart(Victim::Postgres).await,
            Away::Locked(other) => {
                other.execute_unprepared("ROLLBACK").await.unwrap();
                other.close().await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_away_serves_again_without_a_restart() {
    for mut suite in Suite::plan().own_postgres().suites().await {
        let sam = suite.caller("sam", &["supervisor"]);
        let kept = create(&sam, &someone("Kept")).await.unwrap();
        let processes: Vec<u32> =
            suite.members().iter().map(|member| member.program().id()).collect();

        let away = Away::send(&mut suite).await;
        let request = someone("Meanwhile");
        let refused = create(&sam, &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{}: {refused}", suite.shape());
        assert!(refused.get_details_retry_info().is_some(), "{}: {refused:?}", suite.shape());
        if suite.is_cluster() {
            unready(&suite).await;
        }

        away.back(&mut suite).await;
        suite.ready().await;
        let mut client = sam.client(PatientServiceClient::new);
        let again = people::GetPatientRequest { name: kept.name.clone() };
        assert_eq!(client.get_patient(again).await.unwrap().into_inner(), kept);
        let made = create(&sam, &request).await.unwrap();
        let all = people::ListPatientsRequest::default();
        let all = client.list_patients(all).await.unwrap().into_inner().patients;
        let names: Vec<&str> = all.iter().map(|patient| patient.name.as_str()).collect();
        assert_eq!(names.len(), 2, "{}: something was half done: {names:?}", suite.shape());
        assert!(names.contains(&made.name.as_str()));
        let after: Vec<u32> = suite.members().iter().map(|member| member.program().id()).collect();
        assert_eq!(processes, after);
        assert!(suite.members().iter().all(|member| member.program().is_running()));
    }
}

async fn unready(suite: &Suite) {
    for _ in 0..200 {
        if !suite.is_ready().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it says that it is ready, and its databases are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_was_away_brings_all_that_happened_meanwhile_once() {
    for mut suite in suites().await {
        let sam = suite.caller("sam", &["supervisor"]);
        let first = enrolled(&sam, "ana").await.name;
        told(&suite, std::slice::from_ref(&first)).await;
        if let Some(bus) = suite.nats() {
            bus.stop().await;
        }
        let mut cases = vec![first];
        for _ in 0..5 {
            // Writes need no bus.
            cases.push(enrolled(&sam, "ana").await.name);
        }
        if let Some(bus) = suite.nats() {
            bus.start().await;
        }
        told(&suite, &cases).await;
        let after = enrolled(&sam, "ana").await.name;
        cases.push(after);
        told(&suite, &cases).await;
        suite.ready().await;
    }
}

/// Waits until ana was told of each of `cases`; she is told of none twice.
async fn told(suite: &Suite, cases: &[String]) {
    let mut inbox = suite.caller("ana", &["case_manager"]).client(InboxServiceClient::new);
    let mut heard = vec![];
    for _ in 0..600 {
        let ask = ListInboxItemsRequest { parent: "inboxes/me".to_owned(), ..Default::default() };
        let items = inbox.list_inbox_items(ask).await.unwrap().into_inner().items;
        heard = items.into_iter().map(|item| item.case).collect();
        if heard.len() >= cases.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut wanted = cases.to_vec();
    wanted.sort();
    heard.sort();
    assert_eq!(heard, wanted, "{}", suite.shape());
}
