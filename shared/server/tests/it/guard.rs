//! The guard before a service: who is turned away, and when.

use std::time::Duration;

use bytes::Bytes;
use caseward_testkit::wire;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt;

use crate::inbox::Desk;
use crate::token::{made_up, silent};

const LIST: &str = "/caseward.notification.v1.InboxService/ListInboxItems";
const WATCH: &str = "/caseward.notification.v1.InboxService/WatchInbox";

impl Desk {
    async fn call(
        &self,
        path: &str,
        timeout: &str,
        authorization: &str,
        body: Body,
    ) -> http::Response<Body> {
        let call = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
            .header("authorization", authorization);
        self.process.peer("notification").oneshot(call.body(body).unwrap()).await.unwrap()
    }

    /// The head of the answer to an empty message.
    async fn ask(&self, path: &str) -> http::Response<Body> {
        let body = Body::new(Full::from(wire::message(b"")));
        self.call(path, "5S", &self.bearer("ana"), body).await
    }
}

fn code(reply: &http::Response<Body>) -> Code {
    reply.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_request_does_not_end_is_given_up_long_before_its_answer_would_be() {
    let desk = Desk::start(&[], None).await;
    let half =
        stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\x08half")))]);
    let half = Body::new(StreamBody::new(half.chain(stream::pending())));
    let began = Instant::now();
    let reply = desk.call(WATCH, "1H", &desk.bearer("ana"), half).await;
    assert_eq!(code(&reply), Code::InvalidArgument);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn open_streams_have_a_limit_of_their_own_and_count_until_they_end() {
    let limits = [("limits.in_flight", 1.into()), ("limits.open_streams", 1.into())];
    let desk = Desk::start(&limits, None).await;
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
    let desk = Desk::start(&[("auth.issuer", auth.issuer.as_str().into())], None).await;
    let began = Instant::now();
    let reply =
        desk.call(LIST, "100m", &format!("Bearer {}", made_up(&auth.issuer)), Body::empty()).await;
    assert_eq!(code(&reply), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_is_turned_away_is_not_looked_at_before() {
    let desk = Desk::start(&[("limits.in_flight", 0.into())], None).await;
    for path in [LIST, WATCH] {
        let reply = desk.call(path, "nonsense", "Bearer ", Body::empty()).await;
        assert_eq!(code(&reply), Code::Unavailable, "{path}");
        assert_eq!(reply.headers()["content-type"], "application/grpc");
        assert!(reply.headers().contains_key("grpc-status-details-bin"), "when to try again");
    }
}

#[tokio::test]
async fn a_health_check_is_short() {
    let desk = Desk::start(&[], None).await;
    let mut health = HealthClient::new(desk.process.peer("notification"));
    let long = HealthCheckRequest { service: "x".repeat(2 << 10) };
    assert_eq!(health.check(long).await.unwrap_err().code(), Code::OutOfRange);
}
