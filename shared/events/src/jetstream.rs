//! The bus between processes, on NATS JetStream. It is transport, never the record: what it loses, the
//! producers' outboxes still have.
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use async_nats::{
    Client, ConnectOptions, HeaderMap,
    connection::State,
    jetstream::{
        self, AckKind, Context, Message,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        context::ConsumerInfoErrorKind,
        message::{Acker, PublishMessage},
        stream::{self, StorageType, Stream},
    },
};
use caseward_core::{Clock, Error, Result, Time};
use futures_util::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    Event, backoff, lease,
    subscription::{Inner as Consuming, Progress},
};

const STREAM: &str = "CASEWARD";

/// Older servers lose a stream when they are killed soon after making it (nats-server#6888).
const OLDEST: [u64; 3] = [2, 10, 23];

/// Shorter than consumers remember what they handled.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// After how long without a word the server delivers again.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How often the server hears that an event is still being worked on.
const PROGRESS: Duration = Duration::from_secs(10);

/// How many events a consumer has in hand at most.
const PENDING: usize = 256;

/// A connection to JetStream. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    context: Context,
    replicas: usize,
    /// Whether the stream was seen since the last failure.
    ready: AtomicBool,
    /// Failed publishes in a row.
    failures: AtomicU32,
    /// The durable consumers of this process.
    durables: Mutex<BTreeSet<String>>,
}

/// The events of one aggregate in the order of the stream; the first is being handled.
type Lane = VecDeque<(u64, Event, Arc<Acker>)>;

impl Bus {
    pub(crate) async fn connect(setting: &str) -> anyhow::Result<Bus> {
        let (servers, query) = setting.split_once('?').unwrap_or((setting, ""));
        let mut replicas = 1;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("replicas", count)) => {
                    replicas = count.parse().context("`replicas` of the event bus")?;
                }
                _ => bail!("the event bus knows no parameter but `replicas`"),
            }
        }
        let servers: Vec<&str> = servers.split(',').collect();
        let client = ConnectOptions::new()
            .name("caseward")
            .retry_on_initial_connect()
            .connect(servers)
            .await
            .context("connecting to NATS")?;
        let context = jetstream::new(client.clone());
        let inner = Inner {
            client,
            context,
            replicas,
            ready: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            durables: Mutex::default(),
        };
        let bus = Bus { inner: Arc::new(inner) };
        match tokio::time::timeout(Duration::from_secs(3), bus.inner.client.flush()).await {
            Ok(Ok(())) if bus.is_connected() => bus.check_version()?,
            _ => warn!("NATS cannot be reached; events wait in the outbox"),
        }
        Ok(bus)
    }

    pub(crate) fn subscribe(&self, consuming: &Consuming) {
        self.durables().insert(durable(consuming));
    }

    pub(crate) async fn publish(&self, event: &Event) -> Progress {
        match self.try_publish(event).await {
            Ok(()) => {
                self.inner.failures.store(0, Relaxed);
                Progress::Done
            }
            Err(error) => {
                self.inner.ready.store(false, Relaxed);
                let failures = self.inner.failures.fetch_add(1, Relaxed) + 1;
                let wait = backoff::after(failures);
                warn!(
                    event = %event.id, subject = %event.subject, failures,
                    wait_ms = wait.as_millis() as u64, error = format!("{error:#}"),
                    "an event was not published; will retry"
                );
                Progress::Again(wait)
            }
        }
    }

    async fn try_publish(&self, event: &Event) -> anyhow::Result<()> {
        if !self.inner.ready.load(Relaxed) {
            self.stream().await?;
        }
        let message = PublishMessage::build()
            .payload(event.payload.clone())
            .headers(headers(event))
            .message_id(event.id.to_string());
        // The second wait is for the server's word that it has the event.
        self.inner.context.send_publish(event.subject.clone(), message).await?.await?;
        Ok(())
    }

    /// Handles events for `consuming` until `stop`, while this replica holds the consumer's lease.
    pub(crate) async fn consume(&self, consuming: &Consuming, stop: &CancellationToken) {
        let name = format!("consumer {}", consuming.consumer.name);
        lease::hold(&consuming.store, &name, stop, || self.pull(consuming)).await;
    }

    /// Pulls and handles. Ends only with an error.
    async fn pull(&self, consuming: &Consuming) -> anyhow::Result<()> {
        let consumer = self.take_over(consuming).await?;
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(PENDING)
            .expires(ACK_WAIT)
            .heartbeat(Duration::from_secs(5))
            .messages()
            .await?;
        let mut lanes: HashMap<String, Lane> = HashMap::new();
        let mut flight = FuturesUnordered::new();
        let mut progress = tokio::time::interval(PROGRESS);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = message.context("the subscription ended")??;
                    let Some((sequence, event, acker)) = read(message).await? else { continue };
                    let lane = lanes.entry(event.aggregate.clone()).or_default();
                    // The server may deliver again what is still in hand.
                    if lane.iter().any(|(held, ..)| *held == sequence) {
                        continue;
                    }
                    lane.push_back((sequence, event, acker));
                    if lane.len() == 1 {
                        flight.extend(start(consuming, lane));
                    }
                }
                Some(aggregate) = flight.next() => {
                    let Some(lane) = lanes.get_mut(&aggregate) else { continue };
                    lane.pop_front();
                    match start(consuming, lane) {
                        Some(next) => flight.push(next),
                        None => { lanes.remove(&aggregate); }
                    }
                }
                _ = progress.tick() => {
                    for (_, _, acker) in lanes.values().flatten() {
                        acker.ack_with(AckKind::Progress).await.map_err(anyhow::Error::from_boxed)?;
                    }
                }
            }
        }
    }

    /// Makes the durable consumer anew from where all before is acknowledged.
    ///
    /// Taking the old one as it is would let events overtake: what the last holder had in hand comes back
    /// only after `ACK_WAIT`, what is new comes at once. The inbox drops what was handled.
    async fn take_over(&self, consuming: &Consuming) -> anyhow::Result<PullConsumer> {
        let stream = self.stream().await?;
        let name = durable(consuming);
        let from = match stream.consumer_info(&name).await {
            Ok(info) => {
                stream.delete_consumer(&name).await?;
                let start_sequence = info.ack_floor.stream_sequence + 1;
                DeliverPolicy::ByStartSequence { start_sequence }
            }
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => DeliverPolicy::All,
            Err(error) => return Err(error.into()),
        };
        let config = pull::Config {
            durable_name: Some(name),
            deliver_policy: from,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: PENDING as i64,
            filter_subjects: consuming.consumer.subjects.to_vec(),
            num_replicas: self.inner.replicas,
            ..Default::default()
        };
        Ok(stream.create_consumer(config).await?)
    }

    /// The stream, made or brought up to date.
    async fn stream(&self) -> anyhow::Result<Stream> {
        self.check_version()?;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["caseward.>".to_owned()],
            storage: StorageType::File,
            max_age: KEPT,
            num_replicas: self.inner.replicas,
            duplicate_window: Duration::from_secs(120),
            ..Default::default()
        };
        self.inner.context.create_or_update_stream(config).await.context("making the stream")?;
        let stream = self.inner.context.get_stream(STREAM).await?;
        self.inner.ready.store(true, Relaxed);
        Ok(stream)
    }

    /// Whether every consumer has handled all there is. One of ours that is missing has all before it: its
    /// stream was lost, or it did not start yet.
    pub(crate) async fn is_idle(&self) -> Result<bool> {
        let unreachable = |_| Error::Unavailable("the event bus does not answer; try again");
        let stream = self.stream().await.map_err(unreachable)?;
        let consumers: Vec<_> = stream
            .consumers()
            .try_collect()
            .await
            .map_err(|_| Error::Unavailable("the event bus does not answer; try again"))?;
        let mut missing = self.durables().clone();
        consumers.iter().for_each(|one| {
            missing.remove(&one.name);
        });
        let idle = consumers.iter().all(|one| one.num_pending == 0 && one.num_ack_pending == 0);
        Ok(idle && missing.is_empty())
    }

    fn durables(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.inner.durables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == State::Connected
    }

    fn check_version(&self) -> anyhow::Result<()> {
        ensure!(self.is_connected(), "NATS cannot be reached");
        let version = self.inner.client.server_info().version;
        let [major, minor, patch] = OLDEST;
        ensure!(
            is_new_enough(&version),
            "the NATS server is {version}; at least {major}.{minor}.{patch} is needed, older ones lose streams"
        );
        Ok(())
    }
}

/// The name of a consumer on the stream, where dots and slashes mean something.
fn durable(consuming: &Consuming) -> String {
    let name = format!("{}-{}", consuming.consumer.service, consuming.consumer.name);
    name.replace(['.', ' ', '*', '>', '/', '\\'], "-")
}

/// Starts the first of `lane`; gives its aggregate when it is handled and acknowledged.
fn start<'a>(
    consuming: &'a Consuming,
    lane: &Lane,
) -> Option<impl Future<Output = String> + use<'a>> {
    let (_, event, acker) = lane.front()?;
    let (event, acker) = (event.clone(), acker.clone());
    Some(async move {
        while let Progress::Again(wait) = consuming.attempt(&event).await {
            tokio::time::sleep(wait).await;
        }
        if let Err(error) = acker.ack().await {
            // It comes again, and the inbox knows it.
            debug!(event = %event.id, error, "an event could not be acknowledged");
        }
        event.aggregate
    })
}

/// Reads a message; what is no event of ours is put away for good.
async fn read(message: Message) -> anyhow::Result<Option<(u64, Event, Arc<Acker>)>> {
    let sequence = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
    let (message, acker) = message.split();
    match event(&message) {
        Some(event) => Ok(Some((sequence, event, Arc::new(acker)))),
        None => {
            warn!(subject = %message.subject, sequence, "a message is no event of ours; it is dropped");
            acker.ack_with(AckKind::Term).await.map_err(anyhow::Error::from_boxed)?;
            Ok(None)
        }
    }
}

fn is_new_enough(version: &str) -> bool {
    // A pre-release of a version counts as that version.
    let numbers = version.split('-').next().unwrap_or_default().split('.');
    let numbers: Option<Vec<u64>> = numbers.map(|number| number.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.as_slice() >= OLDEST.as_slice())
}

// === wire ===

/// The id of the event, which the inbox goes by. The message id is the server's, for its window of duplicates only:
/// whoever publishes anew from an outbox or copies a stream may give another.
const ID: &str = "Caseward-Event-Id";
const ORGANIZATION: &str = "Caseward-Organization";
const AGGREGATE: &str = "Caseward-Aggregate";
const REVISION: &str = "Caseward-Revision";
const OCCURRED: &str = "Caseward-Occurred-At";
const TRACE: &str = "traceparent";

pub(crate) fn headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ID, event.id.to_string());
    headers.insert(ORGANIZATION, event.organization.to_string());
    headers.insert(AGGREGATE, event.aggregate.as_str());
    headers.insert(REVISION, event.revision.to_string());
    headers.insert(OCCURRED, event.occurred_at.micros().to_string());
    if !event.trace.is_empty() {
        headers.insert(TRACE, event.trace.as_str());
    }
    headers
}

pub(crate) fn event(message: &async_nats::Message) -> Option<Event> {
    let headers = message.headers.as_ref()?;
    let header = |name: &str| headers.get(name).map(|value| value.as_str());
    Some(Event {
        id: Uuid::try_parse(header(ID)?).ok()?,
        organization: Uuid::try_parse(header(ORGANIZATION)?).ok()?,
        subject: message.subject.to_string(),
        aggregate: header(AGGREGATE)?.to_owned(),
        revision: header(REVISION)?.parse().ok()?,
        occurred_at: Time::from_micros(header(OCCURRED)?.parse().ok()?),
        trace: header(TRACE).unwrap_or_default().to_owned(),
        payload: message.payload.clone(),
    })
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("jetstream::Bus")
    }
}

/// Beside the stream, whose subjects begin with `caseward.`: a moment that is past is of no use to a late reader.
const CLOCK: &str = "caseward-clock";

impl Bus {
    /// Tells every process of the deployment what time its simulated clock shows.
    pub async fn tell_time(&self, now: Time) -> Result<()> {
        let payload = now.micros().to_be_bytes().to_vec().into();
        let told = async {
            self.inner.client.publish(CLOCK, payload).await.map_err(|_| DOWN)?;
            self.inner.client.flush().await.map_err(|_| DOWN)
        };
        told.await
    }

    /// Keeps a simulated `clock` with the deployment's until `stop`.
    pub async fn follow_time(self, clock: Clock, stop: CancellationToken) -> anyhow::Result<()> {
        let mut told = self.inner.client.subscribe(CLOCK).await?;
        loop {
            let message = tokio::select! {
                message = told.next() => message,
                () = stop.cancelled() => return Ok(()),
            };
            let Some(message) = message else { return Ok(()) };
            if let Ok(micros) = <[u8; 8]>::try_from(&message.payload[..]) {
                clock.follow(Time::from_micros(i64::from_be_bytes(micros)));
            }
        }
    }
}

const DOWN: Error = Error::Unavailable("the bus does not answer; try again");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_loses_streams_is_refused() {
        for (version, good) in [
            ("2.10.22", false),
            ("2.9.10", false),
            ("", false),
            ("2.10.23", true),
            ("2.12.0-RC.1", true),
            ("3.0.0", true),
        ] {
            assert_eq!(is_new_enough(version), good, "{version}");
        }
    }
}
