//! The machine's clock jumps: nobody gets in by it, nothing is lost by it, and nothing waits for a date to come again.
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use caseward_api::{
    careplan::v1::{
        self as care, case_service_client::CaseServiceClient,
        task_service_client::TaskServiceClient,
    },
    notification::v1::{ListInboxItemsRequest, inbox_service_client::InboxServiceClient},
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
};
use caseward_core::{Clock, Time};
use caseward_testkit::{Caller, Desk, Plan, Suite};
use prost_types::FieldMask;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request, Status};

use super::others::patient;
use crate::{
    Run, Trial,
    sight::{
        ask::Voice,
        revoked::{AT_MOST, Tie},
        world::World,
    },
};

const YEAR: i64 = 365 * 24 * 3600;

/// By how many seconds the clock jumps, and back.
const JUMPS: [i64; 8] = [1, -1, 300, -300, 3600, -3600, YEAR, -YEAR];

/// By how many seconds one process tells another time than all others: less than clocks may differ by.
const APART: [i64; 4] = [25, -25, 1, -1];

/// How long a token lives.
const LIFE: Duration = Duration::from_secs(600);

/// By how many seconds clocks may differ.
const LEEWAY: i64 = 30;

/// How long the suite stays at one time.
const STAY: Duration = Duration::from_secs(1);

/// How long after a jump the calls of before it may be refused for their tokens.
const SETTLED: Duration = Duration::from_millis(500);

/// How long it may take until all that is done by one replica is done again.
const WELL: Duration = Duration::from_secs(30);

/// What callers wait for an answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How many change records meanwhile.
const WRITERS: usize = 4;

/// The clock of a suite's processes, by libfaketime.
#[derive(Clone)]
struct Jumping {
    file: PathBuf,
    by: Arc<AtomicI64>,
}

impl Jumping {
    fn new(file: PathBuf) -> Jumping {
        let clock = Jumping { file, by: Arc::default() };
        clock.jump(0);
        clock
    }

    /// Has the processes of `plan` follow it. Time that is not a date goes on as it does, as on a machine.
    fn of(&self, plan: Plan) -> Plan {
        let library = library().expect("libfaketime, as Debian has it");
        plan.with("CASEWARD__CLOCK__SIMULATED_START", "")
            .with("LD_PRELOAD", library.display().to_string())
            .with("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string())
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with("DONT_FAKE_MONOTONIC", "1")
            .with("NO_FAKE_STAT", "1")
    }

    fn jump(&self, by: i64) {
        set(&self.file, by);
        self.by.store(by, Relaxed);
    }

    /// What the processes take for the present.
    fn now(&self) -> Time {
        Clock::System.now() + time::Duration::seconds(self.by.load(Relaxed))
    }

    /// Somebody who signs in now and `ago` seconds after.
    fn caller(&self, desk: &Desk, subject: &str, role: &str, ago: i64) -> Caller {
        desk.caller_at(subject, &[role], LIFE, self.now() - time::Duration::seconds(ago))
    }
}

/// Has the clock that `file` is be off by so many seconds.
fn set(file: &Path, by: i64) {
    let new = file.with_extension("new");
    let written = std::fs::write(&new, format!("{by:+}\n"));
    written.and_then(|()| std::fs::rename(new, file)).expect("the clock is set");
}

fn library() -> anyhow::Result<PathBuf> {
    let all = std::fs::read_dir("/usr/lib")?.flatten();
    let mut found = all.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists()).context("there is none")
}

pub async fn jumps(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let rounds = run.of(1, 10);
    run.expect(rounds * (JUMPS.len() * 2) as u64);
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Jumping::new(folder.path().join("clock"));
    let one = clock.of(Suite::plan()).one().await;
    shape(&mut trial, run, one, &clock, rounds).await;
    let cluster = clock.of(Suite::plan()).cluster().await.expect("PostgreSQL and NATS");
    shape(&mut trial, run, cluster, &clock, rounds).await;
    apart(&mut trial, folder.path(), rounds).await;
    trial
}

/// One process of a cluster tells another time than all others: whoever is let in or let go is so everywhere, at once.
async fn apart(trial: &mut Trial, folder: &Path, rounds: u64) {
    let each = Jumping::new(folder.join("{member}")).of(Suite::plan());
    let suite = each.cluster().await.expect("PostgreSQL and NATS");
    let world = World::furnish(&suite).await;
    let sam = Voice::new(&suite.transport(), suite.caller("sam", &["supervisor"]).token());
    let members = suite.members().iter().map(|member| member.name());
    let members: Vec<_> = members.map(|(name, n)| format!("{name}-{n}")).collect();
    let mut latest = Duration::ZERO;
    for round in 0..rounds {
        for (member, by) in members.iter().flat_map(|member| APART.map(|by| (member, by))) {
            set(&folder.join(member), by);
            for tie in [Tie::Member, Tie::Caregiver] {
                trial.tried();
                let person = format!("{tie:?}-{round}-{member}-{by}");
                for stay in tie.stay(&suite, &world, &sam, &person).await {
                    let held = stay.came <= AT_MOST && stay.went.is_some();
                    trial.check(held, || format!("{member} {by:+} s, {tie:?}: {stay:?}"));
                    latest = latest.max(stay.came).max(stay.went.unwrap_or_default());
                }
            }
            set(&folder.join(member), 0);
        }
    }
    trial.note(format!(
        "one process of a cluster up to {} s apart: let in and let go everywhere within {latest:.1?}",
        APART[0]
    ));
}

async fn shape(trial: &mut Trial, run: &Run, mut suite: Suite, clock: &Jumping, rounds: u64) {
    let name = suite.shape();
    let desk = suite.desk();
    let record = patient(&clock.caller(&desk, "sam", "supervisor", 0), "Clock").await;
    let record = record.expect("a patient is made");
    let stop = Arc::new(AtomicBool::new(false));
    let jumped = Arc::new(std::sync::Mutex::new(Instant::now()));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (desk, clock) = (desk.clone(), clock.clone());
        writers.spawn(write(desk, clock, jumped.clone(), stop.clone(), format!("{name} {n}")));
    }
    let mut refused = 0;
    for by in (0..rounds).flat_map(|_| JUMPS) {
        for by in [by, 0] {
            // Before it does: whoever is refused in between was signed before, too.
            *jumped.lock().unwrap() = Instant::now();
            clock.jump(by);
            sleep(STAY).await;
            trial.tried();
            for (what, ago, wanted) in [
                ("a good token", 0, Code::Ok),
                ("a token that ended", LIFE.as_secs() as i64 + LEEWAY + 5, Code::Unauthenticated),
                ("a token of later", -(LEEWAY + 5), Code::Unauthenticated),
            ] {
                let sam = clock.caller(&desk, "sam", "supervisor", ago);
                let code =
                    get(&sam, &record).await.map_or_else(|status| status.code(), |_| Code::Ok);
                refused += u64::from(code == Code::Unauthenticated);
                trial.check(code == wanted, || format!("{name}, {by:+} s: {what} is {code:?}"));
            }
        }
        run.step();
    }
    stop.store(true, Relaxed);
    let mut written = vec![];
    while let Some(writer) = writers.join_next().await {
        let writer = writer.expect("a writer does not panic");
        writer.wrong.iter().take(3).for_each(|why| trial.fail(format!("{name}: {why}")));
        written.push(writer);
    }
    let sam = clock.caller(&desk, "sam", "supervisor", 0);
    let mut changes = 0;
    for writer in &written {
        let found = get(&sam, &writer.name).await.expect("what was written is there");
        changes += writer.acknowledged;
        let revision: u64 = found.etag.trim_matches('"').parse().unwrap_or_default();
        trial.check(revision == writer.acknowledged, || {
            format!(
                "{name}: {} changes were acknowledged, {revision} are there",
                writer.acknowledged
            )
        });
    }
    trial.control(
        format!("{name}: tokens that are good by the machine's date and not by the suite's are refused, {refused} times"),
        refused > 0,
    );
    // A storm of timers would show in what the processes do while nobody asks.
    let before = idle(&suite).await;
    clock.jump(YEAR);
    let ahead = idle(&suite).await;
    trial.check(ahead <= before + Duration::from_millis(100), || {
        format!("{name}: idle, a second costs {ahead:?} after a jump, {before:?} before")
    });
    // What one replica holds was taken in a year's time, when the processes are killed there.
    sleep(Duration::from_secs(3)).await;
    let all: Vec<_> = suite.members().iter().map(|member| member.name()).collect();
    for (service, replica) in &all {
        suite.member(service, *replica).kill().await;
    }
    clock.jump(0);
    for (service, replica) in &all {
        suite.member(service, *replica).start().await;
    }
    suite.ready().await;
    let began = Instant::now();
    let told = tell(&clock.caller(&desk, "sam", "supervisor", 0), &record).await;
    trial.check(told.is_ok(), || format!("{name}: a task could not be given: {told:?}"));
    let ana = clock.caller(&desk, "ana", "case_manager", 0);
    while hears(&ana).await.is_ok_and(|heard| !heard) && began.elapsed() < WELL {
        sleep(Duration::from_millis(100)).await;
    }
    trial.check(began.elapsed() < WELL, || {
        format!("{name}: killed in a year's time, nobody is told {WELL:?} after the clock is right again")
    });
    trial.note(format!(
        "{name}: {changes} changes, told {:.1?} after it was killed a year ahead",
        began.elapsed()
    ));
}

struct Written {
    name: String,
    /// How many changes, its making included.
    acknowledged: u64,
    wrong: Vec<String>,
}

/// Makes a patient, and changes it over and over.
async fn write(
    desk: Desk,
    clock: Jumping,
    jumped: Arc<std::sync::Mutex<Instant>>,
    stop: Arc<AtomicBool>,
    family: String,
) -> Written {
    let sam = clock.caller(&desk, "sam", "supervisor", 0);
    let name = patient(&sam, &family).await.expect("a patient is made");
    let mut written = Written { name, acknowledged: 1, wrong: vec![] };
    let mut found = get(&sam, &written.name).await.expect("it is there");
    while !stop.load(Relaxed) {
        let (sam, sent) = (clock.caller(&desk, "sam", "supervisor", 0), Instant::now());
        found.time_zone =
            if written.acknowledged.is_multiple_of(2) { "Europe/Vienna" } else { "UTC" }.to_owned();
        let mut request = Request::new(pb::UpdatePatientRequest {
            patient: Some(found.clone()),
            update_mask: Some(FieldMask { paths: vec!["time_zone".to_owned()] }),
            ..Default::default()
        });
        request.set_timeout(DEADLINE);
        match sam.client(PatientServiceClient::new).update_patient(request).await {
            Ok(answer) => {
                written.acknowledged += 1;
                found = answer.into_inner();
            }
            // It was signed before the jump, or the jump was not yet seen when it was read.
            Err(status)
                if status.code() == Code::Unauthenticated
                    && sent < *jumped.lock().unwrap() + SETTLED => {}
            Err(status) => written.wrong.push(format!("a change was refused: {status}")),
        }
    }
    written
}

async fn get(by: &Caller, name: &str) -> Result<pb::Patient, Status> {
    let request = pb::GetPatientRequest { name: name.to_owned() };
    by.client(PatientServiceClient::new).get_patient(request).await.map(tonic::Response::into_inner)
}

/// Gives ana a task.
async fn tell(sam: &Caller, patient: &str) -> Result<(), Status> {
    let case =
        care::Case { patient: patient.to_owned(), title: "Clock".to_owned(), ..Default::default() };
    let ask = care::CreateCaseRequest { case: Some(case), ..Default::default() };
    let case = sam.client(CaseServiceClient::new).create_case(ask).await?.into_inner();
    let task = care::Task {
        title: "Look at the clock".to_owned(),
        owner: "ana".to_owned(),
        ..Default::default()
    };
    let ask = care::CreateTaskRequest { parent: case.name, task: Some(task), ..Default::default() };
    sam.client(TaskServiceClient::new).create_task(ask).await.map(drop)
}

async fn hears(ana: &Caller) -> Result<bool, Status> {
    let ask = ListInboxItemsRequest { parent: "inboxes/me".to_owned(), ..Default::default() };
    let items = ana.client(InboxServiceClient::new).list_inbox_items(ask).await?;
    Ok(!items.into_inner().items.is_empty())
}

/// How long cores worked for the suite within a second.
async fn idle(suite: &Suite) -> Duration {
    let worked = || -> Duration {
        suite.members().iter().filter_map(|member| member.program().worked()).sum()
    };
    sleep(STAY).await;
    let before = worked();
    sleep(STAY).await;
    worked().saturating_sub(before)
}
