//! A consumer at work on its own database: tries, retries, sets aside.
use std::{
    collections::{HashMap, HashSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use caseward_core::{Clock, Ctx, Error, Record, Result};
use caseward_store::{Store, parked};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};
use uuid::Uuid;

use crate::{Bus, Consumer, Event, backoff, trace};

/// How often an event is tried before it is set aside.
const TRIES: u32 = 5;

/// What an event that waits behind another is parked with.
const BEHIND: &str = "waits behind an earlier event of the same resource";

/// A consumer that a bus delivers to. Cheap to clone.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<Inner>,
    bus: Bus,
}

/// The part of a subscription that a bus may hold.
pub(crate) struct Inner {
    pub(crate) consumer: Consumer,
    pub(crate) store: Store,
    clock: Clock,
    /// The bus, as traces name it.
    system: &'static str,
    /// The failures of events that are being tried. They start anew with the process.
    failures: Mutex<HashMap<Uuid, u32>>,
}

/// How a delivery went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The event is handled or set aside: it need not come again.
    Done,
    /// To be delivered again after this time; later events of the aggregate wait.
    Again(Duration),
}

impl Subscription {
    pub(crate) fn new(bus: Bus, store: Store, clock: Clock, consumer: Consumer) -> Self {
        let failures = Mutex::default();
        let system = bus.system();
        Subscription { inner: Arc::new(Inner { consumer, store, clock, system, failures }), bus }
    }

    /// The consumer.
    pub fn consumer(&self) -> &Consumer {
        &self.inner.consumer
    }

    /// Handles events until `stop`. In process the relays deliver, so there is nothing to do but to wait.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        match &self.bus {
            Bus::Local(_) => stop.cancelled().await,
            Bus::JetStream(bus) => bus.consume(&self.inner, &stop).await,
        }
        Ok(())
    }

    /// The events that were set aside, the oldest first.
    pub async fn parked(&self) -> Result<Vec<parked::Model>> {
        parked::list(&self.inner.store, self.inner.consumer.name).await
    }

    /// Handles the events that were set aside once more, in order. Answers how many were handled; an aggregate
    /// whose event fails again stays where it is.
    pub async fn replay_parked(&self) -> Result<usize> {
        self.inner.replay(|_| true).await
    }

    pub(crate) fn inner(&self) -> Arc<Inner> {
        self.inner.clone()
    }
}

impl Inner {
    /// Delivers `event` once.
    pub(crate) async fn attempt(&self, event: &Event) -> Progress {
        match self.deliver(event).await {
            Ok(()) => {
                self.failures().remove(&event.id);
                Progress::Done
            }
            Err(error) => {
                let failures = {
                    let mut all = self.failures();
                    let failures = all.entry(event.id).or_default();
                    *failures += 1;
                    *failures
                };
                let wait = backoff::after(failures);
                warn!(
                    consumer = self.consumer.name, event = %event.id, subject = %event.subject, failures,
                    wait_ms = wait.as_millis() as u64, error = %error, "an event was not handled; will retry"
                );
                Progress::Again(wait)
            }
        }
    }

    /// Handles `event` or sets it aside; an error where neither was possible yet.
    async fn deliver(&self, event: &Event) -> Result<()> {
        if parked::blocks(&self.store, self.consumer.name, &event.aggregate).await? {
            return self.queue(event).await;
        }
        let Err(error) = self.handle(event).await else { return Ok(()) };
        let tried = self.failures().get(&event.id).copied().unwrap_or_default() + 1;
        // Where a part is down, the event is not at fault, and every other would fail like it.
        if error.is_transient() || tried < TRIES {
            return Err(error);
        }
        self.park(event, tried, &cause(&error)).await
    }

    /// Runs the handler in a transaction of its own, once in effect.
    async fn handle(&self, event: &Event) -> Result<()> {
        let span = trace::consume(self.system, self.consumer.name, event);
        let ctx = self.ctx(event, trace::carry(&span, &event.trace));
        let whole = async {
            let asked = AssertUnwindSafe(self.consumer.prepare(ctx.clone(), event.clone()));
            let work = match tokio::time::timeout(ctx.left(), asked.catch_unwind()).await {
                Ok(Ok(work)) => work?,
                Ok(Err(_panic)) => return Err(Error::internal("a consumer panicked")),
                Err(_late) => return Err(Error::Deadline),
            };
            self.store.handle(&ctx, self.consumer.name, event.id, move |tx| work(tx)).await
        };
        whole.instrument(span).await
    }

    /// Parks `event` behind an earlier one of its aggregate.
    async fn queue(&self, event: &Event) -> Result<()> {
        let known = self.list().await?.iter().any(|row| row.event == event.id);
        if !known {
            self.park(event, 0, BEHIND).await?;
        }
        // A replay may have taken the earlier one away meanwhile; then nobody else would come back for this one.
        self.replay(|first| first.event == event.id && first.reason == BEHIND).await?;
        Ok(())
    }

    async fn park(&self, event: &Event, attempts: u32, reason: &str) -> Result<()> {
        let row = parked::Model {
            consumer: self.consumer.name.to_owned(),
            event: event.id,
            organization: event.organization,
            subject: event.subject.clone(),
            aggregate: event.aggregate.clone(),
            revision: event.revision,
            payload: event.payload.to_vec(),
            trace: event.trace.clone(),
            attempts: attempts as i32,
            reason: reason.to_owned(),
            parked_at: self.clock.now(),
        };
        warn!(
            consumer = self.consumer.name, event = %event.id, subject = %event.subject, attempts,
            reason, "an event was set aside"
        );
        parked::put(&self.store, &self.ctx(event, event.trace.clone()), row).await
    }

    /// Handles parked events in the order of their aggregates, of those whose first one is `chosen`, until
    /// each aggregate is empty or fails. Events that come meanwhile are seen, since each round lists anew.
    async fn replay(&self, chosen: impl Fn(&parked::Model) -> bool) -> Result<usize> {
        let (mut handled, mut failed) = (0, HashSet::new());
        loop {
            let mut rows = self.list().await?;
            rows.sort_by_key(|row| (row.revision, row.event));
            let mut seen = HashSet::new();
            rows.retain(|row| {
                seen.insert(row.aggregate.clone())
                    && !failed.contains(&row.aggregate)
                    && (chosen(row))
            });
            if rows.is_empty() {
                return Ok(handled);
            }
            for row in rows {
                let attempts = row.attempts as u32 + 1;
                let event = Event::from(row);
                match self.handle(&event).await {
                    Ok(()) => {
                        parked::remove(&self.store, self.consumer.name, event.id).await?;
                        handled += 1;
                    }
                    Err(error) => {
                        failed.insert(event.aggregate.clone());
                        self.park(&event, attempts, &cause(&error)).await?;
                    }
                }
            }
        }
    }

    async fn list(&self) -> Result<Vec<parked::Model>> {
        parked::list(&self.store, self.consumer.name).await
    }

    fn ctx(&self, event: &Event, trace: String) -> Ctx {
        let Consumer { name, service, .. } = self.consumer;
        let mut ctx = Ctx::task(service, name, event.organization, self.clock.clone());
        ctx.record = Arc::new(Record::open(name).traced(trace));
        ctx
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an event failed, in words that hold no patient's value.
fn cause(error: &Error) -> String {
    match error {
        Error::Internal(cause) => format!("internal error: {cause}"),
        error => error.to_string(),
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("consumer", &self.inner.consumer).finish()
    }
}
