//! How long somebody whose relation was taken away still gets in, at every service, while others work.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use caseward_testkit::{Suite, suites};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use super::{
    ask::{Voice, text},
    coverage::{Port, ports},
    world::{World, eventually},
};
use crate::{Run, Trial};

/// What is promised.
pub const AT_MOST: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(20);
/// How often they must be refused in a row until it counts as the end.
const IN_A_ROW: usize = 10;
const BUSY: usize = 4;

/// How somebody came to see a patient, and how that ends.
#[derive(Clone, Copy, Debug)]
pub enum Tie {
    Member,
    Caregiver,
}

/// How somebody was let in at one port, and let go.
#[derive(Debug)]
pub struct Stay {
    pub at: String,
    /// How long after it was granted they got in.
    pub came: Duration,
    /// How long after it was taken away they last got in; nothing where that is longer than promised.
    pub went: Option<Duration>,
}

/// One question at one port, which is answered while the relation holds.
struct Probe {
    at: String,
    voice: Voice,
    rpc: &'static str,
    ask: Value,
}

pub async fn relations(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut random = run.random();
    for mut suite in suites().await {
        let world = World::furnish(&suite).await;
        let sam = Voice::new(&suite.transport(), suite.caller("sam", &["supervisor"]).token());
        let work = Work::begin(&sam, &world);
        let (mut latest, mut let_in) = (Duration::ZERO, 0);
        let times = run.of(6, 1000);
        run.expect(times);
        for n in 0..times {
            let tie = if random.bool() { Tie::Member } else { Tie::Caregiver };
            let person = format!("{tie:?}-{n}");
            for stay in tie.stay(&suite, &world, &sam, &person).await {
                trial.tried();
                let_in += 1;
                trial.check(stay.went.is_some(), || {
                    format!("{person} still gets in at {} after {AT_MOST:?}", stay.at)
                });
                latest = latest.max(stay.went.unwrap_or(AT_MOST));
            }
            run.step();
        }
        trial.control(
            format!("{}: before it was taken away, {let_in} probes got in", suite.shape()),
            let_in > 0,
        );
        let calls = work.end().await;
        trial.note(format!(
            "{}: refused after at most {} ms, beside {calls} calls of others",
            suite.shape(),
            latest.as_millis()
        ));
        if suite.is_cluster() {
            cut_off(&mut suite, &world, &sam, &mut trial).await;
        }
    }
    trial
}

/// Where no event arrives, what a service knows is old, and whoever was let go gets in: the trial sees that.
async fn cut_off(suite: &mut Suite, world: &World, sam: &Voice, trial: &mut Trial) {
    let (tie, person) = (Tie::Member, "Cut-off");
    let made = tie.begin(sam, world, person).await;
    let granted = Instant::now();
    let probes = tie.probes(suite, world, person);
    join_all(probes.iter().map(|probe| probe.gets_in_at_last(granted))).await;
    suite.nats().expect("a cluster has a bus").stop().await;
    tie.end(sam, &made).await;
    let ended = Instant::now();
    let closed = join_all(probes.iter().map(|probe| probe.closes(ended))).await;
    suite.nats().expect("a cluster has a bus").start().await;
    let open = closed.iter().filter(|closed| closed.is_none()).count();
    trial.control(format!("cluster: without the bus, {open} probes still got in"), open > 0);
}

impl Tie {
    /// Lets `person` in at every port that can tell, and lets them go again.
    pub async fn stay(self, suite: &Suite, world: &World, sam: &Voice, person: &str) -> Vec<Stay> {
        let made = self.begin(sam, world, person).await;
        let granted = Instant::now();
        let probes = self.probes(suite, world, person);
        let came = join_all(probes.iter().map(|probe| probe.gets_in_at_last(granted))).await;
        self.end(sam, &made).await;
        let ended = Instant::now();
        let went = join_all(probes.iter().map(|probe| probe.closes(ended))).await;
        let stays = probes.into_iter().zip(came).zip(went);
        stays.map(|((probe, came), went)| Stay { at: probe.at, came, went }).collect()
    }

    async fn begin(self, sam: &Voice, world: &World, person: &str) -> Value {
        match self {
            Tie::Member => {
                let member = json!({ "person": person, "role": { "text": "nurse" } });
                let ask = json!({ "parent": world.name("cases/*"), "member": member });
                sam.get("AddMember", ask).await
            }
            Tie::Caregiver => {
                let close = json!({ "names": [{ "family": "Close" }], "subject": person });
                let ask = json!({ "parent": world.name("patients/*"), "relatedPerson": close });
                let made = sam.get("CreateRelatedPerson", ask).await;
                let scope =
                    json!({ "topics": ["TOPIC_PLAN"], "legalBasis": "LEGAL_BASIS_GUARDIAN" });
                let grant = json!({ "name": made["name"], "etag": made["etag"], "scope": scope });
                sam.get("GrantCaregiverScope", grant).await
            }
        }
    }

    async fn end(self, sam: &Voice, made: &Value) {
        let verb = match self {
            Tie::Member => "EndMember",
            Tie::Caregiver => "RevokeCaregiverScope",
        };
        let ask = json!({ "name": text(made, "name"), "etag": made["etag"], "reason": "over" });
        sam.get(verb, ask).await;
    }

    fn probes(self, suite: &Suite, world: &World, person: &str) -> Vec<Probe> {
        let role = match self {
            Tie::Member => "case_manager",
            Tie::Caregiver => "caregiver",
        };
        let token = suite.caller(person, &[role]).token().to_owned();
        let at = |port: &Port, rpc: &'static str, form: &str| Probe {
            at: format!("{} {rpc}", port.label),
            voice: Voice::new(&port.door, &token),
            rpc,
            ask: json!({ "name": world.name(form) }),
        };
        let mut probes = vec![];
        for port in ports(suite) {
            if port.serves("caseward.patient.v1.PatientService") {
                probes.push(at(&port, "GetPatient", "patients/*"));
            }
            if port.serves("caseward.careplan.v1.CaseService") {
                probes.push(at(&port, "GetCase", "cases/*"));
                probes.push(at(&port, "GetCarePlan", "cases/*/carePlans/*"));
            }
            if port.serves("caseward.notification.v1.MessageService") && role == "case_manager" {
                probes.push(at(&port, "GetMessage", "messages/*"));
            }
        }
        probes
    }
}

impl Probe {
    async fn gets_in(&self) -> bool {
        self.voice.ask(self.rpc, &self.ask).await.code == Code::Ok
    }

    /// Waits until they do; how long after `granted` that is.
    async fn gets_in_at_last(&self, granted: Instant) -> Duration {
        eventually(|| async { self.gets_in().await.then(|| granted.elapsed()) }).await
    }

    /// How long after `ended` the last one was let in; nothing where that is longer than promised.
    async fn closes(&self, ended: Instant) -> Option<Duration> {
        let (mut last, mut refused) = (Duration::ZERO, 0);
        while refused < IN_A_ROW {
            if self.gets_in().await {
                (last, refused) = (ended.elapsed(), 0);
            } else {
                refused += 1;
            }
            if last > AT_MOST {
                return None;
            }
            tokio::time::sleep(EVERY).await;
        }
        Some(last)
    }
}

/// Others who read and write meanwhile.
struct Work {
    over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

impl Work {
    fn begin(sam: &Voice, world: &World) -> Work {
        let over = Arc::new(AtomicBool::new(false));
        let case = world.name("cases/*").to_owned();
        let tasks = (0..BUSY).map(|_| {
            let (over, sam, case) = (over.clone(), sam.clone(), case.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    let note = json!({ "class": "CLASS_PROGRESS", "text": "well" });
                    sam.ask("CreateNote", &json!({ "parent": case, "note": note })).await;
                    sam.ask("ListCases", &json!({})).await;
                    sam.ask("GetCase", &json!({ "name": case })).await;
                    calls += 3;
                }
                calls
            })
        });
        let tasks = tasks.collect();
        Work { over, tasks }
    }

    async fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let calls = join_all(self.tasks).await;
        calls.into_iter().map(|calls| calls.expect("others go on")).sum()
    }
}
