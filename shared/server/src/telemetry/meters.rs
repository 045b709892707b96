//! What is measured beside the calls. Dashboards and alerts name these metrics, and a test holds them to it.

use std::sync::OnceLock;

use caseward_core::Time;
use caseward_store::Vitals;
use opentelemetry::metrics::{Counter, Gauge, Meter};
use opentelemetry::{KeyValue, global};

use super::OURS;

/// A metric of ours: name, unit and meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub what: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal $unit:literal $what:literal)*) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, unit: $unit, what: $what, kind: Kind::$kind };)*
        /// Every metric that a process exports.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

metrics! {
    CALLS Histogram "rpc.server.call.duration" "s" "How long calls served took."
    SHED Counter "caseward.call.shed" "{call}" "Calls turned away because too many were in flight."
    IN_FLIGHT Gauge "caseward.call.in_flight" "{call}" "Calls in flight."
    REFUSED Counter "caseward.audit.refusal" "{call}" "Calls refused because the audit log took no entry."
    RETRIES Counter "caseward.peer.retry" "{call}" "Calls to peers made again after a connection was lost."
    READY Gauge "caseward.service.ready" "1" "Whether a service is ready, 1 or 0."
    OUTBOX Gauge "caseward.outbox.waiting" "{event}" "Events that the bus has not taken."
    OUTBOX_AGE Gauge "caseward.outbox.age" "s" "How long the oldest of them has waited."
    PARKED Gauge "caseward.event.parked" "{event}" "Events that consumers set aside."
    QUEUE Gauge "caseward.store.waiting" "{change}" "Changes that wait for a writer."
    SPANS_DROPPED Counter "caseward.telemetry.span.dropped" "{span}" "Spans that did not reach the collector."
}

/// The instruments of the process.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) shed: Counter<u64>,
    pub(crate) refused: Counter<u64>,
    pub(crate) retries: Counter<u64>,
    pub(crate) in_flight: Gauge<u64>,
    ready: Gauge<u64>,
    outbox: Gauge<u64>,
    outbox_age: Gauge<f64>,
    parked: Gauge<u64>,
    queue: Gauge<u64>,
}

/// To be asked for after `start`, or they go nowhere.
pub(crate) fn meters() -> &'static Meters {
    static METERS: OnceLock<Meters> = OnceLock::new();
    METERS.get_or_init(|| {
        let meter = global::meter(OURS);
        Meters {
            shed: counter(&meter, SHED),
            refused: counter(&meter, REFUSED),
            retries: counter(&meter, RETRIES),
            in_flight: gauge(&meter, IN_FLIGHT),
            ready: gauge(&meter, READY),
            outbox: gauge(&meter, OUTBOX),
            outbox_age: {
                let Metric { name, unit, what, .. } = OUTBOX_AGE;
                meter.f64_gauge(name).with_unit(unit).with_description(what).build()
            },
            parked: gauge(&meter, PARKED),
            queue: gauge(&meter, QUEUE),
        }
    })
}

impl Meters {
    pub(crate) fn ready(&self, service: &'static str, ready: bool) {
        self.ready.record(u64::from(ready), &of(service));
    }

    pub(crate) fn vitals(&self, service: &'static str, vitals: &Vitals, now: Time) {
        let service = of(service);
        let age = vitals.oldest.map_or(0, |oldest| (now.micros() - oldest.micros()).max(0));
        self.outbox.record(vitals.outbox, &service);
        self.outbox_age.record(age as f64 / 1e6, &service);
        self.parked.record(vitals.parked, &service);
        self.queue.record(vitals.queue as u64, &service);
    }
}

/// A process may hold several services.
fn of(service: &'static str) -> [KeyValue; 1] {
    [KeyValue::new("caseward.service", service)]
}

pub(super) fn counter(meter: &Meter, Metric { name, unit, what, .. }: Metric) -> Counter<u64> {
    meter.u64_counter(name).with_unit(unit).with_description(what).build()
}

fn gauge(meter: &Meter, Metric { name, unit, what, .. }: Metric) -> Gauge<u64> {
    meter.u64_gauge(name).with_unit(unit).with_description(what).build()
}
