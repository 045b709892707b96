//! Every method of every contract refuses nobody and strangers: a new RPC is covered the moment it is written.
use std::time::Duration;

use caseward_server::{Transport, policy::Methods};
use caseward_testkit::{Caller, Suite};
use http_body_util::BodyExt;
use tonic::{Code, Status, body::Body};
use tower::ServiceExt;

/// Calls `path` with an empty message; answers the code, wherever it stands.
pub(crate) async fn call(transport: Transport, path: &str) -> Code {
    let body = http_body_util::Full::new(tonic::codegen::Bytes::from_static(&[0; 5]));
    let request = http::Request::post(format!("http://suite{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(body))
        .unwrap();
    let reply = transport.oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(reply.headers()) {
        return status.code();
    }
    let body = tokio::time::timeout(Duration::from_secs(10), reply.into_body().collect()).await;
    let trailers = body.unwrap().unwrap().trailers().cloned().unwrap_or_default();
    Status::from_header_map(&trailers).map_or(Code::Unknown, |status| status.code())
}

pub(crate) fn door(caller: &Caller) -> Transport {
    caller.client(|transport| transport)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_refuses_nobody_and_strangers() {
    let suite = Suite::one().await;
    let stranger = door(&suite.caller("eve", &["nothing_at_all"]));
    let mut wrong = vec![];
    for method in Methods::get().iter() {
        let nobody = call(suite.transport(), method.path).await;
        let eve = call(stranger.clone(), method.path).await;
        if (nobody, eve) != (Code::Unauthenticated, Code::PermissionDenied) {
            wrong.push((method.path, nobody, eve));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_method_panics_on_an_empty_request() {
    let suite = Suite::one().await;
    let all = ["supervisor", "integration", "directory_editor", "operator", "auditor", "service"];
    let everybody = door(&suite.caller("sam", &all));
    let mut wrong = vec![];
    for method in Methods::get().iter().filter(|method| !method.streams) {
        let code = call(everybody.clone(), method.path).await;
        if matches!(
            code,
            Code::Internal | Code::Unknown | Code::Unimplemented | Code::Unauthenticated
        ) {
            wrong.push((method.path, code));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
