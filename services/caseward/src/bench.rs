//! `caseward bench`: what the suite costs, side by side with a bare echo and with its peers, in one run.
//!
//! Every process under measurement is one of this program's own (`part`), or a peer; the callers are here.
mod compare;
mod echo;
mod fill;
mod floor;
mod gateway;
mod growth;
mod home;
mod idle;
mod lag;
mod list;
mod load;
mod part;
mod read;
mod report;
mod sample;
mod serve;
mod write;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use caseward_server::settings::Layers;
use clap::{Args as Arguments, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use uuid::Uuid;

use self::{
    home::{Base, Home},
    report::Report,
};

#[derive(Debug, Arguments)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure these only; everything where not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Topic>,
    /// How long each subject is called in each round, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    slice: u64,
    /// How often all subjects are called in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// A PostgreSQL server, such as `postgres://me@127.0.0.1:5432/postgres`, on which databases may be made.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The `envoy` program, to set the gateway beside it.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// How many patients there are where growth is measured.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000")]
    sizes: Vec<u64>,
    /// Where to keep data while measuring; the system's temporary folder where not given.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fill the databases of the data folder, or those that the settings name, with people who never lived.
    Fill(fill::Args),
    /// Serve one part under measurement.
    #[command(hide = true)]
    Part(serve::Args),
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Topic {
    /// Health and the clock behind the guard, against a bare echo; tracing off, at 1 % and at 100 %.
    Floor,
    /// GetPatient with and without audit, direct and through the gateway.
    Read,
    /// CreatePatient grouped and one by one, direct and through the gateway, and against pgbench.
    Write,
    /// A page of 50 patients, and a worklist over 1,000 cases.
    List,
    /// From a change to the consumer of its event.
    Lag,
    /// The gateway against Envoy, gRPC and JSON.
    Gateway,
    /// The same calls on more and more data.
    Growth,
    /// Memory and time to start.
    Idle,
}

/// One run.
#[derive(Debug)]
struct Bench {
    layers: Layers,
    folder: PathBuf,
    slice: Duration,
    rounds: u32,
    postgres: Option<String>,
    envoy: Option<PathBuf>,
    sizes: Vec<u64>,
    /// Every core, as `taskset` spells them.
    cores: String,
    bar: ProgressBar,
}

pub async fn run(layers: Layers, args: Args) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Fill(args)) => return fill::run(layers, args).await,
        Some(Command::Part(args)) => return serve::run(layers, args).await,
        None => {}
    }
    let within = args.folder.unwrap_or_else(std::env::temp_dir);
    let folder = within.join(format!("caseward-bench-{}", Uuid::now_v7()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench {
        layers,
        folder: folder.clone(),
        slice: Duration::from_millis(args.slice),
        rounds: args.rounds,
        postgres: args.postgres,
        envoy: args.envoy,
        sizes: args.sizes,
        cores: format!("0-{}", cores - 1),
        bar: if std::io::stderr().is_terminal() && !args.json {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        },
    };
    bench.bar.enable_steady_tick(Duration::from_millis(200));
    let measured = bench.measure(&args.only).await;
    std::fs::remove_dir_all(&folder).context("removing the folder of the bench")?;
    bench.bar.finish_and_clear();
    let report = measured?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

impl Bench {
    async fn measure(&self, only: &[Topic]) -> anyhow::Result<Report> {
        std::fs::create_dir_all(&self.folder).context("making a folder for the bench")?;
        if let Some(envoy) = &self.envoy {
            // Before minutes of measuring are lost for want of it.
            let tried = tokio::process::Command::new(envoy).arg("--version").output().await;
            tried.with_context(|| format!("running {}", envoy.display()))?;
        }
        let load_before = proc("loadavg");
        let mut sections = vec![];
        for topic in Topic::value_variants() {
            if !only.is_empty() && !only.contains(topic) {
                continue;
            }
            match topic {
                Topic::Floor => sections.push(floor::measure(self).await?),
                Topic::Read => sections.extend(on_both(self, read::measure).await?),
                Topic::Write => sections.extend(on_both(self, write::measure).await?),
                Topic::List => sections.extend(on_both(self, list::measure).await?),
                Topic::Lag => sections.extend(on_both(self, lag::measure).await?),
                Topic::Gateway => sections.push(gateway::measure(self).await?),
                Topic::Growth => sections.extend(on_both(self, growth::measure).await?),
                Topic::Idle => sections.push(idle::measure(self).await?),
            }
        }
        Ok(Report {
            machine: machine(),
            load_before,
            load_after: proc("loadavg"),
            sections,
            notes: notes(),
        })
    }

    /// A fresh home on `base`.
    fn home(&self, base: Base) -> anyhow::Result<Home> {
        let folder = self.folder.join(Uuid::now_v7().to_string());
        let server = self.postgres.as_deref().filter(|_| base == Base::Postgres);
        Home::new(&self.layers, &folder, server)
    }

    /// Says what is measured now.
    fn says(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

/// Measures on SQLite, and on PostgreSQL where there is one.
async fn on_both(
    bench: &Bench,
    measure: impl AsyncFn(&Bench, Base) -> anyhow::Result<report::Section>,
) -> anyhow::Result<Vec<report::Section>> {
    let mut sections = vec![measure(bench, Base::Sqlite).await?];
    if bench.postgres.is_some() {
        sections.push(measure(bench, Base::Postgres).await?);
    } else if let Some(section) = sections.last_mut() {
        section.skipped.push("PostgreSQL: no --postgres given".to_owned());
    }
    Ok(sections)
}

/// The first line of a file of `/proc`; empty where the system has none.
fn proc(file: &str) -> String {
    let text = std::fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model =
        model.and_then(|line| line.split_once(": ")).map_or("unknown CPU", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {model}; {}; {}", proc("version"), proc("meminfo"))
}

fn notes() -> Vec<&'static str> {
    let mut notes = vec![
        "Callers, servers and databases share this machine's cores: read the ratios and the CPU, not the calls/s.",
        "The callers of gRPC share connections: 16 are 4 x 4, 32 are 4 x 8, 64 are 8 x 8. Each waits for its answer.",
        "The echo is a bare tonic service on the same listener: no guard, no database, no audit.",
    ];
    if !part::can_pin() {
        notes.push("There is no `taskset`: the proxies were not given a core of their own.");
    }
    if cfg!(debug_assertions) {
        notes
            .push("This is a debug build, many times slower than `--release`; its ratios mislead.");
    }
    notes
}
