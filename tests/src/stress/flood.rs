//! Floods of frames: what must not be is answered with GOAWAY or a cut, the rest is borne, and nobody else notices.
use std::{net::SocketAddr, time::Duration};

use caseward_testkit::{
    Member, Program, Suite,
    wire::{self, Event, Wire, frame},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{others::Others, rude::Unlimited};
use crate::{Run, Tier, Trial};

const ATTACKERS: usize = 4;
const MEMORY: u64 = 64 << 20;
const CALM: Duration = Duration::from_secs(5);
const GET: &str = "/caseward.patient.v1.PatientService/GetPatient";
const LIST: &str = "/caseward.patient.v1.PatientService/ListPatients";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// One way to flood a connection.
struct Attack {
    name: &'static str,
    /// Whether the server must end the connection.
    ends: bool,
    /// What is sent first, after the preface.
    opening: fn() -> Vec<u8>,
    /// What is sent over and over.
    round: fn(&mut Ids, &str) -> Vec<u8>,
}

/// The streams of one connection.
struct Ids(u32);

impl Ids {
    fn next(&mut self) -> u32 {
        self.0 += 2;
        self.0 - 2
    }
}

pub async fn frames(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let suites = match run.tier {
        Tier::Pr => vec![Suite::one().await],
        Tier::Nightly => caseward_testkit::suites().await,
    };
    let time = Duration::from_millis(run.of(300, 20_000));
    let mut attacks = attacks();
    if run.tier == Tier::Pr {
        run.random().shuffle(&mut attacks);
        attacks.truncate(10);
    }
    run.expect(
        (attacks.len() * suites.iter().map(|suite| suite.members().len()).sum::<usize>()) as u64,
    );
    let (mut most, mut slowest, mut told) = (0, Duration::ZERO, 0);
    for suite in &suites {
        let bearer = format!("Bearer {}", suite.caller("eve", &["supervisor"]).token());
        for member in suite.members() {
            // Beside the attacked port the calls of others go over the gateway, and through it to the attacked one.
            let before =
                Others::fare(suite, suite.transport(), time.max(Duration::from_secs(1))).await;
            let (name, n) = member.name();
            for attack in &attacks {
                let what = format!("{} at {name}-{n} ({})", attack.name, suite.shape());
                let others = Others::at(suite, suite.transport()).await;
                let memory = member.program().memory().unwrap_or_default();
                let seen = at(member, attack, &bearer, time).await;
                let fare = others.stop().await;
                trial.tried();
                run.step();
                let grown = seen.memory.saturating_sub(memory);
                (most, slowest) = (most.max(grown), slowest.max(fare.p99()));
                told += seen.ended;
                if !member.program().is_running() {
                    trial.fail(format!("{what}: the process died\n{}", member.program().output()));
                    break;
                }
                trial.check(!attack.ends || seen.endured == 0, || {
                    format!(
                        "{what}: {} of {} connections were neither told to go nor cut",
                        seen.endured, seen.connections
                    )
                });
                trial.check(fare.failed.is_empty(), || {
                    format!("{what}: others failed: {:?}", fare.failed.first())
                });
                trial.check(grown <= MEMORY, || format!("{what}: {} MiB more", grown >> 20));
                // A pull request shares its machine with other tests, so that how slow says nothing there.
                let slow = fare.p99() > before.p99() * 2 + Duration::from_millis(50);
                trial.check(run.tier == Tier::Pr || !slow, || {
                    format!("{what}: others' p99 {:?}, {:?} before", fare.p99(), before.p99())
                });
                let calm = calms(member.program()).await;
                trial.check(calm, || format!("{what}: still at work {CALM:?} after"));
            }
        }
    }
    trial.note(format!(
        "{} kinds; {told} connections ended by the server; {} MiB more at most; others' slowest p99 {slowest:.0?}",
        attacks.len(),
        most >> 20,
    ));
    let unlimited = Unlimited::start().await;
    let mut ids = Ids(1);
    let provocations: Vec<u8> =
        (0..3000).flat_map(|_| wire::provocation(ids.next(), CHECK)).collect();
    let seen = timeout(time * 4 + CALM, one(unlimited.address, wire::PREFACE, provocations)).await;
    let borne = !matches!(seen, Ok(Some(_)));
    trial.control("hyper as tonic sets it answers no GOAWAY to 3,000 forced resets", borne);
    trial
}

/// What attackers saw.
#[derive(Default)]
struct Seen {
    connections: u64,
    /// Connections that the server ended.
    ended: u64,
    /// Connections that it did not, though the flood was over.
    endured: u64,
    /// The most memory that the process held.
    memory: u64,
}

async fn at(member: &Member, attack: &Attack, bearer: &str, time: Duration) -> Seen {
    let until = Instant::now() + time;
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let (address, bearer) = (member.address(), bearer.to_owned());
        let (ends, opening, round) = (attack.ends, attack.opening, attack.round);
        attackers.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < until {
                attacked(address, ends, opening(), round, &bearer, until, &mut seen).await;
                sleep(Duration::from_millis(10)).await;
            }
            seen
        });
    }
    let mut all = Seen::default();
    loop {
        all.memory = all.memory.max(member.program().memory().unwrap_or_default());
        match timeout(Duration::from_millis(50), attackers.join_next()).await {
            Ok(Some(seen)) => {
                let seen = seen.expect("an attacker does not panic");
                all.connections += seen.connections;
                all.ended += seen.ended;
                all.endured += seen.endured;
            }
            Ok(None) => return all,
            Err(_) => {}
        }
    }
}

/// One connection of an attacker, until it ends or the time is over.
async fn attacked(
    address: SocketAddr,
    ends: bool,
    opening: Vec<u8>,
    round: fn(&mut Ids, &str) -> Vec<u8>,
    bearer: &str,
    until: Instant,
    seen: &mut Seen,
) {
    let Ok(stream) = TcpStream::connect(address).await else { return };
    seen.connections += 1;
    let (from, mut to) = stream.into_split();
    let mut read = tokio::spawn(async move {
        let mut wire = Wire(from);
        while !matches!(wire.event().await, Event::GoAway(_) | Event::Closed) {}
    });
    let mut ids = Ids(1);
    // What must end the connection is sent a while at least; half a second of it would do.
    let least = Instant::now() + Duration::from_millis(300);
    let mut bytes = [wire::PREFACE, &opening].concat();
    while !read.is_finished() && Instant::now() < until.max(if ends { least } else { until }) {
        match timeout(CALM, to.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            _ => break,
        }
        sleep(Duration::from_millis(1)).await;
        bytes = round(&mut ids, bearer);
    }
    let patience = if ends { CALM } else { Duration::ZERO };
    match timeout(patience, &mut read).await {
        Ok(_) => seen.ended += 1,
        Err(_) => {
            seen.endured += 1;
            read.abort();
        }
    }
}

/// Sends all of `bytes`; the code of a GOAWAY, if one comes in time.
async fn one(address: SocketAddr, preface: &[u8], bytes: Vec<u8>) -> Option<u32> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (from, mut to) = stream.into_split();
    let preface = preface.to_owned();
    tokio::spawn(async move {
        let _ = to.write_all(&preface).await;
        let _ = to.write_all(&bytes).await;
        // Kept open: its end would end the reading.
        sleep(Duration::from_secs(60)).await;
    });
    let (mut wire, mut resets) = (Wire(from), 0);
    loop {
        match wire.event().await {
            Event::GoAway(code) => return Some(code),
            Event::Reset(..) => resets += 1,
            Event::Closed => return Some(0),
            _ => {}
        }
        if resets >= 3000 {
            return None;
        }
    }
}

/// Whether a process comes to rest.
async fn calms(program: &Program) -> bool {
    const LOOK: Duration = Duration::from_millis(250);
    let until = Instant::now() + CALM;
    loop {
        let before = program.worked().unwrap_or_default();
        sleep(LOOK).await;
        let worked = program.worked().unwrap_or_default().saturating_sub(before);
        if worked <= LOOK / 4 {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
    }
}

fn nothing() -> Vec<u8> {
    vec![]
}

fn zero_window() -> Vec<u8> {
    frame(wire::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])
}

/// `count` times what `one` gives.
fn many(count: usize, mut one: impl FnMut() -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|_| one()).collect()
}

fn opened(id: u32) -> Vec<u8> {
    wire::headers(id, &wire::request(CHECK, None), false)
}

fn attacks() -> Vec<Attack> {
    let attack = |name, ends, round| Attack { name, ends, opening: nothing, round };
    vec![
        attack("streams that are reset at once", true, |ids, _| {
            many(60, || {
                let id = ids.next();
                [opened(id), frame(wire::RST_STREAM, 0, id, &8u32.to_be_bytes())].concat()
            })
        }),
        attack("resets that the server is made to send", true, |ids, _| {
            many(60, || wire::provocation(ids.next(), CHECK))
        }),
        attack("windows of streams that overflow", true, |ids, _| {
            many(60, || {
                let id = ids.next();
                let over = frame(wire::WINDOW_UPDATE, 0, id, &0x7fff_ffffu32.to_be_bytes());
                [opened(id), over.clone(), over].concat()
            })
        }),
        attack("CONTINUATION without end", true, |ids, _| {
            if ids.0 == 1 {
                return frame(
                    wire::HEADERS,
                    0,
                    ids.next(),
                    &wire::block(&wire::request(CHECK, None)),
                );
            }
            many(60, || frame(wire::CONTINUATION, 0, 1, &wire::block(&[("x", "y")])))
        }),
        attack("DATA without a byte", false, |ids, _| {
            let open = if ids.0 == 1 { opened(ids.next()) } else { vec![] };
            [open, many(200, || frame(wire::DATA, 0, 1, &[]))].concat()
        }),
        attack("DATA of one byte", false, |ids, _| {
            let id = ids.next();
            [
                opened(id),
                many(200, || frame(wire::DATA, 0, id, &[0])),
                frame(wire::RST_STREAM, 0, id, &8u32.to_be_bytes()),
            ]
            .concat()
        }),
        attack("PING", false, |_, _| many(200, wire::ping)),
        attack("SETTINGS", false, |_, _| {
            many(200, || frame(wire::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))
        }),
        attack("PRIORITY", false, |ids, _| {
            many(200, || frame(wire::PRIORITY, 0, ids.next(), &[0, 0, 0, 0, 16]))
        }),
        attack("WINDOW_UPDATE by nothing", true, |_, _| {
            many(20, || frame(wire::WINDOW_UPDATE, 0, 0, &[0; 4]))
        }),
        attack("a window that overflows", true, |_, _| {
            many(20, || frame(wire::WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes()))
        }),
        attack("a field that is named ten thousand times", false, |ids, _| {
            // RFC 7541: kept in the table once, then one byte each.
            let mut block = wire::block(&wire::request(CHECK, None));
            let kept = wire::block(&[("x-bomb", &"b".repeat(2000))]);
            block.extend([&[0x40], &kept[1..]].concat());
            block.extend([0xbe; 10_000]);
            frame(wire::HEADERS, wire::END_STREAM | wire::END_HEADERS, ids.next(), &block)
        }),
        attack("a table that is filled anew each time", false, |ids, _| {
            let id = ids.next();
            let mut block = vec![0x3f, 0xe1, 0x1f];
            block.extend(wire::block(&wire::request(CHECK, None)));
            for n in 0..20 {
                let field = wire::block(&[(&format!("x-{id}-{n}"), &"t".repeat(100))]);
                block.extend([&[0x40], &field[1..]].concat());
            }
            frame(wire::HEADERS, wire::END_STREAM | wire::END_HEADERS, id, &block)
        }),
        Attack {
            name: "a hundred answers that nobody takes",
            ends: false,
            opening: zero_window,
            round: |ids, bearer| {
                if ids.0 > 200 {
                    return wire::ping();
                }
                many(100, || wire::ask(ids.next(), LIST, Some(bearer), &[]))
            },
        },
        attack("frames of no kind", false, |_, _| many(200, || frame(99, 0, 0, &[0; 64]))),
        attack("DATA on no stream", true, |_, _| many(20, || frame(wire::DATA, 0, 0, &[0; 5]))),
        attack("a stream of the server's", true, |_, _| {
            wire::headers(2, &wire::request(CHECK, None), true)
        }),
        attack("frames on a stream that is over", false, |ids, _| match ids.0 {
            1 => wire::call(ids.next(), CHECK),
            _ => many(20, || frame(wire::DATA, 0, 1, &[0; 5])),
        }),
        attack("trailers before headers", true, |ids, _| {
            many(60, || wire::headers(ids.next(), &[("grpc-status", "0")], true))
        }),
        attack("ten thousand fields", false, |ids, _| {
            let mut fields = wire::request(CHECK, None);
            fields.extend([("x", "y"); 10_000]);
            wire::headers(ids.next(), &fields, true)
        }),
        attack("a push", true, |ids, _| {
            frame(wire::PUSH_PROMISE, wire::END_HEADERS, ids.next(), &[0; 8])
        }),
        attack("a frame that is too large", true, |ids, _| {
            frame(wire::DATA, 0, ids.next(), &[0; 20 << 10])
        }),
        attack("a call of a stranger, again and again", false, |ids, _| {
            many(50, || wire::call(ids.next(), GET))
        }),
    ]
}
