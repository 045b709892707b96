//! Carries events from a service's outbox to the bus.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use caseward_core::{Clock, Ctx, Result, Time};
use caseward_store::{Store, outbox};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Bus, Event, lease, subscription::Progress};

const LEASE: &str = "outbox relay";

/// How many aggregates are under way at once.
const IN_FLIGHT: usize = 64;

/// How many events are read at once.
const BATCH: u64 = 256;

/// How many events are read at once where those that cannot start now hide the others.
const DEEPEST: u64 = 4096;

/// How often the outbox is read where nothing wakes the relay: for what another replica committed.
const POLL: Duration = Duration::from_millis(500);

/// The relay of one service's database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    service: &'static str,
    store: Store,
    bus: Bus,
    clock: Clock,
    /// Asks for a look at the outbox.
    nudge: Arc<Notify>,
    /// Told after every lane.
    moved: Arc<Notify>,
}

/// The events of one aggregate that are under way, in order.
struct Lane {
    aggregate: String,
    events: Vec<Event>,
}

/// A lane that has been carried.
struct Carried {
    aggregate: String,
    /// The events that the bus took.
    taken: Vec<Uuid>,
    progress: Progress,
}

/// Why an aggregate is not started now.
enum Busy {
    /// These events are under way.
    Flying(HashSet<Uuid>),
    /// The last one failed.
    Resting(Instant),
}

impl Relay {
    /// The relay of `service`'s `store`.
    pub fn new(service: &'static str, store: Store, bus: Bus, clock: Clock) -> Self {
        Relay { service, store, bus, clock, nudge: Arc::default(), moved: Arc::default() }
    }

    /// Relays until `stop`, while this replica holds the lease.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        lease::hold(&self.store, LEASE, &stop, || self.work()).await;
        Ok(())
    }

    /// Waits until no event waits in the outbox; answers whether one did. Some replica must be running.
    pub async fn drained(&self) -> Result<bool> {
        let mut waited = false;
        while !outbox::pending(&self.store, 1).await?.is_empty() {
            waited = true;
            self.nudge.notify_one();
            // Another replica may be the one that relays.
            timeout(Duration::from_millis(100), self.moved.notified()).await.ok();
        }
        Ok(waited)
    }

    /// Publishes every event since `since` once more, after the bus lost them. Answers how many.
    pub async fn republish(&self, since: Time) -> Result<u64> {
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = count.clone();
        self.store
            .task(&self.ctx(), move |tx| {
                let count = count.clone();
                async move {
                    let rows = outbox::replay(&tx.db, since).await?;
                    count.store(rows, std::sync::atomic::Ordering::Relaxed);
                    Ok(())
                }
            })
            .await?;
        self.nudge.notify_one();
        Ok(counted.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Looks, starts a lane per aggregate, looks again. Ends only with an error.
    async fn work(&self) -> anyhow::Result<()> {
        // Tasks, and not futures of this one: while it waits for a connection to look with, those under way must go on
        // and give theirs back.
        let mut flight = JoinSet::new();
        // What the bus took is noted for many lanes at once: while one note is written, the next one gathers.
        let (mut landed, mut noting) = (Vec::new(), JoinSet::new());
        let mut waiting: VecDeque<Lane> = VecDeque::new();
        let mut busy: HashMap<String, Busy> = HashMap::new();
        // Whether to look at once, and whether there was more than could be started.
        let (mut look, mut more) = (true, false);
        loop {
            if look && waiting.is_empty() {
                look = false;
                more = self.look(&mut busy, &mut waiting).await?;
            }
            while flight.len() < IN_FLIGHT
                && let Some(lane) = waiting.pop_front()
            {
                flight.spawn(self.clone().carry(lane));
            }
            if noting.is_empty() && !landed.is_empty() {
                noting.spawn(self.clone().note(std::mem::take(&mut landed)));
            }
            let rested = busy.values().filter_map(|busy| match busy {
                Busy::Flying(_) => None,
                Busy::Resting(until) => Some(*until),
            });
            let later = rested.min().unwrap_or_else(|| Instant::now() + POLL);
            tokio::select! {
                Some(carried) = flight.join_next() => landed.push(carried?),
                Some(noted) = noting.join_next() => {
                    for Carried { aggregate, progress, .. } in noted? {
                        match progress {
                            Progress::Done => busy.remove(&aggregate),
                            Progress::Again(wait) => {
                                busy.insert(aggregate, Busy::Resting(Instant::now() + wait))
                            }
                        };
                    }
                    look |= more;
                    self.moved.notify_waiters();
                }
                () = self.store.committed() => look = true,
                () = self.nudge.notified() => look = true,
                () = sleep_until(later.min(Instant::now() + POLL)) => look = true,
            }
        }
    }

    /// Reads what waits and makes lanes of it; answers whether there is more than that.
    async fn look(
        &self,
        busy: &mut HashMap<String, Busy>,
        waiting: &mut VecDeque<Lane>,
    ) -> Result<bool> {
        let now = Instant::now();
        busy.retain(|_, busy| !matches!(busy, Busy::Resting(until) if *until <= now));
        let flying = busy.values().map(|busy| match busy {
            Busy::Flying(events) => events.len() as u64,
            Busy::Resting(_) => 1,
        });
        let mut most = BATCH + flying.sum::<u64>();
        let (mut order, mut lanes, mut more, mut cut);
        loop {
            let rows = outbox::pending(&self.store, most).await?;
            let full = rows.len() as u64 == most;
            more = full;
            cut = rows.last().filter(|_| full).map(|row| row.id);
            order = Vec::new();
            lanes = HashMap::<String, Vec<Event>>::new();
            for row in rows {
                match busy.get(&row.aggregate) {
                    Some(Busy::Flying(events)) => more |= !events.contains(&row.id),
                    Some(Busy::Resting(_)) => {}
                    None => {
                        let lane = lanes.entry(row.aggregate.clone()).or_default();
                        if lane.is_empty() {
                            order.push(row.aggregate.clone());
                        }
                        lane.push(row.into());
                    }
                }
            }
            if !order.is_empty() || !full || most >= DEEPEST {
                break;
            }
            most *= 2;
        }
        if let Some(last) = cut.filter(|_| !order.is_empty()) {
            for row in outbox::pending_behind(&self.store, last, &order).await? {
                lanes.entry(row.aggregate.clone()).or_default().push(row.into());
            }
        }
        for aggregate in order {
            let mut events = lanes.remove(&aggregate).unwrap_or_default();
            // Replicas make ids by clocks of their own; revisions are the truth.
            events.sort_by_key(|event| (event.revision, event.id));
            let ids = events.iter().map(|event| event.id).collect();
            busy.insert(aggregate.clone(), Busy::Flying(ids));
            waiting.push_back(Lane { aggregate, events });
        }
        Ok(more)
    }

    /// Publishes the events of a lane up to the first that fails.
    async fn carry(self, lane: Lane) -> Carried {
        let Lane { aggregate, events } = lane;
        let (mut taken, mut progress) = (Vec::new(), Progress::Done);
        for event in &events {
            progress = self.bus.publish(event).await;
            if progress != Progress::Done {
                break;
            }
            taken.push(event.id);
        }
        Carried { aggregate, taken, progress }
    }

    /// Notes which events the bus took.
    async fn note(self, mut lanes: Vec<Carried>) -> Vec<Carried> {
        let taken: Vec<Uuid> = lanes.iter().flat_map(|lane| &lane.taken).copied().collect();
        if taken.is_empty() {
            return lanes;
        }
        let (ctx, at) = (self.ctx(), self.clock.now());
        let noted = self.store.task(&ctx, move |tx| {
            let taken = taken.clone();
            async move { outbox::published(&tx.db, taken, at).await }
        });
        if let Err(error) = noted.await {
            // They stay in the outbox and are published again; consumers drop what they know.
            tracing::warn!(%error, "could not note what was published");
            lanes.iter_mut().for_each(|lane| lane.progress = Progress::Again(POLL));
        }
        lanes
    }

    fn ctx(&self) -> Ctx {
        Ctx::task(self.service, LEASE, Uuid::nil(), self.clock.clone())
    }
}
