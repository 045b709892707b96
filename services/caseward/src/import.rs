//! `caseward import`: FHIR, NPPES and Plan-Net files into a running suite, or else into the data folder.
mod bearer;
mod progress;
mod sink;
mod table;

use std::{net::Ipv4Addr, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use caseward::Suite;
use caseward_fhir::{Failure, Reading, Report};
use caseward_server::{
    Transport,
    settings::{Common, Layers},
    tls::Connector,
};
use clap::{Args as Arguments, Subcommand};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::{body::Body, codegen::http::Uri};

use self::{bearer::Bearer, progress::Progress, sink::Services};

/// How long a suite may take to say that it is there. It is on this machine, or near.
const ANSWER: Duration = Duration::from_secs(1);

#[derive(Debug, Arguments)]
pub struct Args {
    #[command(subcommand)]
    format: Format,
    /// Print one JSON object, and nothing else.
    #[arg(long, global = true)]
    json: bool,
    /// The server that the files come from, where its ids are plain words that another source may use too.
    #[arg(long, global = true, default_value = "", value_name = "NAME")]
    source: String,
    /// The suite to import into, such as `http://127.0.0.1:8080`. Where not given: the one that answers where a suite of
    /// these settings listens, or the data folder where nothing does.
    #[arg(long, global = true, value_name = "URL")]
    to: Option<String>,
    /// A token that may import. Where not given, the local issuer mints one.
    #[arg(long, global = true)]
    token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// FHIR R4 JSON: Bundles, single resources, NDJSON, plain or gzipped; files and folders.
    Fhir {
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// The NPPES file of CMS, plain or gzipped.
    Nppes {
        #[arg(required = true, value_name = "CSV")]
        paths: Vec<PathBuf>,
    },
    /// A provider directory of the Da Vinci Plan-Net guide; files and folders.
    PlanNet {
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

/// Imports, prints the report, and fails where anything was not taken.
pub async fn run(layers: &Layers, args: Args) -> anyhow::Result<()> {
    let Args { format, json, source, to, token } = args;
    let common = layers.common()?;
    let bearer = Bearer::new(token, &common)?;
    let progress = Progress::new(json);
    let mut report = Report::default();
    let found = match to {
        Some(to) => Some(named(&common, &to)?),
        None => running(layers).await?.map(Transport::remote),
    };
    let suite = match found {
        Some(door) => {
            let mut services = Services::new(|_| door.clone(), bearer, progress);
            load(format, &source, &mut services, &mut report).await;
            None
        }
        None => {
            let suite = Suite::start(layers).await?;
            let peer = |name| suite.process.peer(name);
            let mut services = Services::new(peer, bearer, progress);
            load(format, &source, &mut services, &mut report).await;
            Some(suite)
        }
    };
    if let Some(suite) = suite {
        suite.stop().await;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        table::print(&report);
    }
    if !report.is_clean() {
        bail!("{} entries or files were not taken", report.lost());
    }
    Ok(())
}

/// Loads FHIR files into a suite of this process.
pub async fn fhir_into(
    suite: &Suite,
    layers: &Layers,
    paths: Vec<PathBuf>,
) -> anyhow::Result<Report> {
    let bearer = Bearer::new(None, &layers.common()?)?;
    let mut services = Services::new(|name| suite.process.peer(name), bearer, Progress::new(true));
    let mut report = Report::default();
    load(Format::Fhir { paths }, "", &mut services, &mut report).await;
    Ok(report)
}

/// The suite that the command names. Nothing else is looked for where it does not answer.
fn named(common: &Common, to: &str) -> anyhow::Result<Transport> {
    let origin = common.origin("--to", to)?;
    let connector = match origin.scheme_str() {
        Some("https") => Some(Arc::new(Connector::load(common.tls.peers.clone())?)),
        _ => None,
    };
    Transport::replicas(&[origin], connector.as_ref())
}

/// Where a suite answers, if one does at the address that it would listen on. Only where nothing listens there is none: what
/// is slow, or ill, may have the data folder open.
async fn running(layers: &Layers) -> anyhow::Result<Option<Uri>> {
    let caseward_gateway::Settings { listen, .. } = layers.section(caseward_gateway::NAME)?;
    let mut address: SocketAddr = listen.parse().context("gateway.listen")?;
    if address.port() == 0 {
        return Ok(None);
    }
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(format!("http://{address}/healthz").parse()?);
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(answer)) if answer.status().is_success() => {
            Ok(Some(format!("http://{address}").parse()?))
        }
        Ok(Ok(answer)) => {
            bail!("what answers at {address} is no suite in good health: {}", answer.status())
        }
        Err(_) => bail!("what listens at {address} does not answer"),
        Ok(Err(error)) if is_refused(&error) => Ok(None),
        Ok(Err(_)) => bail!("what listens at {address} is no suite that can be asked"),
    }
}

/// Whether nothing listens where the call went.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Loads all that is named. What ends it early is a failure of the report too, which is true up to there.
async fn load(format: Format, source: &str, services: &mut Services, report: &mut Report) {
    let loaded = match format {
        Format::Fhir { paths } | Format::PlanNet { paths } => {
            fhir(paths, source, services, report).await
        }
        Format::Nppes { paths } => nppes(paths, services, report).await,
    };
    if let Err(error) = loaded {
        report.failures.push(Failure::of_file("", format!("the import ended early: {error:#}")));
    }
}

async fn fhir(
    paths: Vec<PathBuf>,
    source: &str,
    services: &mut Services,
    report: &mut Report,
) -> anyhow::Result<()> {
    let reading = tokio::task::spawn_blocking(move || Reading::of(&paths)).await?;
    Box::pin(caseward_fhir::import(reading, source, services, report)).await
}

async fn nppes(
    paths: Vec<PathBuf>,
    services: &mut Services,
    report: &mut Report,
) -> anyhow::Result<()> {
    for path in paths {
        let file = path.to_string_lossy();
        match caseward_fhir::unpacked(&path) {
            Ok(reader) => {
                Box::pin(caseward_fhir::import_nppes(&file, reader, services, report)).await?;
            }
            Err(error) => {
                report
                    .failures
                    .push(Failure::of_file(&file, format!("cannot be read: {}", error.kind())));
            }
        }
    }
    Ok(())
}
