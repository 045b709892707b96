//! What a process under measurement serves: one part of the suite, or a double.
use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use caseward::Suite;
use caseward_api::patient::v1::PatientCreated;
use caseward_core::{Clock, Time};
use caseward_events::Consumer;
use caseward_server::{Process, settings::Layers, telemetry};
use clap::{Args as Arguments, ValueEnum};
use prost::Name;

use super::{
    echo::{Echo, Sink},
    fill::Generator,
    sample::Sample,
};

#[derive(Debug, Arguments)]
pub(super) struct Args {
    #[arg(value_enum)]
    kind: Kind,
    /// `key=value`, over every other setting.
    #[arg(long)]
    set: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A bare tonic service: no guard, no database, no telemetry.
    Echo,
    /// A bare collector of telemetry.
    Sink,
    /// The patient service alone.
    Patient,
    /// The same, and reads leave nothing on the audit log.
    Unaudited,
    /// The patient service, and a consumer that notes when each event came.
    Heard,
    /// The care-plan service alone.
    CarePlan,
    /// The gateway alone.
    Gateway,
    /// Every service in one process behind the gateway.
    Suite,
}

/// Serves until standard input ends. Prints the address first, and last what was noted of events.
pub(super) async fn run(layers: Layers, args: Args) -> anyhow::Result<()> {
    let mut layers = layers.with("log.level", "error")?.with("gateway.listen", "127.0.0.1:0")?;
    for set in args.set {
        let (key, value) = set.split_once('=').context("--set wants key=value")?;
        layers = layers.with(key, value)?;
    }
    let common = layers.common()?;
    let told = telemetry::start(&common.telemetry(), "caseward-bench")?;
    let lags = Lags::default();
    let process = match args.kind {
        Kind::Suite => Suite::start(&layers).await?.process,
        kind => {
            let mut process = Process::new(common).await?;
            part(kind, &layers, &mut process, &lags).await?;
            process.ready()?;
            process
        }
    };
    let any = ([127, 0, 0, 1], 0).into();
    let address = match args.kind {
        Kind::Echo => process.listen(any, Echo(Generator::new(1).patient(0))).await?,
        Kind::Sink => process.listen(any, Sink).await?,
        _ => process.listen(any, process.routes().prepare()).await?,
    };
    println!("{address}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut vec![])).await??;
    process.life.finish(process.settings.drain()).await;
    told.stop().await;
    print!("{}", lags.report());
    Ok(())
}

async fn part(
    kind: Kind,
    layers: &Layers,
    process: &mut Process,
    lags: &Lags,
) -> anyhow::Result<()> {
    match kind {
        Kind::Echo | Kind::Sink | Kind::Suite => {}
        Kind::Patient | Kind::Unaudited | Kind::Heard => {
            if matches!(kind, Kind::Unaudited) {
                process.leave_reads_unaudited();
            }
            process.serve_clock()?;
            let settings: caseward_patient::Settings = layers.section(caseward_patient::NAME)?;
            caseward_patient::start(settings, process).await?;
            if matches!(kind, Kind::Heard) {
                lags.listen(layers, process).await?;
            }
        }
        Kind::CarePlan => {
            let settings = layers.section(caseward_care_plan::NAME)?;
            caseward_care_plan::start(settings, process).await?;
        }
        Kind::Gateway => {
            caseward_gateway::start(layers.section(caseward_gateway::NAME)?, process).await?;
        }
    }
    Ok(())
}

/// How long events took from the change they tell of to a consumer.
#[derive(Clone, Debug, Default)]
struct Lags(Arc<Mutex<Vec<u64>>>);

impl Lags {
    /// Hears of every patient made, with the notification service's database for its own.
    async fn listen(&self, layers: &Layers, process: &Process) -> anyhow::Result<()> {
        let settings = layers.section(caseward_notification::NAME)?;
        let store = caseward_notification::open(&settings, &process.settings).await?;
        let lags = self.clone();
        let subjects = [PatientCreated::full_name()];
        let consumer = Consumer::new("bench.lag", "bench", subjects, move |event, _| {
            lags.note(event.occurred_at);
            async { Ok(()) }
        });
        let subscription = process.bus.subscribe(store, process.clock.clone(), consumer);
        process.life.spawn("consumer", subscription.run(process.life.stopping()));
        Ok(())
    }

    fn note(&self, occurred_at: Time) {
        let micros = Clock::System.now().micros() - occurred_at.micros();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(micros.max(0) as u64);
    }

    /// `p50 p99 count`, in microseconds; nothing where no event came.
    fn report(&self) -> String {
        let micros = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let count = micros.len();
        if count == 0 {
            return String::new();
        }
        let mut sample = Sample::default();
        sample.extend(micros, count);
        format!("{} {} {count}\n", sample.quantile(0.5), sample.quantile(0.99))
    }
}
