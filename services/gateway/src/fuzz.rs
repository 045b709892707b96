//! What the front door withstands over REST. Called by `tests/fuzz`, and here by a few inputs.
use std::{
    cell::RefCell,
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::{ServiceExt, service_fn};

use crate::{Settings, contract::Contracts, routes};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(caseward_api::DESCRIPTORS).expect("descriptors"));

/// The door, and what the last call to a peer was.
struct Door {
    runtime: Runtime,
    router: Router,
    asked: Arc<Mutex<Option<Asked>>>,
}

/// A call as a peer got it, and what it answered.
#[derive(Clone)]
struct Asked {
    path: String,
    request: Vec<u8>,
    answer: DynamicMessage,
}

thread_local! {
    static DOOR: RefCell<Option<Door>> = const { RefCell::new(None) };
}

impl Door {
    /// A door before services that answer with as much of the request as their answer has room for.
    fn open() -> Door {
        let asked = Arc::new(Mutex::new(None));
        let peer = {
            let asked = Arc::clone(&asked);
            service_fn(move |req: http::Request<tonic::body::Body>| {
                let asked = Arc::clone(&asked);
                async move {
                    let path = req.uri().path().to_owned();
                    let frame = req.into_body().collect().await.expect("a body").to_bytes();
                    let request = frame[5..].to_vec();
                    let method = method(&path);
                    let answer = shown(method.output(), &request);
                    let mut frame = vec![0];
                    frame.extend((answer.encoded_len() as u32).to_be_bytes());
                    frame.extend(answer.encode_to_vec());
                    let known = Some(Asked { path, request, answer });
                    *asked.lock().unwrap_or_else(PoisonError::into_inner) = known;
                    let ok = HeaderMap::from_iter([(
                        http::HeaderName::from_static("grpc-status"),
                        HeaderValue::from_static("0"),
                    )]);
                    let body = Full::new(Bytes::from(frame)).with_trailers(async { Some(Ok(ok)) });
                    let reply = http::Response::builder().header(CONTENT_TYPE, "application/grpc");
                    let reply = reply.body(tonic::body::Body::new(body)).expect("a reply");
                    Ok::<_, Infallible>(reply)
                }
            })
        };
        let services = POOL.services().map(|service| service.full_name().to_owned());
        let owners = services.map(|service| (service, peer.clone())).collect();
        let router = routes(owners, &Settings::default()).expect("the contracts are right");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Door { runtime: runtime.expect("a runtime"), router, asked }
    }

    /// The answer to one call, and the call that a peer got of it, if one did.
    fn call(
        &self,
        verb: &str,
        url: &str,
        body: &[u8],
    ) -> Option<(StatusCode, Bytes, Option<Asked>)> {
        let body = Body::from(body.to_vec());
        let req = Request::builder().method(verb).uri(url).header(CONTENT_TYPE, "application/json");
        let req = req.header(AUTHORIZATION, "Bearer a.b.c").body(body).ok()?;
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (status, answer) = self.runtime.block_on(async {
            let reply = self.router.clone().oneshot(req).await.expect("the door answers");
            let (parts, body) = reply.into_parts();
            (parts.status, body.collect().await.expect("an answer to its end").to_bytes())
        });
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some((status, answer, asked))
    }
}

/// REST calls become messages and come back as JSON without loss, or are refused with a reason.
///
/// - No input is answered with a fault of ours.
/// - The message that a peer gets is read from its JSON as the same message.
/// - A call whose body is the whole request is the same when that JSON is sent.
/// - The JSON that goes back is read as what the peer answered.
///
/// An input is a verb, a URL and a body: `POST /v1/cases?a=b`, a line end, then the body.
pub fn rest(input: &[u8]) {
    tried(input);
}

/// Whether the call reached a peer.
fn tried(input: &[u8]) -> bool {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let Some((verb, url)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
    else {
        return false;
    };
    DOOR.with_borrow_mut(|door| {
        let door = door.get_or_insert_with(Door::open);
        let Some((status, answer, asked)) = door.call(verb, url, body) else { return false };
        let Some(asked) = asked else {
            assert!(
                !status.is_server_error() || url.starts_with("/readyz"),
                "{status} to a caller's fault"
            );
            return false;
        };
        assert_eq!(status, StatusCode::OK, "a peer answered");
        let method = method(&asked.path);
        let request = DynamicMessage::decode(method.input(), &*asked.request).expect("a request");
        let Ok(json) = serde_json::to_value(&request) else {
            // Paths that no descriptor knows go on as they are, for the service to refuse.
            assert!(request.has_field_by_name("update_mask"), "what came as JSON has a JSON form");
            return true;
        };
        let read = DynamicMessage::deserialize(method.input(), &json).expect("and is read from it");
        assert_eq!(read.encode_to_vec(), asked.request, "JSON lost something");
        if verb == "POST" && whole(&method) {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let (status, _, again) =
                door.call(verb, path, json.to_string().as_bytes()).expect("the same URL");
            assert_eq!(status, StatusCode::OK, "what was accepted is accepted again");
            assert_eq!(again.map(|again| again.request), Some(asked.request));
        }
        let answers = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in answers.filter(|_| verb != "HEAD") {
            let json: Value = serde_json::from_slice(line).expect("an answer is JSON");
            let read = DynamicMessage::deserialize(method.output(), &json).expect("of its type");
            assert_eq!(read.encode_to_vec(), asked.answer.encode_to_vec());
        }
        true
    })
}

/// What of `bytes` is a message with a JSON form; an empty one where they are none.
fn shown(of: MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    let read = DynamicMessage::decode(of.clone(), bytes).ok();
    let json = read.and_then(|read| serde_json::to_value(&read).ok());
    let read = json.and_then(|json| DynamicMessage::deserialize(of.clone(), json).ok());
    read.unwrap_or_else(|| DynamicMessage::new(of))
}

fn method(path: &str) -> MethodDescriptor {
    let (service, name) = path[1..].split_once('/').expect("a path of gRPC");
    let service = POOL.get_service_by_name(service).expect("a service of ours");
    let mut methods = service.methods();
    methods.find(|method| method.name() == name).expect("a method of it")
}

/// Whether the body is the whole request.
fn whole(method: &MethodDescriptor) -> bool {
    static WHOLE: LazyLock<Vec<String>> = LazyLock::new(|| {
        let contracts = Contracts::read(caseward_api::DESCRIPTORS, |_| true).expect("contracts");
        let whole = contracts.methods.iter().filter(|method| {
            method.bindings.iter().all(|one| matches!(one.body, crate::contract::Body::Whole))
        });
        whole.map(|method| method.rpc.full_name().to_owned()).collect()
    });
    WHOLE.iter().any(|name| name == method.full_name())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_rest_call_is_a_message_without_loss_or_is_refused() {
        caseward_testkit::fuzz::few("rest", 1000, super::rest);
    }

    /// The control: a target whose calls were all refused at the door would find nothing wrong behind it.
    #[test]
    fn the_calls_that_others_are_made_from_reach_a_peer() {
        for call in ["create", "list", "update", "verb"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/seeds/rest/");
            let call = std::fs::read(format!("{folder}{call}")).unwrap();
            assert!(super::tried(&call), "{}", call.escape_ascii());
        }
    }
}
