//! A peer in memory that speaks the real contracts, and a caller at the door.
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, body::Body as HttpBody};
use bytes::{BufMut, Bytes, BytesMut};
use caseward_api::{careplan::v1 as careplan, patient::v1 as pb, types::v1 as types};
use caseward_gateway::Settings;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use prost_types::FieldMask;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

pub(crate) const PATIENTS: &str = "caseward.patient.v1.PatientService";
pub(crate) const CASES: &str = "caseward.careplan.v1.CaseService";
pub(crate) const KNOWN: &str = "patients/0190a5a0-0000-7000-8000-000000000001";

type Owner = BoxCloneSyncService<Request<Body>, Response<Body>, tonic::codegen::StdError>;

type Entries = mpsc::UnboundedReceiver<Result<careplan::TimelineEntry, Status>>;

/// What the peer was asked, and what it says of itself.
#[derive(Clone, Default)]
pub(crate) struct Peer {
    pub(crate) seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    pub(crate) down: Arc<Mutex<bool>>,
    /// The entries of a watched case, sent by the test.
    pub(crate) entries: Arc<Mutex<Option<Entries>>>,
}

impl Peer {
    /// Every service of the contracts, owned by this peer.
    pub(crate) fn owns_all(&self) -> HashMap<String, Owner> {
        let pool = prost_reflect::DescriptorPool::decode(caseward_api::DESCRIPTORS).unwrap();
        pool.services().map(|service| (service.full_name().to_owned(), self.owner())).collect()
    }

    pub(crate) fn owner(&self) -> Owner {
        let peer = self.clone();
        BoxCloneSyncService::new(service_fn(move |req: Request<Body>| {
            let peer = peer.clone();
            async move { Ok(peer.answer(req).await) }
        }))
    }

    pub(crate) fn last(&self) -> (String, HeaderMap) {
        self.seen.lock().unwrap().last().cloned().expect("the peer was called")
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn answer(&self, req: Request<Body>) -> Response<Body> {
        let (parts, body) = req.into_parts();
        let path = parts.uri.path_and_query().map_or(String::new(), ToString::to_string);
        let bytes = body.collect().await.unwrap().to_bytes();
        if path == "/grpc.health.v1.Health/Check" {
            let status = if *self.down.lock().unwrap() { 2 } else { 1 };
            return unary(&tonic_health::pb::HealthCheckResponse { status });
        }
        self.seen.lock().unwrap().push((path.clone(), parts.headers));
        let message = &bytes[5..];
        match path.strip_prefix("/caseward.").unwrap_or_default() {
            "patient.v1.PatientService/GetPatient" => get(read(message)),
            "patient.v1.PatientService/ListPatients" => {
                let req: pb::ListPatientsRequest = read(message);
                let next_page_token = format!("{}|{}", req.page_size, req.identifier);
                unary(&pb::ListPatientsResponse { next_page_token, patients: vec![ada()] })
            }
            "patient.v1.PatientService/CreatePatient" => {
                let req: pb::CreatePatientRequest = read(message);
                let patient = pb::Patient { etag: req.request_id, ..req.patient.unwrap() };
                unary(&patient)
            }
            "patient.v1.PatientService/UpdatePatient" => {
                let req: pb::UpdatePatientRequest = read(message);
                let FieldMask { paths } = req.update_mask.unwrap_or_default();
                unary(&pb::Patient { time_zone: paths.join("+"), ..req.patient.unwrap() })
            }
            "careplan.v1.CaseService/WatchCase" => {
                let entries = self.entries.lock().unwrap().take().expect("one watcher");
                let entries = stream::unfold(entries, |mut entries| async move {
                    entries.recv().await.map(|entry| (entry, entries))
                });
                streamed(entries)
            }
            _ => Status::unimplemented("not in this fake").into_http(),
        }
    }
}

/// A peer that nobody answers for.
pub(crate) fn unreachable() -> Owner {
    BoxCloneSyncService::new(service_fn(|_| async { Err("connection refused by 10.0.0.7".into()) }))
}

/// A peer that takes calls and never answers.
pub(crate) fn frozen() -> Owner {
    counted().0
}

/// The same, and how many calls it took.
pub(crate) fn counted() -> (Owner, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let owner = BoxCloneSyncService::new(service_fn(move |_| {
        counted.fetch_add(1, SeqCst);
        std::future::pending()
    }));
    (owner, calls)
}

pub(crate) fn ada() -> pb::Patient {
    pb::Patient {
        name: KNOWN.into(),
        names: vec![types::HumanName { family: "Byron".into(), ..Default::default() }],
        gender: pb::patient::Gender::Female.into(),
        create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        etag: "1".into(),
        ..Default::default()
    }
}

fn get(req: pb::GetPatientRequest) -> Response<Body> {
    match req.name.as_str() {
        KNOWN => unary(&ada()),
        "patients/merged" => {
            let mut details = ErrorDetails::with_error_info(
                "STATE_NOT_ALLOWED",
                "caseward",
                HashMap::from([("allowed".to_owned(), "ACTIVE".to_owned())]),
            );
            let violation =
                PreconditionViolation::new("STATE", "patients/merged", "can become ACTIVE");
            details.set_precondition_failure(vec![violation]);
            Status::with_error_details(Code::FailedPrecondition, "is merged", details).into_http()
        }
        "patients/busy" => {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
            Status::with_error_details(Code::Unavailable, "busy", details).into_http()
        }
        "patients/nobody" => Status::unauthenticated("no token").into_http(),
        _ => Status::not_found("patients/unknown not found").into_http(),
    }
}

fn read<M: Message + Default>(message: &[u8]) -> M {
    M::decode(message).unwrap()
}

fn frame(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut out).unwrap();
    out.freeze()
}

fn unary(message: &impl Message) -> Response<Body> {
    let mut trailers = self::trailers(&Status::ok(""));
    trailers.insert("x-answered-by", "the peer".parse().unwrap());
    let frames = [Ok::<_, Infallible>(Frame::data(frame(message))), Ok(Frame::trailers(trailers))];
    answered(Body::new(StreamBody::new(stream::iter(frames))))
}

fn streamed<M: Message + 'static>(
    messages: impl futures_util::Stream<Item = Result<M, Status>> + Send + 'static,
) -> Response<Body> {
    let frames = messages.map(|message| match message {
        Ok(message) => Frame::data(frame(&message)),
        Err(status) => Frame::trailers(trailers(&status)),
    });
    let end = stream::iter([Frame::trailers(trailers(&Status::ok("")))]);
    answered(Body::new(StreamBody::new(frames.chain(end).map(Ok::<_, Infallible>))))
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    trailers
}

fn answered(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// The door, with one peer behind it that owns everything.
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) peer: Peer,
}

impl Door {
    pub(crate) fn open() -> Self {
        let peer = Peer::default();
        let router = caseward_gateway::routes(peer.owns_all(), &Settings::default()).unwrap();
        Door { router, peer }
    }

    pub(crate) async fn raw(&self, req: Request<HttpBody>) -> Response<HttpBody> {
        self.router.clone().oneshot(req).await.unwrap()
    }

    /// Sends JSON, and returns the status and the JSON of the answer.
    pub(crate) async fn send(
        &self,
        verb: &str,
        path: &str,
        body: Option<&str>,
    ) -> (StatusCode, Value) {
        let mut req =
            Request::builder().method(verb).uri(path).header("authorization", "Bearer a.b.c");
        if body.is_some() {
            req = req.header("content-type", "application/json; charset=utf-8");
        }
        let body = HttpBody::from(body.unwrap_or_default().to_owned());
        let reply = self.raw(req.body(body).unwrap()).await;
        let status = reply.status();
        (status, json(reply).await)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send("GET", path, None).await
    }
}

pub(crate) async fn json(reply: Response<HttpBody>) -> Value {
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The fields that a refusal names.
pub(crate) fn fields(error: &Value) -> Vec<String> {
    let details = error["error"]["details"].as_array().unwrap();
    let bad = details
        .iter()
        .find(|it| it["@type"] == "type.googleapis.com/google.rpc.BadRequest")
        .unwrap();
    let violations = bad["fieldViolations"].as_array().unwrap();
    violations.iter().map(|it| it["field"].as_str().unwrap().to_owned()).collect()
}
