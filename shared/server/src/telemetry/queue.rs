//! The queue of spans before the exporter, bounded, and counting what it drops.
//!
//! The SDK's own queue drops silently; this one drops first, with the SDK's queue behind it never full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::metrics::{Counter, MeterProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use super::{OURS, meters};

/// Puts a queue of `capacity` spans before `exporter`.
pub(super) fn bounded(
    exporter: impl SpanExporter + 'static,
    capacity: usize,
    metrics: &SdkMeterProvider,
) -> Queue {
    let dropped = meters::counter(&metrics.meter(OURS), meters::SPANS_DROPPED);
    let losses = Losses { waiting: Arc::default(), dropped };
    let config = BatchConfigBuilder::default().with_max_queue_size(capacity).build();
    let exporter = Exporter { exporter, losses: losses.clone() };
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    Queue { batches, capacity, losses }
}

#[derive(Clone, Debug)]
struct Losses {
    waiting: Arc<AtomicUsize>,
    dropped: Counter<u64>,
}

#[derive(Debug)]
pub(super) struct Queue {
    batches: BatchSpanProcessor,
    capacity: usize,
    losses: Losses,
}

#[derive(Debug)]
struct Exporter<E> {
    exporter: E,
    losses: Losses,
}

impl Losses {
    fn dropped(&self, count: usize, reason: &'static str) {
        self.dropped.add(count as u64, &[KeyValue::new("error.type", reason)]);
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.batches.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.losses.waiting.fetch_add(1, Relaxed) >= self.capacity {
            self.losses.waiting.fetch_sub(1, Relaxed);
            self.losses.dropped(1, "queue_full");
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.losses.waiting.fetch_sub(count, Relaxed);
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.losses.dropped(count, "export_failed");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Announces each batch's size and holds it until told to go on.
    #[derive(Debug)]
    struct Gate {
        batches: Sender<usize>,
        go: Mutex<Receiver<OTelSdkResult>>,
    }

    impl SpanExporter for Gate {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.batches.send(batch.len()).unwrap();
            self.go.lock().unwrap().recv().unwrap()
        }
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_takes_more_once_it_drained() {
        let (batches, sent) = channel();
        let (go, wait) = channel();
        let gate = Gate { batches, go: Mutex::new(wait) };
        let queue = bounded(gate, 4, &SdkMeterProvider::default());
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer(OURS);
        let spans = |count: usize| (0..count).for_each(|_| drop(tracer.start("work")));

        spans(4);
        assert_eq!(sent.recv().unwrap(), 4, "a full batch leaves at once");
        spans(7);
        go.send(Err(OTelSdkError::AlreadyShutdown)).unwrap();
        assert_eq!(sent.recv().unwrap(), 4, "three of seven found no room");
        go.send(Ok(())).unwrap();
        spans(1);
        go.send(Ok(())).unwrap();
        provider.shutdown().unwrap();
        assert_eq!(sent.recv().unwrap(), 1);
    }
}
