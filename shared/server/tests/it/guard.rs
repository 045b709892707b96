//! The guard before a service: who is turned away, and when.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use caseward_api::notification::v1::{
    self as pb,
    inbox_service_server::{InboxService, InboxServiceServer},
};
use caseward_core::Clock;
use caseward_server::settings::Layers;
use caseward_server::{LOCAL_ORGANIZATION, Process, Service, Transport};
use caseward_testkit::wire;
use config::Value;
use futures_util::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt;

use crate::token::{made_up, silent};

const LIST: &str = "/caseward.notification.v1.InboxService/ListInboxItems";
const WATCH: &str = "/caseward.notification.v1.InboxService/WatchInbox";

/// An inbox with one item, whose stream has no end.
struct Inbox;

#[tonic::async_trait]
impl InboxService for Inbox {
    async fn list_inbox_items(
        &self,
        _: Request<pb::ListInboxItemsRequest>,
    ) -> Result<Response<pb::ListInboxItemsResponse>, Status> {
        Ok(Response::new(pb::ListInboxItemsResponse::default()))
    }

    async fn mark_read(
        &self,
        _: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::InboxItem>, Status> {
        Ok(Response::new(pb::InboxItem::default()))
    }

    type WatchInboxStream = Pin<Box<dyn Stream<Item = Result<pb::InboxItem, Status>> + Send>>;

    async fn watch_inbox(
        &self,
        _: Request<pb::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let item = stream::iter([Ok(pb::InboxItem::default())]);
        Ok(Response::new(Box::pin(item.chain(stream::pending()))))
    }
}

/// A process with the inbox, and somebody who may read it.
struct Desk {
    peer: Transport,
    token: String,
    _process: Process,
    _data: TempDir,
}

impl Desk {
    async fn start<const N: usize>(set: [(&str, Value); N]) -> Self {
        let data = TempDir::new().unwrap();
        let layers = Layers::load(None, &[]).unwrap();
        let layers = layers.with("data", data.path().to_str().unwrap()).unwrap();
        let layers =
            set.into_iter().fold(layers, |layers, (key, value)| layers.with(key, value).unwrap());
        let mut process = Process::new(layers.common().unwrap()).await.unwrap();
        let service = Service::new("notification", None).with(InboxServiceServer::new(Inbox));
        process.serve(service).unwrap();
        process.ready().unwrap();
        let (life, now) = (Duration::from_secs(600), Clock::System.now());
        let token =
            process.verifier().mint("ana", &["case_manager"], LOCAL_ORGANIZATION, life, now);
        let (peer, token) = (process.peer("notification"), token.unwrap_or_default());
        Desk { peer, token, _process: process, _data: data }
    }

    async fn call(
        &self,
        path: &str,
        timeout: &str,
        token: &str,
        body: Body,
    ) -> http::Response<Body> {
        let call = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
            .header("authorization", format!("Bearer {token}"));
        self.peer.clone().oneshot(call.body(body).unwrap()).await.unwrap()
    }

    /// The head of the answer to an empty message.
    async fn ask(&self, path: &str) -> http::Response<Body> {
        let body = Body::new(Full::from(wire::message(b"")));
        self.call(path, "5S", &self.token, body).await
    }
}

fn code(reply: &http::Response<Body>) -> Code {
    reply.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_request_does_not_end_is_given_up_long_before_its_answer_would_be() {
    let desk = Desk::start([]).await;
    let half =
        stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\x08half")))]);
    let half = Body::new(StreamBody::new(half.chain(stream::pending())));
    let began = Instant::now();
    let reply = desk.call(WATCH, "1H", &desk.token, half).await;
    assert_eq!(code(&reply), Code::InvalidArgument);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn open_streams_have_a_limit_of_their_own_and_count_until_they_end() {
    let desk =
        Desk::start([("limits.in_flight", 1.into()), ("limits.open_streams", 1.into())]).await;
    let mut open = desk.ask(WATCH).await;
    assert_eq!(code(&open), Code::Ok);
    assert!(open.body_mut().frame().await.unwrap().unwrap().is_data());
    let turned_away = desk.ask(WATCH).await;
    assert_eq!(code(&turned_away), Code::Unavailable);
    assert!(turned_away.headers().contains_key("grpc-status-details-bin"), "when to try again");
    assert_eq!(code(&desk.ask(LIST).await), Code::Ok);
    drop(open);
    assert_eq!(code(&desk.ask(WATCH).await), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_keys_of_an_issuer_does_so_until_their_deadline() {
    let (auth, _silent) = silent().await;
    let desk = Desk::start([("auth.issuer", auth.issuer.as_str().into())]).await;
    let began = Instant::now();
    let reply = desk.call(LIST, "100m", &made_up(&auth.issuer), Body::empty()).await;
    assert_eq!(code(&reply), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_is_turned_away_is_not_looked_at_before() {
    let desk = Desk::start([("limits.in_flight", 0.into())]).await;
    for path in [LIST, WATCH] {
        let reply = desk.call(path, "nonsense", "", Body::empty()).await;
        assert_eq!(code(&reply), Code::Unavailable, "{path}");
        assert_eq!(reply.headers()["content-type"], "application/grpc");
        assert!(reply.headers().contains_key("grpc-status-details-bin"), "when to try again");
    }
}

#[tokio::test]
async fn a_health_check_is_short() {
    let desk = Desk::start([]).await;
    let mut health = HealthClient::new(desk.peer.clone());
    let long = HealthCheckRequest { service: "x".repeat(2 << 10) };
    assert_eq!(health.check(long).await.unwrap_err().code(), Code::OutOfRange);
}
