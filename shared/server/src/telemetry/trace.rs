//! Traces: which calls have one, and how it crosses process, queue and table (W3C trace context).

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use caseward_events::trace::ENTRY;
use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};
use tonic::Code;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Span, Subscriber, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::OURS;
use super::calls;

/// That a piece of work is traced, and below which span of another process, if any.
#[derive(Debug)]
pub struct Parent(Context);

const TRACEPARENT: &str = "traceparent";

/// Set when there is a collector.
static RATIO: OnceLock<f64> = OnceLock::new();

pub(super) fn decide_by(ratio: f64) {
    let _ = RATIO.set(ratio);
}

/// Decides on a call before anything is made for it: its caller's decision holds, else the ratio's. A sampler would
/// decide after, at four times the cost.
pub fn sampled(headers: &HeaderMap) -> Option<Parent> {
    let ratio = RATIO.get()?;
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let caller = extract(caller.unwrap_or_default());
    let span = caller.span().span_context().clone();
    let traced = if span.is_valid() { span.is_sampled() } else { lucky(*ratio) };
    traced.then_some(Parent(caller))
}

/// Hands the current span on to the next process, or that this work is not traced.
pub fn inject(headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(traceparent())
        && !value.is_empty()
    {
        headers.insert(TRACEPARENT, value);
    }
}

/// Takes up what `traceparent` wrote, perhaps long ago and elsewhere.
pub fn resumed(traceparent: &str) -> Option<Parent> {
    RATIO.get()?;
    let origin = extract(traceparent);
    origin.span().span_context().is_sampled().then_some(Parent(origin))
}

impl Parent {
    /// The span of a call served; `method` is a name of the method table, never what a caller sent.
    pub fn server(self, method: &str) -> Span {
        self.adopt(info_span!(
            target: ENTRY,
            "call",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
        ))
    }

    /// The span of an event handled.
    pub fn consumer(self, name: &str) -> Span {
        let kind = "consumer";
        self.adopt(info_span!(target: ENTRY, "event", otel.name = name, otel.kind = kind))
    }

    fn adopt(self, span: Span) -> Span {
        // A disabled span has no parent to set.
        let _ = span.set_parent(self.0);
        span
    }
}

/// Records how a call ended.
pub fn finish(span: &Span, code: Code) {
    span.record("rpc.response.status_code", calls::code_name(code));
    if calls::is_fault(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// The current span as text, for the next process or for a row that is taken up later. Work that is not traced says
/// so, or the next process would decide again; without a collector there is nothing to say.
pub fn traceparent() -> String {
    if RATIO.get().is_none() {
        return String::new();
    }
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_sampled() {
        return format!("00-{}-{}-01", span.trace_id(), span.span_id());
    }
    let ids = RandomIdGenerator::default();
    format!("00-{}-{}-00", ids.new_trace_id(), ids.new_span_id())
}

/// Spans only, since events leave as logs; ours only, since an unfiltered layer makes one of every HTTP/2 frame.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = |meta: &Metadata<'_>| {
        meta.is_span() && *meta.level() <= LevelFilter::INFO && meta.target().starts_with(OURS)
    };
    let filter = dynamic_filter_fn(move |meta, cx| {
        ours(meta) && (meta.target() == ENTRY || cx.lookup_current().is_some())
    })
    .with_callsite_filter(move |meta| match meta {
        meta if !ours(meta) => Interest::never(),
        meta if meta.target() == ENTRY => Interest::always(),
        _ => Interest::sometimes(),
    })
    .with_max_level_hint(LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter)
}

fn extract(traceparent: &str) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Text(traceparent))
}

fn lucky(ratio: f64) -> bool {
    let random = RandomState::new().hash_one(()) as u32;
    f64::from(random) / f64::from(u32::MAX) < ratio
}

/// A `traceparent` alone: `tracestate` beside it is free text of whoever calls, and would be exported.
struct Text<'t>(&'t str);

impl Extractor for Text<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
