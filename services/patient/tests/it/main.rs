//! The patient service through its client, in process.
mod team;

use caseward_api::patient::v1::{self as pb, patient_service_client::PatientServiceClient};
use caseward_api::types::v1::HumanName;
use caseward_server::{Process, Transport, settings::Layers};
use tonic::{Code, Request};

static VERIFIER: std::sync::OnceLock<caseward_server::token::Verifier> = std::sync::OnceLock::new();

async fn start(dir: &std::path::Path) -> (Process, PatientServiceClient<Transport>) {
    let layers = Layers::load(None, &[caseward_patient::DEFAULTS]).unwrap();
    let layers = layers.with("data", dir.to_str().unwrap()).unwrap();
    let layers = layers.with("peers.care_plan", "http://127.0.0.1:9").unwrap();
    let mut process = Process::new(layers.common().unwrap()).await.unwrap();
    caseward_patient::start(layers.section("patient").unwrap(), &mut process).await.unwrap();
    process.ready().unwrap();
    VERIFIER.set(process.verifier().clone()).unwrap();
    let client = PatientServiceClient::new(process.peer("patient"));
    (process, client)
}

fn req<T>(who: &str, t: T) -> Request<T> {
    let mut r = Request::new(t);
    let (subject, role) = who.split_once('/').unwrap();
    let who = VERIFIER
        .get()
        .unwrap()
        .mint(
            subject,
            &[role],
            caseward_server::LOCAL_ORGANIZATION,
            std::time::Duration::from_secs(600),
            caseward_core::Clock::System.now(),
        )
        .unwrap();
    r.metadata_mut().insert("authorization", format!("Bearer {who}").parse().unwrap());
    r
}

#[tokio::test]
async fn smoke() {
    let dir = std::env::temp_dir().join(format!("cw-{}", uuid::Uuid::now_v7()));
    let (_p, mut c) = start(&dir).await;
    let ask = pb::CreatePatientRequest {
        patient: Some(pb::Patient {
            names: vec![HumanName {
                family: "Byron".into(),
                given: vec!["Ada".into()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let a = c.create_patient(req("ana/case_manager", ask.clone())).await.unwrap().into_inner();
    let b = c.create_patient(req("ana/case_manager", ask.clone())).await.unwrap().into_inner();
    assert_eq!(a, b);
    let got = c
        .get_patient(req("ana/case_manager", pb::GetPatientRequest { name: a.name.clone() }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got, a);
    let e = c
        .get_patient(req("bob/case_manager", pb::GetPatientRequest { name: a.name.clone() }))
        .await
        .unwrap_err();
    assert_eq!(e.code(), Code::NotFound);
    let e = c
        .create_patient(req("ana/case_manager", pb::CreatePatientRequest::default()))
        .await
        .unwrap_err();
    println!("{e:?}");
    let l = c
        .list_patients(req("sue/supervisor", pb::ListPatientsRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(l.patients.len(), 1);
    let mut up = a.clone();
    up.names[0].family = "King".into();
    let up = pb::UpdatePatientRequest {
        patient: Some(up),
        update_mask: None,
        request_id: String::new(),
    };
    let u = c.update_patient(req("ana/case_manager", up.clone())).await.unwrap().into_inner();
    assert_eq!(u.etag, "\"2\"");
    assert_eq!(
        c.update_patient(req("ana/case_manager", up)).await.unwrap_err().code(),
        Code::Aborted
    );
    let mut set = tokio::task::JoinSet::new();
    for n in 0..200 {
        let mut c = c.clone();
        let mut ask = ask.clone();
        ask.request_id = String::new();
        set.spawn(async move {
            c.create_patient(req("ana/case_manager", ask)).await.map_err(|e| (n, e)).unwrap();
        });
    }
    let t = std::time::Instant::now();
    while set.join_next().await.transpose().unwrap().is_some() {}
    println!("200 creates in {:?}", t.elapsed());
}
