//! A collector that keeps the spans, metrics and logs it is sent over OTLP/gRPC.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use caseward_server::accept::{self, Limits};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    logs::v1::LogRecord,
    metrics::v1::Metric,
    trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, service::Routes};

/// A collector of a test. Dropping it closes its port.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: Arc<watch::Sender<Telemetry>>,
    _stop: DropGuard,
}

/// What was received so far.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// The spans, each with the `service.name` of its resource before it.
    pub spans: Vec<(String, Span)>,
    /// The metrics; each export adds its own.
    pub metrics: Vec<Metric>,
    /// The logs.
    pub logs: Vec<LogRecord>,
    /// Every export as it came, so that a test can look for what must never be in one.
    pub exports: Vec<Vec<u8>>,
}

impl Collector {
    /// Starts a collector.
    pub async fn start() -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let received = Arc::new(watch::Sender::default());
        let sink = Sink(received.clone());
        let routes = Routes::new(TraceServiceServer::new(sink.clone()))
            .add_service(MetricsServiceServer::new(sink.clone()))
            .add_service(LogsServiceServer::new(sink));
        let stop = CancellationToken::new();
        tokio::spawn(accept::serve(listener, None, Limits::default(), routes, stop.clone()));
        Collector { address, received, _stop: stop.drop_guard() }
    }

    /// Its address, as `otlp.endpoint` wants it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was received so far.
    pub fn received(&self) -> Telemetry {
        self.received.borrow().clone()
    }

    /// Waits until what was received is `enough`.
    pub async fn wait_for(
        &self,
        enough: impl FnMut(&Telemetry) -> bool,
        within: Duration,
    ) -> Telemetry {
        let mut received = self.received.subscribe();
        match tokio::time::timeout(within, received.wait_for(enough)).await {
            Ok(Ok(received)) => received.clone(),
            _ => panic!("what came within {within:?} was not enough"),
        }
    }
}

impl Telemetry {
    /// Whether any export holds `text`, in whatever place.
    pub fn holds(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.exports.iter().any(|export| export.windows(text.len()).any(|part| part == text))
    }
}

#[derive(Clone, Debug)]
struct Sink(Arc<watch::Sender<Telemetry>>);

impl Sink {
    fn keep(&self, export: &impl Message, with: impl FnOnce(&mut Telemetry)) {
        self.0.send_modify(|telemetry| {
            telemetry.exports.push(export.encode_to_vec());
            with(telemetry);
        });
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request, |telemetry| {
            for of in &request.resource_spans {
                let attributes = of.resource.iter().flat_map(|resource| &resource.attributes);
                let name = attributes.filter(|attribute| attribute.key == "service.name");
                let name = name.filter_map(|attribute| text(attribute.value.as_ref()?)).next();
                let spans = of.scope_spans.iter().flat_map(|scope| scope.spans.clone());
                let name = name.unwrap_or_default();
                telemetry.spans.extend(spans.map(|span| (name.clone(), span)));
            }
        });
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request, |telemetry| {
            let scopes = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
            telemetry.metrics.extend(scopes.flat_map(|scope| scope.metrics.clone()));
        });
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request, |telemetry| {
            let scopes = request.resource_logs.iter().flat_map(|of| &of.scope_logs);
            telemetry.logs.extend(scopes.flat_map(|scope| scope.log_records.clone()));
        });
        Ok(Response::new(Default::default()))
    }
}

fn text(value: &opentelemetry_proto::tonic::common::v1::AnyValue) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
