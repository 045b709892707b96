//! REST calls as gRPC calls: JSON in, one message to the peer, JSON or lines of JSON back.
use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body as HttpBody, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use caseward_core::Error;
use caseward_server::{deadline, token};
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode, header, request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use tokio::time::Instant;
use tonic::{
    Code, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming},
    metadata::MetadataMap,
};

use crate::{
    body,
    contract::Body,
    headers, query,
    refusal::{Refusal, allow},
    route::{Found, Route, Table},
};

/// The most that one answer may hold: a page of 1,000 resources fits many times over.
const ANSWER_LIMIT: usize = 64 << 20;

/// How many times as much as the largest body one may take while it is read.
const READ: usize = 16;

#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) table: Table,
    pub(crate) body_limit: usize,
    pub(crate) timeout: Duration,
}

impl Json {
    pub(crate) async fn call(&self, req: Request) -> Response {
        let head = req.method() == Verb::HEAD;
        let verb = if head { &Verb::GET } else { req.method() };
        let reply = match self.table.find(verb, req.uri().path()) {
            Found::Route(route, captures) => {
                let captures =
                    captures.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
                let answer = self.answer(route, captures, req).await;
                answer.unwrap_or_else(Refusal::into_response)
            }
            Found::OtherMethods(verbs) if req.method() == Verb::OPTIONS => {
                let mut reply = StatusCode::NO_CONTENT.into_response();
                reply.headers_mut().insert(header::ALLOW, allow(&verbs));
                reply
            }
            Found::OtherMethods(verbs) => Refusal::other_methods(&verbs).into_response(),
            Found::Nothing => Refusal::no_such_path().into_response(),
        };
        if head { reply.map(|_| HttpBody::empty()) } else { reply }
    }

    async fn answer(
        &self,
        route: &Route,
        captures: Vec<(String, String)>,
        req: Request,
    ) -> Result<Response, Refusal> {
        let (mut parts, body) = req.into_parts();
        // Whose token it is, the service judges; who shows none need not be told what is wrong with the body.
        token::bearer(&parts.headers).map_err(|refused| Status::from(Error::from(refused)))?;
        let given = timeout(&parts.headers)?;
        let began = Instant::now();
        let message = self.request(route, captures, &parts, body);
        // A body is held whole and for anybody, so its sender does not say for how long.
        let most = given.map_or(self.timeout, |given| given.min(self.timeout));
        let Ok(message) = tokio::time::timeout(most, message).await else {
            return Err(Status::deadline_exceeded("the body did not end in time").into());
        };
        let message = message?;
        headers::inward_of_rest(&mut parts.headers);
        let streams = route.method.rpc.is_server_streaming();
        // A stream lasts until its reader has had enough, unless they said how long.
        let timeout = given.or((!streams).then_some(self.timeout));
        let timeout = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        if let Some(timeout) = timeout {
            let text = format!("{}m", timeout.as_millis().clamp(1, 99_999_999));
            let value =
                HeaderValue::try_from(text).map_err(|_| Status::internal("internal error"))?;
            parts.headers.insert(HeaderName::from_static("grpc-timeout"), value);
        }
        let metadata = MetadataMap::from_headers(parts.headers);
        let req = tonic::Request::from_parts(metadata, parts.extensions, message);
        let answer = async {
            let mut peer = Grpc::new(route.peer.service()).max_decoding_message_size(ANSWER_LIMIT);
            let codec = Dynamic(route.method.rpc.output());
            let Ok(()) = peer.ready().await;
            if streams {
                let reply = peer.server_streaming(req, route.method.path.clone(), codec).await?;
                return Ok(lines(reply.into_inner()));
            }
            let reply = peer.unary(req, route.method.path.clone(), codec).await?;
            Ok(respond("application/json", HttpBody::from(print(&reply.into_inner())?)))
        };
        match timeout {
            // The peer keeps the deadline too; this one is for a peer that is gone.
            Some(timeout) => match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded("the deadline is over").into()),
            },
            None => answer.await,
        }
    }

    async fn request(
        &self,
        route: &Route,
        captures: Vec<(String, String)>,
        parts: &Parts,
        body: HttpBody,
    ) -> Result<DynamicMessage, Refusal> {
        let input = route.method.rpc.input();
        let query = parts.uri.query().unwrap_or_default();
        let mut violations = vec![];
        let mut named = vec![];
        let mut message = match &route.binding.body {
            Body::None => DynamicMessage::new(input),
            Body::Whole => {
                let bytes = self.body(&parts.headers, body).await?;
                let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
                body::read(input, "", &bytes).map_err(Refusal::invalid)?
            }
            Body::Field(field) => {
                let bytes = self.body(&parts.headers, body).await?;
                if bytes.is_empty() {
                    return Err(Refusal::field(field.name(), "a JSON body is required"));
                }
                let mut message = DynamicMessage::new(input);
                let kind = field.kind();
                if let Some(kind) = kind.as_message() {
                    match body::read(kind.clone(), field.name(), &bytes) {
                        Ok(read) => message.set_field(field, Value::Message(read)),
                        Err(wrong) => violations = wrong,
                    }
                    named = body::mask(kind, &bytes);
                }
                message
            }
        };
        violations.extend(query::read(&mut message, &route.binding, query));
        for (field, value) in captures {
            violations.extend(query::put(&mut message, &field, &value).err());
        }
        if violations.is_empty() && route.binding.verb == Verb::PATCH {
            fill_mask(&mut message, named)?;
        }
        if violations.is_empty() { Ok(message) } else { Err(Refusal::invalid(violations)) }
    }

    async fn body(&self, headers: &HeaderMap, body: HttpBody) -> Result<Bytes, Refusal> {
        let json = headers.get(header::CONTENT_TYPE).map(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            let (essence, _) = kind.split_once(';').unwrap_or((kind, ""));
            essence.trim().eq_ignore_ascii_case("application/json")
        });
        if json == Some(false) {
            return Err(Refusal::media_type("application/json"));
        }
        let bytes = match Limited::new(body, self.body_limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Refusal::too_large(self.body_limit));
            }
            Err(_) => return Err(Status::cancelled("the body ended early").into()),
        };
        if json.is_none() && !bytes.is_empty() {
            return Err(Refusal::media_type("application/json"));
        }
        // Whoever sends it, it is read before their token is judged.
        if body::weight(&bytes) > READ * self.body_limit {
            return Err(Refusal::too_many_parts());
        }
        Ok(bytes)
    }
}

/// Without a mask, an update changes the fields that the body names (AIP-134), not every field there is.
fn fill_mask(message: &mut DynamicMessage, named: Vec<Value>) -> Result<(), Refusal> {
    let Some(field) = message.descriptor().get_field_by_name("update_mask") else { return Ok(()) };
    if message.has_field(&field) {
        return Ok(());
    }
    if named.is_empty() {
        // An empty mask would mean every field, and clear all that the body left out.
        return Err(Refusal::field("update_mask", "the body names no field to change"));
    }
    if let Value::Message(mask) = message.get_field_mut(&field) {
        mask.set_field_by_name("paths", Value::List(named));
    }
    Ok(())
}

/// How long the caller waits: `x-request-timeout` in seconds, such as `2.5`, or `grpc-timeout`.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    if let Some(value) = headers.get("x-request-timeout") {
        let text = value.to_str().unwrap_or_default();
        let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let timeout = timeout.filter(|timeout| !timeout.is_zero() && timeout.as_secs() < 86_400);
        let wrong = || {
            Refusal::field("x-request-timeout", "must be seconds, more than 0 and less than 86400")
        };
        return timeout.ok_or_else(wrong).map(Some);
    }
    let Some(value) = headers.get(deadline::HEADER) else { return Ok(None) };
    let wrong =
        || Refusal::field("grpc-timeout", "must be up to eight digits and one of H, M, S, m, u, n");
    deadline::parse(value).ok_or_else(wrong).map(Some)
}

/// ProtoJSON: fields that hold their default are left out.
fn print(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(message).map_err(|_| Status::internal("the answer has no JSON form"))
}

fn respond(kind: &'static str, body: HttpBody) -> Response {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// One line for each message, sent as it comes; a stream that fails ends with a line that holds `error`.
fn lines(messages: Streaming<DynamicMessage>) -> Response {
    let lines = stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        let (mut line, rest) = match messages.message().await {
            Ok(None) => return None,
            Ok(Some(message)) => match print(&message) {
                Ok(line) => (line, Some(messages)),
                Err(status) => (Refusal::from(status).json().to_string().into_bytes(), None),
            },
            Err(status) => (Refusal::from(status).json().to_string().into_bytes(), None),
        };
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), rest))
    });
    respond("application/x-ndjson", HttpBody::from_stream(lines))
}

/// Messages of which only the descriptor is known.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Written;
    type Decoder = Read;

    fn encoder(&mut self) -> Written {
        Written
    }

    fn decoder(&mut self) -> Read {
        Read(self.0.clone())
    }
}

struct Written;

impl Encoder for Written {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(into).map_err(|_| Status::new(Code::Internal, "the request does not encode"))
    }
}

struct Read(MessageDescriptor);

impl Decoder for Read {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let read = DynamicMessage::decode(self.0.clone(), from);
        read.map(Some).map_err(|_| Status::internal("the answer does not decode"))
    }
}
