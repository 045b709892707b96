//! Traces across outbox and bus: an event is handled below the call that caused it, if that one is traced.
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt, TraceState},
};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::Event;

/// The target of spans that may begin within a process; every other exists only inside one.
pub const ENTRY: &str = "caseward_entry";

/// The span of handing `event` to a bus of this `system`, below the call that caused it.
pub(crate) fn publish(system: &'static str, event: &Event) -> Span {
    below(&event.trace, || {
        info_span!(
            target: ENTRY,
            "publish",
            otel.name = format!("publish {}", event.subject),
            otel.kind = "producer",
            otel.status_code = Empty,
            "messaging.system" = system,
            "messaging.operation.type" = "send",
            "messaging.operation.name" = "publish",
            "messaging.destination.name" = event.subject,
            "messaging.message.id" = %event.id,
        )
    })
}

/// The span of `consumer` at work on `event`, below its publishing.
pub(crate) fn consume(system: &'static str, consumer: &'static str, event: &Event) -> Span {
    below(&event.trace, || {
        info_span!(
            target: ENTRY,
            "consume",
            otel.name = format!("consume {}", event.subject),
            otel.kind = "consumer",
            "messaging.system" = system,
            "messaging.operation.type" = "process",
            "messaging.operation.name" = "consume",
            "messaging.destination.name" = event.subject,
            "messaging.consumer.group.name" = consumer,
            "messaging.message.id" = %event.id,
        )
    })
}

/// The span that `make` makes, below the one that wrote `traceparent`; none where that one is not traced.
fn below(traceparent: &str, make: impl FnOnce() -> Span) -> Span {
    let Some(cause) = read(traceparent).filter(SpanContext::is_sampled) else {
        return Span::none();
    };
    let span = make();
    // Without telemetry there is no span to hang on.
    let _ = span.set_parent(Context::new().with_remote_span_context(cause));
    span
}

/// What `span` tells those that come after it; where it is not traced, what its cause told.
pub(crate) fn carry(span: &Span, traceparent: &str) -> String {
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() && own.is_sampled() {
        return format!("00-{}-{}-01", own.trace_id(), own.span_id());
    }
    traceparent.to_owned()
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let cause = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    cause.is_valid().then_some(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_context_is_taken_up() {
        let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(read(whole).unwrap().is_sampled());
        assert!(!read(&whole.replace("-01", "-00")).unwrap().is_sampled());
        for broken in
            ["", "00", "00-xyz-00f067aa0ba902b7-01", &whole.replace("00f067aa0ba902b7", "0")]
        {
            assert_eq!(read(broken), None, "{broken}");
        }
        assert_eq!(carry(&Span::none(), whole), whole);
    }
}
