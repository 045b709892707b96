//! gRPC and gRPC-Web through the door, and what must not get through it.
use axum::body::Body;
use caseward_api::patient::v1::{GetPatientRequest, patient_service_client::PatientServiceClient};
use caseward_gateway::Settings;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;

use crate::peer::{CASES, Door, KNOWN, PATIENTS, Peer, ada, frozen, unreachable};

const GET_PATIENT: &str = "/caseward.patient.v1.PatientService/GetPatient";

fn get(name: &str) -> GetPatientRequest {
    GetPatientRequest { name: name.into() }
}

fn framed(req: &impl Message) -> Vec<u8> {
    let mut out = vec![0; 5];
    out[4] = u8::try_from(req.encoded_len()).unwrap();
    out.extend(req.encode_to_vec());
    out
}

fn call(path: &str, kind: &str) -> http::request::Builder {
    Request::post(path).version(Version::HTTP_2).header("content-type", kind)
}

#[tokio::test]
async fn a_call_and_its_trailers_go_through_unread() {
    let door = Door::open();
    let mut client = PatientServiceClient::new(door.router.clone());
    let reply = client.get_patient(get(KNOWN)).await.unwrap();
    assert_eq!(*reply.get_ref(), ada());
    assert_eq!(reply.metadata().get("x-answered-by").unwrap(), "the peer");
    let refused = client.get_patient(get("patients/merged")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "STATE_NOT_ALLOWED");
}

#[tokio::test]
async fn no_word_of_ours_can_be_put_in_our_mouth() {
    let door = Door::open();
    let mut req = call(GET_PATIENT, "application/grpc");
    for name in ["authorization", "traceparent", "x-mine"] {
        req = req.header(name, "kept");
    }
    req = req.header("grpc-timeout", "5S");
    for name in [
        "x-caseward-subject",
        "X-CASEWARD-Roles",
        "baggage",
        "tracestate",
        "x-original-path",
        "x-forwarded-for",
        "connection",
    ] {
        req = req.header(name, "supervisor");
    }
    let reply = door.raw(req.body(Body::from(framed(&get(KNOWN)))).unwrap()).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let (path, headers) = door.peer.last();
    assert_eq!(path, GET_PATIENT);
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["authorization", "content-type", "grpc-timeout", "te", "traceparent", "x-mine"]
    );
}

#[tokio::test]
async fn no_odd_path_reaches_a_service() {
    let door = Door::open();
    let odd = [
        "/",
        "/caseward.patient.v1.PatientService",
        "/caseward.patient.v1.PatientService/",
        "//GetPatient",
        "/caseward.patient.v1.PatientService/GetPatient/",
        "/caseward.patient.v1.PatientService//GetPatient",
        "//caseward.patient.v1.PatientService/GetPatient",
        "/caseward.patient.v1.PatientService/getpatient",
        "/CASEWARD.patient.v1.PatientService/GetPatient",
        "/caseward.patient.v1.PatientService/Get%50atient",
        "/caseward.patient.v1.PatientService%2fGetPatient",
        "/caseward.patient.v1.PatientService/./GetPatient",
        "/x/../caseward.patient.v1.PatientService/GetPatient",
        "/caseward.patient.v1.PatientService/GetPatient?x=1",
        "/caseward.patient.v1.PatientService/DropPatients",
        "/grpc.health.v1.Health/check",
        "*",
        "/v1/patients",
        "/healthz",
    ];
    for path in odd {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"] {
            let reply =
                door.raw(call(path, kind).body(Body::from(framed(&get(KNOWN)))).unwrap()).await;
            assert_eq!(reply.headers()["grpc-status"], "12", "{path} {kind}");
        }
    }
    let long = format!("/{}", "a".repeat(8192));
    assert_eq!(
        door.raw(call(&long, "application/grpc").body(Body::empty()).unwrap()).await.headers()["grpc-status"],
        "12"
    );
    for verb in ["GET", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let req = call(GET_PATIENT, "application/grpc")
            .method(verb)
            .header("x-http-method-override", "POST");
        assert_eq!(
            door.raw(req.body(Body::empty()).unwrap()).await.headers()["grpc-status"],
            "12",
            "{verb}"
        );
    }
    let old = call(GET_PATIENT, "application/grpc")
        .version(Version::HTTP_11)
        .body(Body::empty())
        .unwrap();
    assert_eq!(door.raw(old).await.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn a_peer_that_is_gone_is_unavailable_and_worth_a_retry() {
    let peer = Peer::default();
    let owners = [(PATIENTS.to_owned(), unreachable()), (CASES.to_owned(), peer.owner())].into();
    let router = caseward_gateway::routes(owners, &Settings::default()).unwrap();
    let door = Door { router, peer };
    let mut client = PatientServiceClient::new(door.router.clone());
    let status = client.get_patient(get(KNOWN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    assert!(!status.message().contains("10.0.0.7"));
    let (status, error) = door.get("/v1/patients").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error["error"]["details"][0]["retryDelay"], "1s");
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_a_frozen_peer_waits_no_longer_than_said() {
    let owners = [(PATIENTS.to_owned(), frozen())].into();
    let router = caseward_gateway::routes(owners, &Settings::default()).unwrap();
    let door = Door { router, peer: Peer::default() };
    for (said, waits) in [(None, 5.0), (Some("250m"), 0.25), (Some("99999999H"), 30.0)] {
        let mut req = call(GET_PATIENT, "application/grpc");
        if let Some(said) = said {
            req = req.header("grpc-timeout", said);
        }
        let start = tokio::time::Instant::now();
        let reply = door.raw(req.body(Body::from(framed(&get(KNOWN)))).unwrap()).await;
        assert_eq!(reply.headers()["grpc-status"], "4", "{said:?}");
        let waited = start.elapsed().as_secs_f64();
        assert!((waits - 0.1..=waits).contains(&waited), "{said:?}: {waited}");
    }
}

#[tokio::test]
async fn a_deadline_that_does_not_read_is_refused_before_a_peer_is_asked() {
    let door = Door::open();
    for said in ["", "5", "5s", "-1S", "1.5S", "123456789S"] {
        let req = call(GET_PATIENT, "application/grpc").header("grpc-timeout", said);
        let reply = door.raw(req.body(Body::from(framed(&get(KNOWN)))).unwrap()).await;
        assert_eq!(reply.headers()["grpc-status"], "3", "{said:?}");
    }
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn grpc_web_carries_the_same_answer() {
    let door = Door::open();
    let req = Request::post(GET_PATIENT).header("content-type", "application/grpc-web+proto");
    let reply = door.raw(req.body(Body::from(framed(&get(KNOWN)))).unwrap()).await;
    assert_eq!(reply.headers()["content-type"], "application/grpc-web+proto");
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();
    let length = usize::from(bytes[4]);
    assert_eq!(caseward_api::patient::v1::Patient::decode(&bytes[5..5 + length]).unwrap(), ada());
    let trailers = &bytes[5 + length..];
    assert_eq!(trailers[0], 0x80);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
}
