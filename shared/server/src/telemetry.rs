//! Logs on the console, and traces, metrics and logs to a collector when there is one.
//!
//! Nothing here records a field of a message: what leaves the process names methods, codes and durations.

mod calls;
mod meters;
mod queue;
mod trace;

use std::io::IsTerminal;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

pub use calls::{Calls, code, code_name};
pub(crate) use meters::meters;
pub use meters::{Kind, METRICS, Metric};
pub use trace::{Parent, finish, inject, resumed, sampled, traceparent};

/// Where telemetry goes and how much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// OTLP over gRPC, as `http://collector:4317`; without it only the console is written.
    pub endpoint: Option<String>,
    /// Share of the calls traced that no caller decided on, 0 to 1.
    pub sample_ratio: f64,
    pub log_format: Format,
    /// How an `https://` collector is met.
    pub tls: Tls,
    /// For our own crates; others are heard from `warn` on, since their details may quote data.
    pub level: Level,
}

/// PEM files; an empty path is not set.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who proves the collector.
    pub ca: PathBuf,
    /// What is shown to it, where it demands a certificate.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Release builds hold nothing below `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// Telemetry of the process, from `start` to `stop`.
#[derive(Debug)]
#[must_use = "what is still queued is lost unless it is stopped"]
pub struct Telemetry {
    collector: Option<Collector>,
}

#[derive(Clone, Debug)]
struct Collector {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
}

/// What the names of our crates, and so of their log targets, begin with.
const OURS: &str = "caseward";
/// Spans, and log records, that wait for the collector.
const QUEUE: usize = 8192;
const METRICS_EVERY: Duration = Duration::from_secs(30);

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 0.01,
            tls: Tls::default(),
            log_format: Format::default(),
            level: Level::default(),
        }
    }
}

/// Starts telemetry of this process, within its runtime; `service_name` names all the services it runs. Whoever
/// starts it again in the same process shares the first.
pub fn start(settings: &Settings, service_name: &str) -> Result<Telemetry> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    ensure!((0.0..=1.0).contains(&settings.sample_ratio), "sample_ratio must be from 0 to 1");
    if STARTED.swap(true, Ordering::SeqCst) {
        return Ok(Telemetry { collector: None });
    }
    let collector = match &settings.endpoint {
        Some(endpoint) => Some(Collector::start(endpoint, &settings.tls, service_name)?),
        None => None,
    };
    let exported = collector.as_ref().map(|collector| {
        let bridge = OpenTelemetryTracingBridge::new(&collector.logs);
        // Only ours: the exporter's own connection also logs, and would never come to rest.
        let logs = bridge.with_filter(Targets::new().with_target(OURS, LevelFilter::INFO));
        logs.and_then(trace::layer(collector.traces.tracer(OURS)))
    });
    registry().with(console(settings)).with(exported).try_init()?;
    if let Some(collector) = &collector {
        global::set_meter_provider(collector.metrics.clone());
        trace::decide_by(settings.sample_ratio);
    }
    panic::set_hook(Box::new(|panic| {
        // The message may hold what was being worked on.
        let location = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
        error!(location, "panicked");
    }));
    Ok(Telemetry { collector })
}

impl Telemetry {
    /// Sends what is queued.
    pub async fn flush(&self) {
        let Some(collector) = self.collector.clone() else { return };
        blocking(move || {
            let traces = collector.traces.force_flush();
            let logs = collector.logs.force_flush();
            traces.and(logs).and(collector.metrics.force_flush())
        })
        .await;
    }

    /// Sends what is queued and ends the export.
    pub async fn stop(self) {
        let Some(collector) = self.collector else { return };
        blocking(move || {
            let traces = collector.traces.shutdown();
            let logs = collector.logs.shutdown();
            traces.and(logs).and(collector.metrics.shutdown())
        })
        .await;
    }
}

impl Collector {
    fn start(endpoint: &str, tls: &Tls, service_name: &str) -> Result<Self> {
        let tls = tls.of(endpoint)?;
        let resource = Resource::builder()
            .with_service_name(service_name.to_owned())
            .with_attribute(KeyValue::new("service.namespace", OURS))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let metrics = to(MetricExporter::builder().with_tonic(), endpoint, &tls).build();
        let metrics = PeriodicReader::builder(metrics.context("metrics endpoint")?);
        let metrics = SdkMeterProvider::builder()
            .with_reader(metrics.with_interval(METRICS_EVERY).build())
            .with_resource(resource.clone())
            .build();
        let spans = to(SpanExporter::builder().with_tonic(), endpoint, &tls).build();
        let queue = queue::bounded(spans.context("traces endpoint")?, QUEUE, &metrics);
        let traces = SdkTracerProvider::builder()
            .with_span_processor(queue)
            // `sampled` has decided before a span is made; the rest of its trace follows.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource.clone())
            .build();
        let logs = to(LogExporter::builder().with_tonic(), endpoint, &tls).build();
        let batch = logs::BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
        let batches = BatchLogProcessor::builder(logs.context("logs endpoint")?);
        let logs = SdkLoggerProvider::builder()
            .with_log_processor(batches.with_batch_config(batch).build())
            .with_resource(resource)
            .build();
        Ok(Self { traces, metrics, logs })
    }
}

fn to<B: WithExportConfig + WithTonicConfig>(
    exporter: B,
    endpoint: &str,
    tls: &Option<ClientTlsConfig>,
) -> B {
    let exporter = exporter.with_endpoint(endpoint);
    match tls {
        Some(tls) => exporter.with_tls_config(tls.clone()),
        None => exporter,
    }
}

impl Tls {
    fn of(&self, endpoint: &str) -> Result<Option<ClientTlsConfig>> {
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        if !endpoint.starts_with("https://") {
            return Ok(None);
        }
        ensure!(is_set(&self.ca), "an https collector wants otlp.ca");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?));
        ensure!(
            is_set(&self.certificate) == is_set(&self.key),
            "otlp.certificate and otlp.key go together"
        );
        if !is_set(&self.certificate) {
            return Ok(Some(tls));
        }
        let identity =
            tonic::transport::Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        Ok(Some(tls.identity(identity)))
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Events only: were spans wanted here, every call would make one, sampled or not.
fn console<S>(settings: &Settings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let level = LevelFilter::from(settings.level);
    let targets =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level);
    let filter = targets.and(filter_fn(|meta| meta.is_event()));
    let console = fmt::layer().with_writer(std::io::stderr);
    match settings.log_format {
        Format::Text => {
            console.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
        Format::Json => console
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .flatten_event(true)
            .with_filter(filter)
            .boxed(),
    }
}

/// The SDK waits for its own threads, whose exports need this runtime.
async fn blocking(work: impl FnOnce() -> opentelemetry_sdk::error::OTelSdkResult + Send + 'static) {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => error!(error = %err, "telemetry not all delivered"),
        Err(_) => error!("telemetry not all delivered"),
    }
}
