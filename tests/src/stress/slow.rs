//! Connections that cost their owners nothing: closed in time, and meanwhile nobody else is kept out.
use std::{net::SocketAddr, time::Duration};

use caseward_testkit::{
    Suite,
    wire::{self, PREFACE},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{others::Others, rude::Unlimited};
use crate::{Run, Tier, Trial};

const HANDSHAKE: Duration = Duration::from_secs(1);
const HEAD: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(1);
/// What it may add that some wait until others have left, on a machine that a pull request shares with other tests.
const MARGIN: Duration = Duration::from_secs(3);
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// One way to hold a connection.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// What is sent at once.
    first: fn() -> Vec<u8>,
    /// What is sent after that, a byte each second.
    then: fn() -> Vec<u8>,
    /// How long the server bears it.
    limit: Duration,
}

fn nothing() -> Vec<u8> {
    vec![]
}

fn head() -> Vec<u8> {
    wire::headers(1, &wire::request("/grpc.health.v1.Health/Check", None), false)
}

const KINDS: [Kind; 8] = [
    Kind { name: "silent", first: nothing, then: nothing, limit: HANDSHAKE },
    Kind {
        name: "half a preface",
        first: || PREFACE[..12].to_vec(),
        then: nothing,
        limit: HANDSHAKE,
    },
    Kind {
        name: "a preface by the byte",
        first: nothing,
        then: || PREFACE.to_vec(),
        limit: HANDSHAKE,
    },
    Kind {
        // On a listener without TLS it is the beginning of no protocol.
        name: "half a TLS hello",
        first: || b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        then: nothing,
        limit: HEAD,
    },
    Kind {
        name: "half a head of HTTP/1.1",
        first: || b"POST /v1/patients HTTP/1.1\r\nhost: x\r\n".to_vec(),
        then: || b"x-slow: yes, very".to_vec(),
        limit: HEAD,
    },
    Kind {
        name: "a preface and no call",
        first: || PREFACE.to_vec(),
        then: nothing,
        limit: IDLE.saturating_add(GRACE),
    },
    Kind {
        name: "half of HEADERS, on by the byte",
        first: || [PREFACE, &head()[..20]].concat(),
        then: || head()[20..].to_vec(),
        limit: IDLE.saturating_add(GRACE),
    },
    Kind {
        name: "a stranger who watches the health",
        first: || [PREFACE, &wire::call(1, WATCH)].concat(),
        then: nothing,
        limit: IDLE.saturating_add(GRACE),
    },
];

pub async fn connections(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let plan = || {
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        Suite::plan()
            .with("CASEWARD__LISTENER__HANDSHAKE_SECONDS", seconds(HANDSHAKE))
            .with("CASEWARD__LISTENER__HTTP1_HEAD_SECONDS", seconds(HEAD))
            .with("CASEWARD__LISTENER__IDLE_SECONDS", seconds(IDLE))
            .with("CASEWARD__LISTENER__GRACE_SECONDS", seconds(GRACE))
    };
    let suites = match run.tier {
        Tier::Pr => vec![plan().one().await],
        Tier::Nightly => plan().suites().await,
    };
    let rounds = run.of(1, 5);
    // More than a listener takes.
    let count = 520;
    let (mut random, mut kinds) = (run.random(), KINDS);
    let few = if run.tier == Tier::Pr { 4 } else { kinds.len() };
    run.expect(rounds * (few * suites.len()) as u64);
    let (mut latest, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for suite in &suites {
        let newcomers = async || {
            let address = suite.address();
            Others::start(suite, move || Suite::door(address)).await
        };
        let before = newcomers().await;
        sleep(HANDSHAKE).await;
        let before = before.stop().await.p99();
        random.shuffle(&mut kinds);
        for kind in (0..rounds).flat_map(|_| kinds.iter().copied().take(few)) {
            let what = format!("{} ({})", kind.name, suite.shape());
            let mut held = JoinSet::new();
            for _ in 0..count {
                held.spawn(hold(suite.address(), kind));
            }
            let others = newcomers().await;
            let began = Instant::now();
            let closing = async { while held.join_next().await.is_some() {} };
            let closed = timeout(kind.limit + MARGIN, closing).await.is_ok();
            latest = latest.max(began.elapsed());
            // Some are closed before any newcomer has been served once.
            sleep(HANDSHAKE.saturating_sub(began.elapsed())).await;
            let fare = others.stop().await;
            slowest = slowest.max(fare.p99());
            trial.tries += count;
            run.step();
            trial.check(closed, || format!("{what}: {} of {count} are still open", held.len()));
            trial.check(fare.failed.is_empty(), || {
                let (failed, first) = (fare.failed.len(), fare.failed.first());
                format!("{what}: {failed} newcomers failed: {first:?}")
            });
            // Who comes while the listener is full waits until somebody has been quiet for half a second.
            let slack = Duration::from_millis(if run.tier == Tier::Pr { 2000 } else { 1000 });
            trial.check(fare.p99() <= before.mul_f64(1.5) + slack, || {
                format!("{what}: newcomers' p99 {:?}, {before:?} before", fare.p99())
            });
        }
    }
    trial.note(format!(
        "all closed after {latest:.1?} at the latest; newcomers' slowest p99 {slowest:.0?}"
    ));
    let unlimited = Unlimited::start().await;
    let [_, half, ..] = KINDS;
    let open = timeout(half.limit * 3, hold(unlimited.address, half)).await.is_err();
    trial.control(format!("hyper as tonic sets it leaves open what sent {}", half.name), open);
    trial
}

/// Holds a connection until the server ends it.
async fn hold(address: SocketAddr, kind: Kind) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let _ = stream.write_all(&(kind.first)()).await;
    let (mut from, mut to) = stream.split();
    let slowly = async {
        for byte in (kind.then)() {
            sleep(Duration::from_secs(1)).await;
            if to.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut piece = [0; 1024];
    let ended = async { while from.read(&mut piece).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = ended => {}
        () = slowly => {}
    }
}
