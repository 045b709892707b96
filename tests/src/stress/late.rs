//! Deadlines: read strictly, kept while what is behind is frozen, and kept of those who read and write by drops.
use std::time::Duration;

use caseward_testkit::{
    Suite,
    wire::{self, Event, PREFACE, Wire},
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::Code;

use super::others::patient;
use crate::{
    Run, Tier, Trial,
    sight::{
        ask::{Voice, encode},
        contract::rpc,
        coverage::ports,
    },
};

const LIST: &str = "/caseward.patient.v1.PatientService/ListPatients";
const CREATE: &str = "/caseward.patient.v1.PatientService/CreatePatient";

/// A time that is over, and the code it gives.
const GONE: Code = Code::DeadlineExceeded;

pub async fn frozen(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let suite = Suite::cluster().await.expect("PostgreSQL and NATS");
    let sam = suite.caller("sam", &["supervisor"]);
    let name = patient(&sam, "Frozen").await.expect("a patient is made");
    let get = rpc("GetPatient");
    let message = encode(get.method.input(), &json!({ "name": name }));
    let members = suite.members();
    let frozen =
        members.iter().find(|member| member.name() == ("patient", 0)).expect("a patient service");
    frozen.pause();
    let calls = run.of(40, 2_000);
    run.expect(calls);
    let mut chances = run.random();
    let mut late = vec![];
    let mut asked = JoinSet::new();
    for _ in 0..calls {
        let wait = Duration::from_millis(chances.u64(100..=2_000));
        let voice = Voice::new(&suite.transport(), sam.token());
        let message = message.clone();
        asked.spawn(async move {
            let given = format!("{}m", wait.as_millis());
            let began = Instant::now();
            let answer = voice.raw(&get.path, &[("grpc-timeout", &given)], &message).await;
            (answer.code, began.elapsed().saturating_sub(wait), wait)
        });
        // Some at a time, as clients are.
        if asked.len() >= 20 {
            late.extend(asked.join_next().await);
        }
    }
    while let Some(one) = asked.join_next().await {
        late.push(one);
    }
    frozen.resume();
    let mut waits = vec![];
    for one in late {
        let (code, over, wait) = one.expect("a caller does not panic");
        trial.tried();
        run.step();
        waits.push(over);
        trial.check(matches!(code, Code::DeadlineExceeded | Code::Unavailable), || {
            format!("{code:?}")
        });
        if over > Duration::from_millis(50) {
            trial.note(format!("{code:?} {over:.0?} after a deadline of {wait:?}"));
        }
    }
    waits.sort();
    let worst = waits.last().copied().unwrap_or_default();
    let most = waits[(waits.len() - 1) * 999 / 1000];
    // A pull request shares its machine with other tests.
    let slack = if run.tier == Tier::Pr { 10 } else { 1 };
    trial.check(worst <= Duration::from_millis(200) * slack, || format!("{worst:?} too late"));
    trial
        .check(most <= Duration::from_millis(50) * slack, || format!("{most:?} too late at p99.9"));
    trial.note(format!("answered {most:.0?} after the deadline at p99.9, {worst:.0?} at worst"));
    frozen.pause();
    let past = Voice::new(&suite.replica("patient", 0), sam.token());
    let alone = past.raw(&get.path, &[("grpc-timeout", "200m")], &message);
    let hangs = timeout(Duration::from_secs(1), alone).await.is_err();
    frozen.resume();
    trial.control("whoever asks the frozen service itself waits beyond the deadline", hangs);
    trial
}

pub async fn odd(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let forms: [(&[&str], Code); 17] = [
        (&[], Code::Ok),
        (&["5S"], Code::Ok),
        (&["1H"], Code::Ok),
        (&["99999999H"], Code::Ok),
        (&["0n"], GONE),
        (&["1n"], GONE),
        (&["0S"], GONE),
        (&["-1S"], Code::InvalidArgument),
        (&["abc"], Code::InvalidArgument),
        (&[""], Code::InvalidArgument),
        (&["5"], Code::InvalidArgument),
        (&["S"], Code::InvalidArgument),
        (&["5 S"], Code::InvalidArgument),
        (&["5s"], Code::InvalidArgument),
        (&["1.5S"], Code::InvalidArgument),
        (&["123456789S"], Code::InvalidArgument),
        (&["5S", "6S"], Code::InvalidArgument),
    ];
    let suites = match run.tier {
        Tier::Pr => vec![Suite::one().await],
        Tier::Nightly => caseward_testkit::suites().await,
    };
    let mut taken = 0;
    for suite in &suites {
        let sam = suite.caller("sam", &["supervisor"]);
        let name = patient(&sam, "Odd").await.expect("a patient is made");
        let get = rpc("GetPatient");
        let message = encode(get.method.input(), &json!({ "name": name }));
        for port in ports(suite).iter().filter(|port| port.serves(&get.service)) {
            let voice = Voice::new(&port.door, sam.token());
            for (values, code) in &forms {
                let headers: Vec<_> = values.iter().map(|value| ("grpc-timeout", *value)).collect();
                let answer = voice.raw(&get.path, &headers, &message).await;
                trial.tried();
                taken += u32::from(answer.code == Code::Ok);
                trial.check(answer.code == *code, || {
                    format!("{values:?} at {}: {:?}, wants {code:?}", port.label, answer.code)
                });
            }
        }
    }
    trial.control(format!("what is a deadline is taken, {taken} times"), taken > 0);
    trial
}

pub async fn drops(run: &Run) -> Trial {
    const LIMIT: Duration = Duration::from_secs(1);
    const MARGIN: Duration = Duration::from_secs(2);
    const PEOPLE: usize = 16;
    let mut trial = Trial::default();
    let suite = Suite::plan().with("CASEWARD__LISTENER__STALLED_SECONDS", "1").one().await;
    let unhurried = Suite::one().await;
    let count = run.of(50, 200);
    run.expect(2 * count);
    let member = &suite.members()[0];
    let before = member.program().memory().unwrap_or_default();
    // One caller alone would have a part of the places only.
    let people = (0..PEOPLE).map(|n| suite.caller(&format!("eve-{n}"), &["supervisor"]));
    let bearers: Vec<_> = people.map(|eve| format!("Bearer {}", eve.token())).collect();
    let closed = wire::frame(wire::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let opening =
        |bearer: &str| [PREFACE, &closed, &wire::ask(1, LIST, Some(bearer), &[])].concat();
    let mut readers = JoinSet::new();
    for n in 0..2 * count {
        let address = suite.address();
        // Every other one writes a byte now and then of a message that never ends.
        let (reads, bearer) = (n % 2 == 0, bearers[n as usize % PEOPLE].clone());
        let opening = opening(&bearer);
        readers.spawn(async move {
            let began = Instant::now();
            if reads {
                let mut wire = Wire::open(address, &opening).await.expect("it listens");
                wire.until(|event| matches!(event, Event::Reset(1, _))).await;
                return (reads, began.elapsed());
            }
            let mut fields = wire::request(CREATE, Some(&bearer));
            fields.push(("grpc-timeout", "1S"));
            let begun = [PREFACE, &wire::headers(1, &fields, false)].concat();
            let mut wire = Wire::open(address, &begun).await.expect("it listens");
            let _ = wire.send(&wire::frame(wire::DATA, 0, 1, &[0, 0, 0, 0, 100])).await;
            wire.until(|event| matches!(event, Event::Headers(1))).await;
            (reads, began.elapsed())
        });
    }
    let mut latest = Duration::ZERO;
    while let Some(ended) = readers.join_next().await {
        let Ok((reads, after)) = ended else {
            trial.fail("a stream was never ended");
            continue;
        };
        trial.tried();
        run.step();
        latest = latest.max(after);
        trial.check(after <= LIMIT + MARGIN, || {
            format!("{} ended after {after:?}", if reads { "a reader" } else { "a writer" })
        });
    }
    let grown = member.program().memory().unwrap_or_default().saturating_sub(before);
    trial.check(grown <= 64 << 20, || format!("{} MiB more", grown >> 20));
    trial.note(format!("the latest end after {latest:.1?}, {} MiB more", grown >> 20));
    let bearer = format!("Bearer {}", unhurried.caller("eve", &["supervisor"]).token());
    let mut wire = Wire::open(unhurried.address(), &opening(&bearer)).await.expect("it listens");
    let mut reset = false;
    let listening = async {
        while !reset {
            reset = matches!(wire.event().await, Event::Reset(1, _));
        }
    };
    let _ = timeout(LIMIT + MARGIN, listening).await;
    sleep(Duration::ZERO).await;
    trial.control("with the limit of 30 s the same reader is still borne", !reset);
    trial
}
