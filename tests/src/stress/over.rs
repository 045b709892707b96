//! More calls than a process takes: some are turned away at once, the others are served as ever.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_api::patient::v1::{self as pb, patient_service_client::PatientServiceClient};
use caseward_testkit::{Caller, Suite};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::Code;
use tonic_types::StatusExt;

use super::others::patient;
use crate::{Run, Tier, Trial};

/// Calls in flight that the process under trial takes.
const IN_FLIGHT: usize = 8;

/// How many times as many callers there are, and what part of the peak is served then. Who is turned away costs
/// something, as do the callers, on the same cores.
const LOADS: [(usize, f64); 3] = [(2, 0.9), (5, 0.8), (10, 0.8)];

#[derive(Default)]
struct Fare {
    served: u64,
    shed: u64,
    left: u64,
    wrong: Vec<String>,
    took: Vec<Duration>,
}

pub async fn load(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let time = Duration::from_millis(run.of(1_500, 60_000));
    let suite =
        Suite::plan().with("CASEWARD__LIMITS__IN_FLIGHT", IN_FLIGHT.to_string()).one().await;
    let sam = suite.caller("sam", &["supervisor"]);
    let name = patient(&sam, "Load").await.expect("a patient is made");
    let program = suite.members()[0].program();
    // As many callers as calls it takes: its peak.
    let peak = drive(&suite, &name, IN_FLIGHT, None, time).await;
    let memory = program.memory().unwrap_or_default();
    let loads: &[_] = if run.tier == Tier::Pr { &LOADS[1..2] } else { &LOADS };
    run.expect(loads.len() as u64 * 2);
    let mut shed = 0;
    for (times, least) in loads {
        for patience in [None, Some(Duration::from_millis(10))] {
            let health = watch_health(&suite);
            let fare = drive(&suite, &name, IN_FLIGHT * times, patience, time).await;
            let ready = health.stop().await;
            let what = match patience {
                None => format!("{times} times as many callers"),
                Some(patience) => format!("{times} times as many, who leave after {patience:?}"),
            };
            trial.tries += fare.served + fare.shed + fare.left;
            shed += fare.shed;
            run.step();
            trial.check(ready, || format!("{what}: health was shed"));
            fare.wrong.iter().take(3).for_each(|why| trial.fail(format!("{what}: {why}")));
            let grown = program.memory().unwrap_or_default().saturating_sub(memory);
            trial.check(grown <= 64 << 20, || format!("{what}: {} MiB more", grown >> 20));
            let part = if run.tier == Tier::Pr { 0.05 } else { *least };
            let served = fare.served as f64 / peak.served as f64;
            if patience.is_none() {
                trial.check(served >= part, || {
                    format!("{what}: {served:.2} of the peak were served")
                });
            }
            trial.note(format!(
                "{what}: {served:.2} of the peak of {:.0}/s served, {} turned away, {} left, p99 {:.0?} ({:.0?} at the peak)",
                peak.served as f64 / time.as_secs_f64(),
                fare.shed,
                fare.left,
                p99(&fare.took),
                p99(&peak.took),
            ));
        }
    }
    let began = Instant::now();
    let after = drive(&suite, &name, 1, None, Duration::from_millis(300)).await;
    trial.check(after.shed == 0 && after.served > 0, || {
        format!("{} turned away when the load was over ({:?} after)", after.shed, began.elapsed())
    });
    trial.control(format!("of more than it takes {shed} were turned away"), shed > 0);
    trial
}

fn p99(took: &[Duration]) -> Duration {
    took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}

async fn drive(
    suite: &Suite,
    name: &str,
    callers: usize,
    patience: Option<Duration>,
    time: Duration,
) -> Fare {
    let until = Instant::now() + time;
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let (sam, name) = (suite.caller("sam", &["supervisor"]), name.to_owned());
        all.spawn(calls(sam, name, patience, until));
    }
    let mut sum = Fare::default();
    while let Some(fare) = all.join_next().await {
        let fare = fare.expect("a caller does not panic");
        sum.served += fare.served;
        sum.shed += fare.shed;
        sum.left += fare.left;
        sum.wrong.extend(fare.wrong);
        sum.took.extend(fare.took);
    }
    sum.took.sort();
    sum
}

/// Calls one after the other; whoever has a `patience` leaves when it is over and calls again.
async fn calls(sam: Caller, name: String, patience: Option<Duration>, until: Instant) -> Fare {
    let mut fare = Fare::default();
    let mut client = sam.client(PatientServiceClient::new);
    while Instant::now() < until {
        let began = Instant::now();
        let call = client.get_patient(pb::GetPatientRequest { name: name.clone() });
        let answer = match timeout(patience.unwrap_or(Duration::from_secs(20)), call).await {
            Ok(answer) => answer,
            Err(_) if patience.is_some() => {
                fare.left += 1;
                continue;
            }
            Err(_) => {
                fare.wrong.push("no answer within 20 s".to_owned());
                continue;
            }
        };
        match answer {
            Ok(_) => {
                fare.served += 1;
                fare.took.push(began.elapsed());
            }
            Err(status) if status.code() == Code::Unavailable => {
                fare.shed += 1;
                if status.get_details_retry_info().is_none() {
                    fare.wrong
                        .push(format!("turned away without a word when to come back: {status}"));
                }
                // A caller that is told to come back does, a little later.
                sleep(Duration::from_millis(20)).await;
            }
            Err(status) => fare.wrong.push(status.to_string()),
        }
    }
    fare
}

struct Health {
    stop: Arc<AtomicBool>,
    asked: tokio::task::JoinHandle<bool>,
}

/// Asks for the health of the patient service over and over.
fn watch_health(suite: &Suite) -> Health {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, door) = (stop.clone(), suite.transport());
    let asked = tokio::spawn(async move {
        let mut health = tonic_health::pb::health_client::HealthClient::new(door);
        while !told.load(Relaxed) {
            let request = tonic_health::pb::HealthCheckRequest::default();
            if !matches!(health.check(request).await, Ok(reply) if reply.get_ref().status == 1) {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    });
    Health { stop, asked }
}

impl Health {
    async fn stop(self) -> bool {
        self.stop.store(true, Relaxed);
        self.asked.await.expect("a task does not panic")
    }
}
