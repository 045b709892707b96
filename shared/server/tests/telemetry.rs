//! What a collector receives: alone in its process, since telemetry is the process's.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use caseward_server::accept::{self, Limits};
use caseward_server::telemetry::{self, Calls, Settings};
use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
    logs_service_server::{LogsService, LogsServiceServer},
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, debug_span, info, info_span, trace_span};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const METHOD: &str = "caseward.patient.v1.PatientService/GetPatient";

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    metrics: Vec<Metric>,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Routes::new(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()))
            .add_service(LogsServiceServer::new(self.clone()));
        let stop = CancellationToken::new();
        tokio::spawn(accept::serve(listener, None, Limits::default(), routes, stop));
        endpoint
    }
}

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans);
        self.0.lock().unwrap().spans.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(Default::default()))
    }
}

#[async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        self.0.lock().unwrap().metrics.extend(scopes.flat_map(|scope| scope.metrics));
        Ok(Response::new(Default::default()))
    }
}

#[async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|r| r.scope_logs);
        self.0.lock().unwrap().logs.extend(scopes.flat_map(|scope| scope.log_records));
        Ok(Response::new(Default::default()))
    }
}

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        "traceparent".parse().unwrap(),
        HeaderValue::try_from(traceparent).unwrap(),
    )])
}

fn text<T: std::fmt::Debug>(of: &[T]) -> String {
    format!("{of:?}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A call served as the guard serves it; what it would store, and send on.
async fn serve(headers: &HeaderMap) -> String {
    let call = async {
        info!(target: "caseward_patient", step = "worked", "a step of the call");
        trace_span!(target: "h2::proto", "a frame").in_scope(|| {});
        debug_span!(target: "caseward_patient", "too fine").in_scope(|| {});
        info_span!(target: "caseward_patient", "inner").in_scope(telemetry::traceparent)
    };
    match telemetry::sampled(headers) {
        Some(parent) => {
            let span = parent.server(METHOD);
            let answer = call.instrument(span.clone()).await;
            telemetry::finish(&span, Code::Internal);
            answer
        }
        None => call.await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_receives_what_was_decided_and_nothing_else() {
    let collector = Collector::default();
    let endpoint = Some(collector.start().await);
    let settings = Settings { endpoint, sample_ratio: 0.0, ..Settings::default() };
    assert_eq!(telemetry::traceparent(), "", "a process without collector has no part in traces");
    let running = telemetry::start(&settings, "caseward-test").unwrap();
    let again = telemetry::start(&settings, "caseward-other").unwrap();
    again.stop().await;

    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let mut told = headers(&parent);
    told.insert("tracestate", HeaderValue::from_static("x=Ada-Byron"));
    let stored = serve(&told).await;
    assert!(stored.starts_with(&format!("00-{TRACE}-")) && stored.ends_with("-01"), "{stored}");
    telemetry::resumed(&stored).unwrap().consumer("caseward.patient.created").in_scope(|| {});

    for unsampled in [&format!("00-{TRACE}-00f067aa0ba902b7-00"), "", "00-nonsense-01"] {
        let stored = serve(&headers(unsampled)).await;
        assert!(stored.ends_with("-00"), "the next process may decide: {stored}");
        assert!(telemetry::resumed(&stored).is_none());
    }

    Calls::new().record(METHOD, Code::NotFound, Duration::from_millis(3));
    let panicked = tokio::spawn(async { panic!("Ada Byron") }).await;
    assert!(panicked.is_err());
    running.flush().await;
    running.stop().await;

    let received = collector.0.lock().unwrap();
    let mut names: Vec<&str> = received.spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["caseward.patient.created", METHOD, "inner"]);
    assert!(received.spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert!(received.spans.iter().all(|span| span.trace_state.is_empty()), "free text of a caller");
    let served = received.spans.iter().find(|span| hex(&span.parent_span_id) == "00f067aa0ba902b7");
    let served = served.expect("the caller's span is the parent");
    assert!(text(&served.attributes).contains("INTERNAL"));
    assert_eq!(served.status.as_ref().unwrap().code, 2, "a fault of the server is an error");
    let inner = received.spans.iter().find(|span| span.name == "inner").unwrap();
    assert_eq!(inner.parent_span_id, served.span_id);
    let event = received.spans.iter().find(|span| span.name.ends_with("created")).unwrap();
    assert_eq!(event.parent_span_id, inner.span_id, "taken up from the row");

    let step = received.logs.iter().filter(|log| text(&[log]).contains("a step of the call"));
    let traced: Vec<String> = step.map(|log| hex(&log.trace_id)).collect();
    assert_eq!(traced.len(), 4);
    assert_eq!(traced.iter().filter(|trace| *trace == TRACE).count(), 1, "{traced:?}");
    let logs = text(&received.logs);
    assert!(logs.contains("panicked") && logs.contains("telemetry.rs:"), "where, at least");
    assert!(!logs.contains("Byron"), "what a panic says may be a patient's");

    let duration = received.metrics.iter().find(|metric| metric.name == "rpc.server.call.duration");
    let duration = duration.expect("durations");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("a histogram") };
    let attributes = text(&histogram.data_points[0].attributes);
    for expected in ["rpc.system.name", "grpc", METHOD, "NOT_FOUND"] {
        assert!(attributes.contains(expected), "{attributes}");
    }
    assert!(!attributes.contains("error.type"), "not the server's fault");
}
