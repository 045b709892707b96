//! The same calls over sockets: a caller, the door and a peer that share nothing but HTTP.
use caseward_api::patient::v1::{GetPatientRequest, patient_service_client::PatientServiceClient};
use caseward_gateway::Settings;
use caseward_server::{
    accept::{self, Limits},
    transport::Transport,
};
use http::Uri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt;
use tower::{ServiceExt, service_fn};

use crate::peer::{KNOWN, PATIENTS, Peer, ada};

struct Wire {
    door: std::net::SocketAddr,
    peer: Peer,
    _serving: DropGuard,
}

impl Wire {
    async fn start() -> Self {
        let stop = CancellationToken::new();
        let peer = Peer::default();
        let owner = peer.owner();
        let service = service_fn(move |req| {
            let owner = owner.clone();
            async move { Ok(owner.oneshot(req).await.unwrap()) }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept::serve(listener, None, Limits::default(), service, stop.clone()));

        let owner = Transport::remote(uri(address));
        let router =
            caseward_gateway::routes([(PATIENTS.to_owned(), owner)].into(), &Settings::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        tokio::spawn(accept::serve(
            listener,
            None,
            Limits::default(),
            router.unwrap(),
            stop.clone(),
        ));
        Wire { door, peer, _serving: stop.drop_guard() }
    }

    /// One request as HTTP/1.1, and the whole answer.
    async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.door).await.unwrap();
        let headers = "host: caseward\r\nauthorization: Bearer a.b.c\r\nconnection: close";
        let request = format!("{request}\r\n{headers}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }
}

fn uri(address: std::net::SocketAddr) -> Uri {
    format!("http://{address}").parse().unwrap()
}

#[tokio::test]
async fn calls_and_errors_cross_two_connections_whole() {
    let wire = Wire::start().await;
    let channel = Endpoint::from(uri(wire.door)).connect().await.unwrap();
    let mut client = PatientServiceClient::new(channel);
    let get = |name: &str| GetPatientRequest { name: name.into() };
    let mut req = tonic::Request::new(get(KNOWN));
    req.set_timeout(std::time::Duration::from_secs(5));
    req.metadata_mut().insert("x-caseward-subject", "mallory".parse().unwrap());
    let reply = client.get_patient(req).await.unwrap();
    assert_eq!(*reply.get_ref(), ada());
    let (_, headers) = wire.peer.last();
    assert!(headers.contains_key("grpc-timeout") && !headers.contains_key("x-caseward-subject"));
    let refused = client.get_patient(get("patients/merged")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "STATE_NOT_ALLOWED");
}

#[tokio::test]
async fn rest_and_readiness_answer_http_1() {
    let wire = Wire::start().await;
    let reply = wire.http(&format!("GET /v1/{KNOWN} HTTP/1.1")).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains(r#""family":"Byron""#), "{reply}");
    let reply = wire.http("GET /readyz HTTP/1.1").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("SERVING"), "{reply}");
    let reply = wire.http("HEAD /v1/patients HTTP/1.1").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\n"), "{reply}");
}
