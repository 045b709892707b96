//! Every method of every contract refuses nobody and strangers: a new RPC is covered the moment it is written.
use std::{collections::BTreeSet, time::Duration};

use caseward_server::{Transport, policy::Methods};
use caseward_testkit::{Caller, Suite};
use http_body_util::BodyExt;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// Calls `path` with an empty message; answers the code, wherever it stands.
pub(crate) async fn call(transport: Transport, path: &str) -> Code {
    send(transport, path, &[]).await.code()
}

/// Calls `path` with a message; answers the status, wherever it stands.
async fn send(transport: Transport, path: &str, message: &[u8]) -> Status {
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    let body = http_body_util::Full::new(tonic::codegen::Bytes::from(frame));
    let request = http::Request::post(format!("http://suite{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(body))
        .unwrap();
    let reply = transport.oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(reply.headers()) {
        return status;
    }
    let body = tokio::time::timeout(Duration::from_secs(10), reply.into_body().collect()).await;
    let trailers = body.unwrap().unwrap().trailers().cloned().unwrap_or_default();
    Status::from_header_map(&trailers).unwrap_or_else(|| Status::unknown("no status"))
}

/// Every method of the contracts.
fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(caseward_api::DESCRIPTORS).unwrap();
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// What no field of a list's request takes, in every field that could be wrong.
fn wrong(request: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(request.clone());
    for field in request.fields() {
        let value = match field.kind() {
            Kind::String => Value::String("x".repeat(3000)),
            Kind::Int32 => Value::I32(-1),
            Kind::Enum(_) => Value::EnumNumber(99),
            Kind::Message(inner) => {
                let mut value = DynamicMessage::new(inner);
                match field.name() {
                    "near" => value.set_field_by_name("latitude", Value::F64(1000.0)),
                    _ => value.set_field_by_name("seconds", Value::I64(i64::MAX)),
                }
                Value::Message(value)
            }
            // Either is right.
            Kind::Bool => continue,
            other => panic!("what is wrong for a {other:?}?"),
        };
        let value = if field.is_list() { Value::List(vec![value]) } else { value };
        message.set_field(&field, value);
    }
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_names_all_that_is_wrong_with_its_request() {
    let suite = Suite::one().await;
    let all = ["supervisor", "integration", "directory_editor", "operator", "auditor", "service"];
    let everybody = door(&suite.caller("sam", &all));
    let mut lists = methods();
    lists.retain(|method| method.input().get_field_by_name("page_size").is_some());
    let mut wanting = vec![];
    for method in &lists {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let message = wrong(&method.input());
        let status = send(everybody.clone(), &path, &message.encode_to_vec()).await;
        let said: BTreeSet<String> = match status.get_details_bad_request() {
            Some(bad) => bad.field_violations.into_iter().map(|one| one.field).collect(),
            None => BTreeSet::new(),
        };
        let mut sent = message.fields().map(|(field, _)| field.name().to_owned());
        let named =
            |field: &str| said.iter().any(|one| one.split(['[', '.']).next() == Some(field));
        if status.code() != Code::InvalidArgument || !sent.all(|field| named(&field)) {
            wanting.push((path, status.code(), status.message().to_owned()));
        }
    }
    assert!(wanting.is_empty(), "{wanting:#?}");
    assert!(lists.len() >= 30, "only {} lists were asked", lists.len());
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
    assert_eq!(Methods::get().iter().count(), methods().len(), "a method was not asked");
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
