//! `caseward bench`: what the suite costs over a bare echo, side by side in one run.
mod echo;
mod sample;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use caseward::Suite;
use caseward_api::{
    access::v1::{GetClockRequest, clock_service_client::ClockServiceClient},
    patient::v1::{
        CreatePatientRequest, GetPatientRequest, Patient,
        patient_service_client::PatientServiceClient,
    },
    types::v1::{HumanName, Identifier},
};
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, Process, Transport, settings::Layers};
use clap::Args as Arguments;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};
use tonic::Status;
use uuid::Uuid;

use self::sample::Sample;
use crate::badge::{Badge, Door};

/// How many call at a time.
const CALLERS: [usize; 3] = [1, 16, 64];

/// How often everything is measured in turn, so that what slows the machine slows all alike.
const ROUNDS: u32 = 3;

/// How many patients there are to read.
const PATIENTS: usize = 64;

/// How long each caller warms up before it is measured.
const WARM_UP: Duration = Duration::from_millis(50);

#[derive(Debug, Arguments)]
pub struct Args {
    /// How long to measure in all.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Subject {
    Echo,
    GetPatientDirect,
    GetPatientGateway,
    CreatePatientDirect,
    CreatePatientGateway,
}

impl Subject {
    const ALL: [Subject; 5] = [
        Subject::Echo,
        Subject::GetPatientDirect,
        Subject::GetPatientGateway,
        Subject::CreatePatientDirect,
        Subject::CreatePatientGateway,
    ];

    fn label(self) -> &'static str {
        match self {
            Subject::Echo => "bare tonic echo",
            Subject::GetPatientDirect => "GetPatient, direct",
            Subject::GetPatientGateway => "GetPatient, gateway",
            Subject::CreatePatientDirect => "CreatePatient, direct",
            Subject::CreatePatientGateway => "CreatePatient, gateway",
        }
    }
}

/// What the report says about one subject and one number of callers.
#[derive(Debug, Serialize)]
struct Line {
    subject: Subject,
    callers: usize,
    per_second: f64,
    p50_micros: u64,
    p99_micros: u64,
    calls: usize,
    /// Throughput as a share of the echo's with as many callers.
    of_echo: f64,
}

pub async fn run(layers: Layers, args: Args) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("caseward-bench-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&folder).context("making a folder for the bench")?;
    let measured = measure(layers, &folder, &args).await;
    std::fs::remove_dir_all(&folder).context("removing the folder of the bench")?;
    let lines = measured?;
    let notes = notes();
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({"notes": notes, "results": lines}))?
        );
    } else {
        print(&lines, &notes);
    }
    Ok(())
}

async fn measure(layers: Layers, folder: &Path, args: &Args) -> anyhow::Result<Vec<Line>> {
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let layers = layers.with("log.level", "error")?.with("gateway.listen", "127.0.0.1:0")?;
    let suite_layers = layers.clone().with("data", at("suite"))?;
    let suite = Suite::start(&suite_layers).await?;
    let gateway = Place::new(&suite.process, suite.listen(&suite_layers).await?)?;
    let (alone, direct) = alone(layers.with("data", at("alone"))?).await?;
    let echo = Place { address: echo::serve(&alone).await?, token: gateway.token.clone() };
    let known = [seed(&gateway).await?, seed(&direct).await?];

    let slices = ROUNDS * (CALLERS.len() * Subject::ALL.len()) as u32;
    let slice = Duration::from_secs(args.seconds) / slices;
    let mut samples = vec![Sample::default(); CALLERS.len() * Subject::ALL.len()];
    for _ in 0..ROUNDS {
        for (n, (callers, subject)) in pairs().enumerate() {
            let (place, names) = match subject {
                Subject::Echo => (&echo, &known[0]),
                Subject::GetPatientGateway | Subject::CreatePatientGateway => (&gateway, &known[0]),
                Subject::GetPatientDirect | Subject::CreatePatientDirect => (&direct, &known[1]),
            };
            samples[n].add(load(subject, place, names, callers, slice).await?);
        }
    }
    suite.stop().await;
    alone.life.finish(Duration::from_secs(5)).await;
    Ok(lines(&mut samples))
}

fn pairs() -> impl Iterator<Item = (usize, Subject)> {
    CALLERS.into_iter().flat_map(|callers| Subject::ALL.map(|subject| (callers, subject)))
}

fn lines(samples: &mut [Sample]) -> Vec<Line> {
    let mut echo = 0.0;
    pairs()
        .zip(samples)
        .map(|((callers, subject), sample)| {
            let per_second = sample.per_second();
            if subject == Subject::Echo {
                echo = per_second;
            }
            Line {
                subject,
                callers,
                per_second,
                p50_micros: sample.quantile(0.5),
                p99_micros: sample.quantile(0.99),
                calls: sample.calls(),
                of_echo: if echo > 0.0 { per_second / echo } else { 0.0 },
            }
        })
        .collect()
}

/// The patient service as a process of its own would be: no gateway before it.
async fn alone(layers: Layers) -> anyhow::Result<(Process, Place)> {
    let mut process = Process::new(layers.common()?).await?;
    caseward_patient::start(layers.section(caseward_patient::NAME)?, &mut process).await?;
    process.ready()?;
    let address = process.listen(([127, 0, 0, 1], 0).into(), process.routes().prepare()).await?;
    let place = Place::new(&process, address)?;
    Ok((process, place))
}

/// Where to call, and with which token.
#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    token: String,
}

impl Place {
    fn new(process: &Process, address: SocketAddr) -> anyhow::Result<Place> {
        let life = Duration::from_secs(3600);
        let now = Clock::System.now();
        let token =
            process.verifier().mint("bench", &["supervisor"], LOCAL_ORGANIZATION, life, now)?;
        Ok(Place { address, token })
    }

    /// A connection of its own.
    fn caller(&self) -> anyhow::Result<Caller> {
        let door = Transport::remote(format!("http://{}", self.address).parse()?);
        let door = Badge::wear(&self.token, door)?;
        Ok(Caller {
            echo: ClockServiceClient::new(door.clone()),
            patients: PatientServiceClient::new(door),
        })
    }
}

/// One who calls, again and again.
#[derive(Debug)]
struct Caller {
    echo: ClockServiceClient<Door>,
    patients: PatientServiceClient<Door>,
}

impl Caller {
    async fn call(&mut self, subject: Subject, name: &str) -> Result<(), Status> {
        match subject {
            Subject::Echo => self.echo.get_clock(GetClockRequest {}).await.map(drop),
            Subject::GetPatientDirect | Subject::GetPatientGateway => {
                let request = GetPatientRequest { name: name.to_owned() };
                self.patients.get_patient(request).await.map(drop)
            }
            Subject::CreatePatientDirect | Subject::CreatePatientGateway => {
                self.patients.create_patient(create()).await.map(drop)
            }
        }
    }
}

/// A patient as a small record has it.
fn create() -> CreatePatientRequest {
    let id = Uuid::now_v7().to_string();
    let patient = Patient {
        identifiers: vec![Identifier {
            system: "urn:caseward:bench".to_owned(),
            value: id.clone(),
        }],
        names: vec![HumanName {
            family: "Bench".to_owned(),
            given: vec!["Casey".to_owned()],
            ..Default::default()
        }],
        ..Default::default()
    };
    CreatePatientRequest { patient: Some(patient), request_id: id }
}

async fn seed(place: &Place) -> anyhow::Result<Vec<String>> {
    let mut caller = place.caller()?;
    let mut names = vec![];
    for _ in 0..PATIENTS {
        names.push(caller.patients.create_patient(create()).await?.into_inner().name);
    }
    Ok(names)
}

/// Calls from `callers` connections for `slice`, each waiting for its answer before it calls again.
async fn load(
    subject: Subject,
    place: &Place,
    names: &[String],
    callers: usize,
    slice: Duration,
) -> anyhow::Result<Sample> {
    let mut tasks = JoinSet::new();
    let begin = Instant::now() + WARM_UP;
    for n in 0..callers {
        let (mut caller, names) = (place.caller()?, names.to_vec());
        tasks.spawn(async move {
            let mut micros = vec![];
            for name in names.iter().cycle().skip(n) {
                let start = Instant::now();
                caller.call(subject, name).await?;
                if start >= begin + slice {
                    break;
                }
                if start >= begin {
                    micros.push(start.elapsed().as_micros() as u64);
                }
            }
            Ok::<_, Status>(micros)
        });
    }
    let mut sample = Sample::lasting(slice);
    while let Some(done) = tasks.join_next().await {
        sample.extend(done?.context("a call failed under load")?);
    }
    Ok(sample)
}

fn notes() -> Vec<&'static str> {
    let mut notes = vec![
        "Callers and servers share one process and this machine's cores: read the ratios, not the numbers.",
        "The echo is a bare tonic service on the same listener: no guard, no database, no audit.",
        "Each caller has one connection and waits for its answer before it calls again.",
        "Every GetPatient is authorized and audited; every CreatePatient is on disk before it is answered.",
    ];
    if cfg!(debug_assertions) {
        notes
            .push("This is a debug build, many times slower than `--release`; its ratios mislead.");
    }
    notes
}

fn print(lines: &[Line], notes: &[&str]) {
    println!(
        "{:<24} {:>7} {:>10} {:>10} {:>10} {:>8}",
        "", "callers", "calls/s", "p50 µs", "p99 µs", "of echo"
    );
    for line in lines {
        println!(
            "{:<24} {:>7} {:>10.0} {:>10} {:>10} {:>8.3}",
            line.subject.label(),
            line.callers,
            line.per_second,
            line.p50_micros,
            line.p99_micros,
            line.of_echo
        );
    }
    println!();
    for note in notes {
        println!("{note}");
    }
}
