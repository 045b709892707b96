//! The way events take between services.
use std::time::Duration;

use anyhow::bail;
use caseward_core::{Clock, Result};
use caseward_store::Store;
use tracing::Instrument;

use crate::{Consumer, Event, Subscription, jetstream, local, subscription::Progress, trace};

/// What carries events. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    /// Within one process.
    Local(local::Bus),
    /// Between processes.
    JetStream(jetstream::Bus),
}

impl Bus {
    /// A bus as the setting names it: `local`, or `nats://host:4222?replicas=3` (also `tls://`, and several
    /// hosts separated by commas).
    ///
    /// A NATS server that is too old is refused; one that cannot be reached is tried again in the background,
    /// since a service works without its bus.
    pub async fn connect(setting: &str) -> anyhow::Result<Bus> {
        if setting == "local" {
            Ok(Bus::Local(local::Bus::new()))
        } else if setting.starts_with("nats://") || setting.starts_with("tls://") {
            Ok(Bus::JetStream(jetstream::Bus::connect(setting).await?))
        } else {
            bail!("the event bus is `local` or starts with nats:// or tls://")
        }
    }

    /// Ties `consumer` to its database. Its `run` is to be spawned.
    pub fn subscribe(&self, store: Store, clock: Clock, consumer: Consumer) -> Subscription {
        let subscription = Subscription::new(self.clone(), store, clock, consumer);
        match self {
            Bus::Local(bus) => bus.subscribe(subscription.inner()),
            Bus::JetStream(bus) => bus.subscribe(&subscription.inner()),
        }
        subscription
    }

    /// Lets events flow: every consumer of this process has subscribed. Without it a local bus holds them
    /// back, for one that came too late would never hear of them.
    pub fn open(&self) {
        if let Bus::Local(bus) = self {
            bus.open();
        }
    }

    pub(crate) async fn publish(&self, event: &Event) -> Progress {
        let span = trace::publish(self.system(), event);
        if span.is_none() {
            return self.hand_over(event).await;
        }
        let event = Event { trace: trace::carry(&span, &event.trace), ..event.clone() };
        let progress = self.hand_over(&event).instrument(span.clone()).await;
        if progress != Progress::Done {
            span.record("otel.status_code", "ERROR");
        }
        progress
    }

    async fn hand_over(&self, event: &Event) -> Progress {
        match self {
            Bus::Local(bus) => bus.publish(event).await,
            Bus::JetStream(bus) => bus.publish(event).await,
        }
    }

    /// Its name in traces (OpenTelemetry `messaging.system`).
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Bus::Local(_) => "local",
            Bus::JetStream(_) => "nats",
        }
    }

    /// Waits until every consumer has handled what was published; answers whether one had to be waited for.
    pub(crate) async fn idle(&self) -> Result<bool> {
        const LOOK: Duration = Duration::from_millis(20);
        let Bus::JetStream(bus) = self else { return Ok(false) };
        let mut waited = false;
        while !bus.is_idle().await? {
            waited = true;
            tokio::time::sleep(LOOK).await;
        }
        Ok(waited)
    }
}
