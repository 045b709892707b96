//! Processes that end and start while others call.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_api::{
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_server::Transport;
use caseward_testkit::{
    Caller, Suite,
    wire::{self, PREFACE},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::{others::patient, rude::Unlimited};
use crate::{Run, Trial};

/// However rude its clients are, a process ends within this time.
const END: Duration = Duration::from_secs(15);
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const LIST: &str = "/caseward.patient.v1.PatientService/ListPatients";

pub async fn rolling(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let plan = Suite::plan().replicas("patient", 2).replicas("directory", 2).replicas("gateway", 2);
    let mut suite = plan.cluster().await.expect("PostgreSQL and NATS");
    let gateways = suite.members().iter().filter(|member| member.name().0 == "gateway");
    let gateways: Vec<http::Uri> = gateways
        .map(|member| format!("http://{}", member.address()).parse().expect("an address"))
        .collect();
    let door = Transport::replicas(&gateways, None).expect("plain addresses");
    let sam = suite.caller("sam", &["supervisor"]).at(&door);
    let clients = Clients::start(&sam).await;
    let mut names: Vec<_> = suite.members().iter().map(|member| member.name()).collect();
    run.random().shuffle(&mut names);
    let rounds = run.of(3, 100);
    run.expect(rounds);
    let mut slowest = Duration::ZERO;
    for (name, n) in names.iter().copied().cycle().take(rounds as usize) {
        let began = Instant::now();
        suite.member(name, n).stop().await;
        slowest = slowest.max(began.elapsed());
        trial.check(began.elapsed() <= END, || format!("{name}-{n} took {:?}", began.elapsed()));
        suite.member(name, n).start().await;
        suite.ready().await;
        run.step();
    }
    let fare = clients.stop().await;
    trial.tries = fare.calls;
    fare.failed.iter().for_each(|why| trial.fail(why.as_str()));
    trial.note(format!(
        "{rounds} restarts, {} calls sent more than once by their clients, a process ended after {slowest:.1?} at the latest",
        fare.again
    ));
    // With both replicas gone, a client that retries cannot help it.
    let clients = Clients::start(&sam).await;
    suite.member("patient", 0).kill().await;
    suite.member("patient", 1).kill().await;
    sleep(Duration::from_secs(4)).await;
    let missed = clients.stop().await.failed.len();
    trial.control(format!("both replicas gone failed {missed} calls"), missed > 0);
    trial
}

/// Clients who write and read, and send again what was UNAVAILABLE.
struct Clients {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Fare>,
}

#[derive(Default)]
struct Fare {
    calls: u64,
    again: u64,
    failed: Vec<String>,
}

impl Clients {
    async fn start(sam: &Caller) -> Clients {
        let kept = patient(sam, "Kept").await.expect("a patient is made");
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..8 {
            let (stop, sam, kept) = (stop.clone(), sam.clone(), kept.clone());
            clients.spawn(async move {
                let mut fare = Fare::default();
                while !stop.load(Relaxed) {
                    let get = || get(&sam, &kept);
                    patiently("GetPatient", &mut fare, get).await;
                    let id = Uuid::now_v7().to_string();
                    let create = || create(&sam, &id);
                    patiently("CreatePatient", &mut fare, create).await;
                }
                fare
            });
        }
        Clients { stop, clients }
    }

    async fn stop(mut self) -> Fare {
        self.stop.store(true, Relaxed);
        let mut all = Fare::default();
        while let Some(fare) = self.clients.join_next().await {
            let fare = fare.expect("a client does not panic");
            all.calls += fare.calls;
            all.again += fare.again;
            all.failed.extend(fare.failed);
        }
        all
    }
}

/// Calls, at most five times while that is UNAVAILABLE.
async fn patiently<F>(what: &str, fare: &mut Fare, mut call: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Status>>,
{
    fare.calls += 1;
    for attempt in 0..5 {
        match call().await {
            Ok(()) => return,
            Err(status) if status.code() == Code::Unavailable && attempt < 4 => {
                fare.again += u64::from(attempt == 0);
                sleep(Duration::from_millis(50 << attempt)).await;
            }
            Err(status) => return fare.failed.push(format!("{what}: {status}")),
        }
    }
}

async fn get(sam: &Caller, name: &str) -> Result<(), Status> {
    let request = pb::GetPatientRequest { name: name.to_owned() };
    sam.client(PatientServiceClient::new).get_patient(request).await.map(drop)
}

async fn create(sam: &Caller, id: &str) -> Result<(), Status> {
    let name = HumanName { family: id.to_owned(), ..Default::default() };
    let patient = Some(pb::Patient { names: vec![name], ..Default::default() });
    let request = pb::CreatePatientRequest { patient, request_id: id.to_owned() };
    sam.client(PatientServiceClient::new).create_patient(Request::new(request)).await.map(drop)
}

pub async fn rude(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let rounds = run.of(2, 40);
    run.expect(rounds);
    let mut slowest = Duration::ZERO;
    let plan = Suite::plan().with("CASEWARD__DRAIN_SECONDS", "2");
    let mut suite = plan.one().await;
    let bearer = format!("Bearer {}", suite.caller("eve", &["supervisor"]).token());
    for _ in 0..rounds {
        suite.ready().await;
        let _held = hold(suite.address(), &bearer).await;
        let began = Instant::now();
        let status = suite.member("caseward", 0).stop().await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        trial.tried();
        run.step();
        trial.check(took <= END, || format!("it took {took:?}"));
        trial.check(status.success(), || format!("it ended with {status}"));
        suite.member("caseward", 0).start().await;
    }
    trial.note(format!("the latest end after {slowest:.1?}, of 2 s for the drain"));
    let unlimited = Unlimited::start().await;
    let _held = hold(unlimited.address, &bearer).await;
    let hangs = !unlimited.ends(Duration::from_secs(4)).await;
    trial.control("hyper as tonic sets it waits for the same clients without end", hangs);
    trial
}

/// Clients of every rude kind.
async fn hold(address: SocketAddr, bearer: &str) -> Vec<TcpStream> {
    let closed = wire::frame(wire::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let kinds = [
        (100, vec![]),
        (100, PREFACE[..12].to_vec()),
        (100, PREFACE.to_vec()),
        (50, [PREFACE, &wire::call(1, WATCH)].concat()),
        (50, [PREFACE, &closed, &wire::ask(1, LIST, Some(bearer), &[])].concat()),
    ];
    let mut held = vec![];
    for (count, bytes) in kinds {
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(&bytes).await.expect("it reads");
            held.push(stream);
        }
    }
    sleep(Duration::from_millis(100)).await;
    held
}

pub async fn at_start(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let rounds = run.of(4, 40);
    run.expect(rounds);
    let mut chances = run.random();
    let mut suite = Suite::one().await;
    let (mut early, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        suite.member("caseward", 0).stop().await;
        if round % 2 == 0 {
            // It then brings an empty database up to date.
            forget(&suite);
        }
        suite.member("caseward", 0).launch();
        sleep(Duration::from_millis(chances.u64(..1000))).await;
        let listened = suite.member("caseward", 0).program().output().contains("listening");
        early += u64::from(!listened);
        let began = Instant::now();
        suite.member("caseward", 0).stop().await;
        slowest = slowest.max(began.elapsed());
        trial.tried();
        run.step();
        trial.check(began.elapsed() <= END, || format!("it took {:?} to end", began.elapsed()));
        suite.member("caseward", 0).start().await;
        suite.ready().await;
        let made = patient(&suite.caller("sam", &["supervisor"]), "After").await;
        trial.check(made.is_ok(), || format!("after round {round}: {:?}", made.err()));
    }
    trial.note(format!("{early} before it listened; the latest end after {slowest:.1?}"));
    suite.member("caseward", 0).stop().await;
    forget(&suite);
    std::fs::write(suite.data().join("patient.db"), [7; 8192]).expect("the folder takes a file");
    suite.member("caseward", 0).launch();
    let refused = !suite.member("caseward", 0).program().exited(END).await.success();
    trial.control("a start on a database that is none is seen to fail", refused);
    trial
}

/// Takes the databases of a suite in one process away, and leaves its keys.
fn forget(suite: &Suite) {
    for entry in std::fs::read_dir(suite.data()).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().contains(".db") {
            std::fs::remove_file(entry.path()).expect("a file of ours");
        }
    }
}
