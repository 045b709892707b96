//! Calls by reflection: JSON in, every byte of the answer out.
use std::time::Duration;

use caseward_server::Transport;
use caseward_testkit::wire;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::{Code, Status, body::Body, codegen::Bytes};
use tower::ServiceExt;

use super::contract::{self, Rpc};

/// Longer than any answer takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long an open stream is listened to.
const LISTEN: Duration = Duration::from_millis(300);

/// Everything that came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub http: StatusCode,
    pub code: Code,
    pub message: String,
    /// The details of a refusal, encoded.
    pub details: Vec<u8>,
    /// The headers, and the trailers after them.
    pub headers: HeaderMap,
    /// The messages, each with its frame.
    pub body: Vec<u8>,
}

/// Somebody who asks: a place to ask at, and a token or none.
#[derive(Clone, Debug)]
pub struct Voice {
    pub door: Transport,
    pub token: Option<String>,
}

impl Voice {
    pub fn new(door: &Transport, token: &str) -> Voice {
        Voice { door: door.clone(), token: Some(token.to_owned()) }
    }

    pub fn nobody(door: &Transport) -> Voice {
        Voice { door: door.clone(), token: None }
    }

    /// Asks, whatever comes.
    pub async fn ask(&self, name: &str, request: &Value) -> Answer {
        let rpc = contract::rpc(name);
        self.raw(&rpc.path, &[], &encode(rpc.method.input(), request)).await
    }

    /// Asks for what must be answered.
    pub async fn get(&self, name: &str, request: Value) -> Value {
        let answer = self.ask(name, &request).await;
        assert_eq!(answer.code, Code::Ok, "{name} {request}: {}", answer.message);
        answer.json(contract::rpc(name))
    }

    /// Sends `message` to `path` with more headers, and reads the answer to its end, or until a stream falls silent.
    pub async fn raw(&self, path: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
        self.bytes(path, headers, wire::message(message)).await
    }

    /// The same with a body that need not be a message.
    pub async fn bytes(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self
            .request(http::Method::POST, path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::new(Full::new(Bytes::from(body)))).expect("a request");
        send(&self.door, request).await
    }

    /// Posts `body` as JSON, whatever it is.
    pub async fn text(&self, url: &str, body: String) -> Answer {
        self.json(http::Method::POST, url, body).await
    }

    /// The same as JSON, over the REST paths of the gateway.
    pub async fn rest(&self, verb: http::Method, url: &str, body: &Value) -> Answer {
        if verb == http::Method::GET {
            let request = self.request(verb, url).body(Body::empty()).expect("a request");
            return send(&self.door, request).await;
        }
        self.json(verb, url, body.to_string()).await
    }

    async fn json(&self, verb: http::Method, url: &str, body: String) -> Answer {
        let request = self.request(verb, url).header("content-type", "application/json");
        let body = Body::new(Full::new(Bytes::from(body)));
        send(&self.door, request.body(body).expect("a request")).await
    }

    /// A request that shows the token, where there is one.
    fn request(&self, verb: http::Method, url: &str) -> http::request::Builder {
        let request = http::Request::builder().method(verb).uri(url);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

async fn send(door: &Transport, mut request: http::Request<Body>) -> Answer {
    if request.uri().authority().is_none() {
        let whole = format!("http://suite{}", request.uri());
        if let Ok(uri) = whole.parse() {
            *request.uri_mut() = uri;
        }
    }
    let path = request.uri().path().to_owned();
    let reply = tokio::time::timeout(PATIENCE, door.clone().oneshot(request)).await;
    let reply = reply.expect("an answer begins in time").expect("a transport answers");
    let (parts, mut body) = reply.into_parts();
    let mut headers = parts.headers;
    let mut read = vec![];
    let ends = contract::rpcs().iter().all(|rpc| rpc.path != path || !rpc.streams);
    let patience = if ends { PATIENCE } else { LISTEN };
    // A refusal stands in the headers; whatever else there is to read follows.
    if Status::from_header_map(&headers).is_none() {
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(patience, body.frame()).await {
            match frame.into_data() {
                Ok(data) => read.extend(data),
                Err(frame) => headers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
    }
    let status = Status::from_header_map(&headers);
    let http = parts.status;
    Answer {
        http,
        code: status.as_ref().map_or(Code::Unknown, Status::code),
        message: status.as_ref().map(|status| status.message().to_owned()).unwrap_or_default(),
        details: status.map(|status| status.details().to_vec()).unwrap_or_default(),
        headers,
        body: read,
    }
}

impl Answer {
    /// The one message, as JSON with every field that is set.
    pub fn json(&self, rpc: &Rpc) -> Value {
        let message = self.body.get(5..).unwrap_or_default();
        let message = DynamicMessage::decode(rpc.method.output(), message)
            .expect("a message of the contract");
        let options = SerializeOptions::new().stringify_64_bit_integers(true);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .expect("a message is JSON")
    }

    /// The headers that a caller could compare; the moment and what repeats the body are none.
    pub fn told(&self) -> String {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !["date", "grpc-status-details-bin"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        headers.join("\n")
    }

    /// All that a caller could compare, with every id, every moment and what names the request itself made alike.
    pub fn essence(&self) -> String {
        let details = String::from_utf8_lossy(&self.details);
        let body = String::from_utf8_lossy(&self.body);
        without_ids(&format!("{}\n{}\n{details}\n{body}", self.http, self.told()))
    }

    /// Whether `text` is anywhere in it.
    pub fn holds(&self, text: &str) -> bool {
        let within = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        within(&self.body)
            || within(&self.details)
            || self.headers.values().any(|value| within(value.as_bytes()))
    }
}

/// `text` with a mark in place of every UUID.
pub fn without_ids(text: &str) -> String {
    const LENGTH: usize = 36;
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(next) = rest.chars().next() {
        match rest.get(..LENGTH).filter(|part| uuid::Uuid::try_parse(part).is_ok()) {
            Some(_) => {
                kept.push('#');
                rest = &rest[LENGTH..];
            }
            None => {
                kept.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    kept
}

/// A request of the contracts from its JSON.
pub fn encode(of: MessageDescriptor, request: &Value) -> Vec<u8> {
    let name = of.full_name().to_owned();
    DynamicMessage::deserialize(of, request)
        .unwrap_or_else(|error| panic!("{name} {request}: {error}"))
        .encode_to_vec()
}

/// A string member of an answer.
pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}
