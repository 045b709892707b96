//! A producer and a consumer with a database each, a bus between them, and what runs in their names.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_api::patient::v1::{PatientCreated, PatientUpdated};
use caseward_core::{Clock, Ctx, Error, Time};
use caseward_events::{Bus, Consumer, Event, Relay, Settle, Subscription};
use caseward_store::{Settings, Store, Tx};
use caseward_testkit::{Database, Nats, databases, nats};
use prost::Name;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::effect::{self, Migrator};

pub const ORGANIZATION: Uuid = Uuid::from_u128(7);

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(60);

pub struct World {
    pub producer: Store,
    pub consumer: Store,
    pub bus: Bus,
    pub clock: Clock,
    pub relay: Relay,
    pub subscription: Subscription,
    pub nats: Option<Nats>,
    pub stop: CancellationToken,
    /// How often an event was tried. The work of one try may run again beside a neighbour's that failed.
    pub tries: Arc<AtomicU32>,
    /// Whether events of the aggregate `poison` fail.
    pub poisoned: Arc<AtomicBool>,
    /// Whether what events of the aggregate `down` need is down.
    pub down: Arc<AtomicBool>,
    /// Told after the handler ran for another aggregate.
    pub healthy: Arc<Notify>,
    databases: [Database; 2],
    running: Vec<JoinHandle<()>>,
}

/// Every kind of world that this machine can make.
pub async fn worlds() -> Vec<World> {
    let mut all = vec![];
    let consumers = databases().await;
    for (producer, consumer) in databases().await.into_iter().zip(consumers) {
        let pair = [producer, consumer];
        all.push(World::new(pair.clone(), None).await);
    }
    let consumers = databases().await;
    for (producer, consumer) in databases().await.into_iter().zip(consumers) {
        if let Some(nats) = nats().await {
            all.push(World::new([producer, consumer], Some(nats)).await);
        }
    }
    all
}

impl World {
    pub async fn new(databases: [Database; 2], nats: Option<Nats>) -> World {
        let producer = open(&databases[0]).await;
        let consumer = open(&databases[1]).await;
        let setting = nats.as_ref().map_or("local", |nats| &nats.url);
        let bus = Bus::connect(setting).await.unwrap();
        let clock = Clock::simulated(Time::parse("2026-11-23T08:00:00Z").unwrap());
        let relay = Relay::new("patient", producer.clone(), bus.clone(), clock.clone());
        let (tries, poisoned, down) = Default::default();
        let healthy = Arc::default();
        let reader = reader(&tries, &poisoned, &down, &healthy);
        let subscription = bus.subscribe(consumer.clone(), clock.clone(), reader);
        bus.open();
        World {
            producer,
            consumer,
            bus,
            clock,
            relay,
            subscription,
            nats,
            stop: CancellationToken::new(),
            tries,
            poisoned,
            down,
            healthy,
            databases,
            running: vec![],
        }
    }

    /// Starts the relay and the consumer.
    pub fn start(&mut self) {
        let (relay, stop) = (self.relay.clone(), self.stop.clone());
        self.running.push(tokio::spawn(async move { relay.run(stop).await.unwrap() }));
        let (subscription, stop) = (self.subscription.clone(), self.stop.clone());
        self.running.push(tokio::spawn(async move { subscription.run(stop).await.unwrap() }));
    }

    /// Ends the relay and the consumer where they stand, as a kill would: no lease is given back.
    pub async fn kill(&mut self) {
        for task in self.running.drain(..) {
            task.abort();
            task.await.ok();
        }
    }

    /// Stops the relay and the consumer in order.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.running.drain(..) {
            tokio::time::timeout(LONG, task).await.unwrap().unwrap();
        }
        self.stop = CancellationToken::new();
    }

    /// Another process on the producer's database.
    pub async fn other_producer(&self) -> Store {
        open(&self.databases[0]).await
    }

    pub fn ctx(&self) -> Ctx {
        Ctx::task("patient", "test", ORGANIZATION, self.clock.clone())
    }

    /// Commits one event of `aggregate`.
    pub async fn say(&self, aggregate: &str, revision: i64) {
        let aggregate = aggregate.to_owned();
        let work = move |tx: Tx| {
            emit(&tx, &aggregate, revision);
            async { Ok(()) }
        };
        self.producer.task(&self.ctx(), work).await.unwrap();
    }

    /// Waits until every event has had its effect.
    pub async fn settle(&self) {
        let settle = Settle {
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            relays: vec![self.relay.clone()],
            timers: vec![],
        };
        settle.settle(LONG).await.unwrap();
    }

    /// The revisions that had an effect, in order, by aggregate.
    pub async fn effects(&self) -> BTreeMap<String, Vec<i64>> {
        let mut effects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in effect::all(&self.consumer, &self.ctx()).await {
            effects.entry(row.what).or_default().push(row.revision);
        }
        effects
    }
}

pub async fn open(database: &Database) -> Store {
    Store::open::<Migrator>(&Settings::new(&database.url)).await.unwrap()
}

pub fn emit(tx: &Tx, aggregate: &str, revision: i64) {
    if revision == 1 {
        tx.emit(aggregate, 1, &PatientCreated { patient: aggregate.to_owned(), revision });
    } else {
        let event = PatientUpdated {
            patient: aggregate.to_owned(),
            revision,
            changed_fields: vec!["family_name".to_owned()],
        };
        tx.emit(aggregate, revision, &event);
    }
}

fn reader(
    tries: &Arc<AtomicU32>,
    poisoned: &Arc<AtomicBool>,
    down: &Arc<AtomicBool>,
    healthy: &Arc<Notify>,
) -> Consumer {
    let (tries, poisoned) = (tries.clone(), poisoned.clone());
    let (down, healthy) = (down.clone(), healthy.clone());
    let subjects = [PatientCreated::full_name(), PatientUpdated::full_name()];
    let count = move |_, _| {
        tries.fetch_add(1, SeqCst);
        async { Ok(()) }
    };
    Consumer::asking("reader", "care-plan", subjects, count, move |event: Event, (), tx| {
        let poisoned = poisoned.load(SeqCst) && event.aggregate == "poison";
        let down = down.load(SeqCst) && event.aggregate == "down";
        let healthy = healthy.clone();
        async move {
            let (patient, revision) = match event.decode::<PatientCreated>()? {
                Some(created) => (created.patient, created.revision),
                None => {
                    let updated = event.decode::<PatientUpdated>()?;
                    let updated = updated.ok_or_else(|| Error::internal("another event"))?;
                    (updated.patient, updated.revision)
                }
            };
            assert_eq!((&patient, revision), (&event.aggregate, event.revision));
            assert_eq!(event.organization, ORGANIZATION);
            effect::note(&tx, &patient, revision).await?;
            // After the write, so that a failure has something to undo.
            if poisoned {
                return Err(Error::precondition("POISON", "cannot be handled"));
            }
            if down {
                return Err(Error::Unavailable("a peer is down"));
            }
            healthy.notify_one();
            Ok(())
        }
    })
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} and {:?}", self.databases[0], self.bus)
    }
}
