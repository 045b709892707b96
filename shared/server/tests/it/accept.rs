//! Limits, drain and protocols of the accept loop.

mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::{get, post};
use caseward_server::accept::{self, Acceptor, Limits, Peer};
use caseward_testkit::wire::{self, Event, PATIENCE, PREFACE, Wire, call, ping, provocation};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<usize>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: Limits, tls: Option<Arc<Acceptor>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (_, health) = tonic_health::server::health_reporter();
        let routes = tonic::service::Routes::new(health).into_axum_router().route(
            "/peer",
            get(|peer: axum::Extension<Peer>| async move {
                format!("{} {}", peer.address.ip(), peer.certificate.is_some())
            }),
        );
        let routes = routes.route("/large", post(async || vec![0; 200_000]));
        let routes = routes.route(
            "/open",
            post(async || {
                let begun = stream::iter([Ok::<_, Infallible>("begun")]).chain(stream::pending());
                (axum::Extension(accept::Public), axum::body::Body::from_stream(begun))
            }),
        );
        let served = tokio::spawn(accept::serve(listener, tls, limits, routes, stop.clone()));
        Self { address, stop, served }
    }

    /// Stops, and answers how many connections were cut and how long that took.
    async fn drain(self) -> (usize, Duration) {
        let started = Instant::now();
        self.stop.cancel();
        let aborted = timeout(PATIENCE, self.served).await.expect("drain must end").unwrap();
        (aborted, started.elapsed())
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn open(address: SocketAddr, bytes: &[u8]) -> Wire {
    Wire::open(address, bytes).await.unwrap()
}

/// Limits that nothing reaches, for a test to shorten the one it is about.
fn wide() -> Limits {
    Limits { grace: ms(150), drain: ms(300), ..Limits::default() }
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_the_handshake_limit() {
    let server = Server::start(Limits { handshake: ms(100), ..wide() }).await;
    let started = Instant::now();
    assert_eq!(open(server.address, b"").await.next().await, Event::Closed);
    assert!(started.elapsed() >= ms(95), "closed early");
}

#[tokio::test]
async fn half_a_preface_is_closed_at_the_handshake_limit() {
    let server = Server::start(Limits { handshake: ms(100), ..wide() }).await;
    let mut wire = open(server.address, b"PRI * HTTP/2").await;
    assert_eq!(wire.next().await, Event::Closed);
}

#[tokio::test]
async fn a_slow_trickle_of_preface_does_not_extend_the_limit() {
    let server = Server::start(Limits { handshake: ms(100), ..wide() }).await;
    let mut wire = open(server.address, b"").await;
    let started = Instant::now();
    let mut bytes = PREFACE[..24].iter();
    let closed = loop {
        tokio::select! {
            event = wire.next() => break event,
            () = tokio::time::sleep(ms(20)) => {}
        }
        let byte = *bytes.next().expect("the limit must come before the preface ends");
        let _ = wire.send(&[byte]).await;
    };
    assert_eq!(closed, Event::Closed);
    assert!(started.elapsed() < ms(400), "each byte extended the limit");
}

#[tokio::test]
async fn half_an_http1_head_is_closed() {
    let server = Server::start(Limits { http1_head: ms(100), ..wide() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("must be closed").unwrap();
}

#[tokio::test]
async fn the_limits_are_announced_on_the_wire() {
    let server = Server::start(Limits::default()).await;
    let mut wire = open(server.address, PREFACE).await;
    let Event::Settings(settings) = wire.next().await else { panic!("settings come first") };
    assert!(settings.contains(&(3, 100)), "concurrent streams: {settings:?}");
    assert!(settings.contains(&(4, 64 << 10)), "stream window: {settings:?}");
    assert!(settings.contains(&(6, 16 << 10)), "header list: {settings:?}");
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_though_it_pings() {
    let server = Server::start(Limits { idle: ms(150), ..wide() }).await;
    let mut wire = open(server.address, PREFACE).await;
    wire.send(&ping()).await.unwrap();
    assert_eq!(wire.until(|event| matches!(event, Event::GoAway(_))).await, Event::GoAway(0));
    wire.until(|event| *event == Event::Closed).await;
}

#[tokio::test]
async fn a_call_in_flight_is_not_idle() {
    let server = Server::start(Limits { idle: ms(50), ..wide() }).await;
    let mut wire = open(server.address, &[PREFACE, &call(1, WATCH)].concat()).await;
    wire.until(|event| *event == Event::Data).await;
    let more = timeout(ms(250), wire.until(|event| matches!(event, Event::GoAway(_)))).await;
    assert!(more.is_err(), "told to go while a stream was open");
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_cut_after_its_grace() {
    let server = Server::start(Limits { age: ms(150), grace: ms(150), ..wide() }).await;
    let mut wire = open(server.address, &[PREFACE, &call(1, WATCH)].concat()).await;
    wire.until(|event| *event == Event::Data).await;
    assert_eq!(wire.until(|event| matches!(event, Event::GoAway(_))).await, Event::GoAway(0));
    let told = Instant::now();
    wire.until(|event| *event == Event::Closed).await;
    assert!(told.elapsed() >= ms(100), "the open stream had no grace");
}

#[tokio::test]
async fn a_drain_without_connections_returns_at_once() {
    let server = Server::start(wide()).await;
    let (aborted, took) = server.drain().await;
    assert_eq!(aborted, 0);
    assert!(took < ms(100));
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_silent_connection() {
    let server = Server::start(wide()).await;
    let idle = open(server.address, b"").await;
    let mut busy = open(server.address, &[PREFACE, &call(1, CHECK)].concat()).await;
    busy.until(|event| *event == Event::Data).await;
    let (aborted, took) = server.drain().await;
    assert_eq!(aborted, 0);
    assert!(took < ms(290), "{took:?}");
    drop(idle);
}

#[tokio::test]
async fn a_drain_ends_in_time_though_a_stream_stays_open() {
    let server = Server::start(Limits { grace: ms(10_000), ..wide() }).await;
    let mut wire = open(server.address, &[PREFACE, &call(1, WATCH)].concat()).await;
    wire.until(|event| *event == Event::Data).await;
    let (aborted, took) = server.drain().await;
    assert_eq!(aborted, 1);
    assert!(took >= ms(300) && took < ms(1_000), "{took:?}");
    assert_eq!(wire.until(|event| matches!(event, Event::GoAway(_))).await, Event::GoAway(0));
    wire.until(|event| *event == Event::Closed).await;
}

#[tokio::test]
async fn provoked_resets_end_the_connection() {
    let server = Server::start(Limits { local_error_resets: 16, ..wide() }).await;
    let mut wire = open(server.address, PREFACE).await;
    for n in 0..64 {
        if wire.send(&provocation(1 + 2 * n, CHECK)).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    const ENHANCE_YOUR_CALM: u32 = 11;
    let end = wire.until(|event| matches!(event, Event::GoAway(_))).await;
    assert_eq!(end, Event::GoAway(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn whoever_is_answered_before_they_have_said_all_may_say_the_rest() {
    let server = Server::start(Limits { local_error_resets: 16, ..wide() }).await;
    let mut wire = open(server.address, PREFACE).await;
    for round in 0..4 {
        let streams = (0..100).map(|n| 1 + 2 * (100 * round + n));
        for id in streams.clone() {
            let head = wire::headers(id, &wire::request("/nowhere", None), false);
            wire.send(&head).await.unwrap();
        }
        for _ in streams.clone() {
            wire.until(|event| matches!(event, Event::Headers(_))).await;
        }
        for id in streams {
            let rest = wire::frame(wire::DATA, wire::END_STREAM, id, &wire::message(&[]));
            wire.send(&rest).await.unwrap();
        }
    }
    wire.send(&call(1001, CHECK)).await.unwrap();
    let next = wire.next().await;
    assert_eq!(next, Event::Headers(1001), "the connection is as it was");
}

#[tokio::test]
async fn who_was_answered_and_goes_on_and_on_is_not_listened_to_for_long() {
    let server = Server::start(wide()).await;
    let mut wire = open(server.address, PREFACE).await;
    wire.send(&wire::headers(1, &wire::request("/nowhere", None), false)).await.unwrap();
    let reset = wire.until(|event| matches!(event, Event::Reset(..))).await;
    assert_eq!(reset, Event::Reset(1, 0), "NO_ERROR");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let server = Server::start(Limits { connections: 1, ..wide() }).await;
    let mut first = open(server.address, &[PREFACE, &call(1, WATCH)].concat()).await;
    first.until(|event| *event == Event::Data).await;
    let mut second = open(server.address, &[PREFACE, &call(1, CHECK)].concat()).await;
    assert!(timeout(ms(300), second.event()).await.is_err(), "the second was served too");
    drop(first);
    second.until(|event| *event == Event::Data).await;
}

#[tokio::test]
async fn who_does_nothing_makes_room_for_who_calls() {
    let server = Server::start(Limits { connections: 8, ..wide() }).await;
    let mut busy = open(server.address, &[PREFACE, &call(1, WATCH)].concat()).await;
    busy.until(|event| *event == Event::Data).await;
    let mut quiet = vec![];
    for _ in 0..7 {
        quiet.push(open(server.address, PREFACE).await);
    }
    for _ in 0..3 {
        let mut wire = open(server.address, &[PREFACE, &call(1, CHECK)].concat()).await;
        wire.until(|event| *event == Event::Data).await;
    }
    quiet[0].until(|event| *event == Event::Closed).await;
    let left = timeout(ms(100), busy.event()).await;
    assert!(left.is_err(), "whoever has a call open was sent away before those without: {left:?}");
}

#[tokio::test]
async fn a_stream_that_anybody_may_open_does_not_keep_a_place() {
    let server = Server::start(Limits { connections: 1, ..wide() }).await;
    let mut first = open(server.address, &[PREFACE, &call(1, "/open")].concat()).await;
    first.until(|event| *event == Event::Data).await;
    let mut second = open(server.address, &[PREFACE, &call(1, CHECK)].concat()).await;
    second.until(|event| *event == Event::Data).await;
}

#[tokio::test]
async fn a_stream_whose_reader_takes_nothing_is_reset_and_no_other() {
    let server = Server::start(Limits { stalled: ms(200), ..wide() }).await;
    let window = |bytes: u32| {
        let setting = [&4u16.to_be_bytes()[..], &bytes.to_be_bytes()].concat();
        wire::frame(wire::SETTINGS, 0, 0, &setting)
    };
    let calls = [PREFACE, &call(1, WATCH)].concat();
    let mut wire = open(server.address, &calls).await;
    wire.until(|event| *event == Event::Data).await;
    let began = Instant::now();
    for path in [CHECK, "/large"] {
        let id = if path == CHECK { 3 } else { 5 };
        let bytes = if path == CHECK { 0 } else { 20_000 };
        wire.send(&[window(bytes), call(id, path)].concat()).await.unwrap();
        let reset = wire.until(|event| matches!(event, Event::Reset(..))).await;
        assert_eq!(reset, Event::Reset(id, 8), "CANCEL");
    }
    assert!(began.elapsed() >= ms(400), "reset before its time");
    wire.send(&[window(64 << 10), call(7, CHECK)].concat()).await.unwrap();
    wire.until(|event| *event == Event::Data).await;
}

#[tokio::test]
async fn http1_is_served_and_knows_its_peer() {
    let server = Server::start(wide()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /peer HTTP/1.1\r\nhost: edge.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("127.0.0.1 false"), "{answer}");
}

#[test]
fn limits_are_settings_in_seconds_and_refuse_unknown_keys() {
    let limits: Limits = serde_json::from_str(r#"{"idle_seconds": 0.5, "streams": 7}"#).unwrap();
    assert_eq!((limits.idle, limits.streams), (ms(500), 7));
    assert_eq!(limits.drain, Duration::from_secs(15));
    assert!(serde_json::from_str::<Limits>(r#"{"idle": 1}"#).is_err());
    assert!(serde_json::from_str::<Limits>(r#"{"idle_seconds": -1}"#).is_err());
}
