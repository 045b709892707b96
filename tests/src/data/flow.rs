//! Every event has one effect, in its order, whatever is killed, doubled, poisoned or late on its way.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_api::patient::v1::PatientUpdated;
use caseward_core::{Clock, Ctx, Error, Time};
use caseward_events::{Bus, Consumer, Event, Relay, Settle, Subscription};
use caseward_store::{Settings, Store, Tx, migrations};
use caseward_testkit::{Database, Nats, START, nats};
use prost::Name;
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tokio::{
    runtime::Runtime,
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Run, Trial};

const ORGANIZATION: Uuid = Uuid::from_u128(7);

/// By then everything is carried, on a machine that is busy with other tests.
const CARRIED: Duration = Duration::from_secs(180);

/// How many writers share the aggregates.
const WRITERS: u64 = 8;

/// A field that says what is to become of an event while the poison works.
const FAILS: &str = "fails";
const PANICS: &str = "panics";

/// Parts of the flow are killed at any moment of a load, the bus among them.
pub async fn restarts(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (events, aggregates) = (run.of(240, 100_000), run.of(8, 500));
    let kills = run.of(2, 120);
    run.expect(2 * kills);
    for mut flow in flows().await {
        let mut chances = run.random();
        let each = events / aggregates;
        let load = flow.load(aggregates, each, |_, _| vec![]);
        let (mut killed, mut nats) = (0, 0);
        for _ in 0..kills {
            sleep(Duration::from_millis(chances.u64(0..1500))).await;
            let victim = chances.usize(..flow.parts.len() + usize::from(flow.nats.is_some()));
            if victim < flow.parts.len() {
                flow.kill(victim);
                killed += 1;
            } else if let Some(bus) = &mut flow.nats {
                bus.stop().await;
                bus.start().await;
                nats += 1;
            }
            run.step();
        }
        load.join_all().await;
        flow.settle().await;
        let wanted = wanted(aggregates, each);
        let effects = flow.effects().await;
        trial.tries += aggregates * each;
        let shape = flow.shape();
        differences(&effects, &wanted)
            .into_iter()
            .for_each(|why| trial.fail(format!("{shape}: {why}")));
        trial.note(format!("{shape}: {killed} parts killed, the bus {nats} times"));
        trial.control(
            format!("{shape}: an effect lost, doubled, out of order"),
            sees(&effects, &wanted),
        );
    }
    trial
}

/// Events are published again, and copied on the bus under other message ids.
pub async fn duplicates(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (events, aggregates) = (run.of(120, 100_000), run.of(6, 500));
    for flow in flows().await {
        let each = events / aggregates;
        let load = flow.load(aggregates, each, |_, _| vec![]);
        let began = Time::from_micros(0);
        let mut again = 0;
        for _ in 0..run.of(2, 5) {
            sleep(Duration::from_millis(200)).await;
            again += flow.relay.republish(began).await.unwrap();
            again += flow.copy().await;
        }
        load.join_all().await;
        again += flow.relay.republish(began).await.unwrap();
        flow.settle().await;
        again += flow.copy().await;
        flow.settle().await;
        let (wanted, shape) = (wanted(aggregates, each), flow.shape());
        trial.tries += again;
        let effects = flow.effects().await;
        differences(&effects, &wanted)
            .into_iter()
            .for_each(|why| trial.fail(format!("{shape}: {why}")));
        trial.note(format!("{shape}: {again} deliveries beside the {} first", aggregates * each));

        flow.forget().await;
        flow.relay.republish(began).await.unwrap();
        flow.copy().await;
        flow.settle().await;
        let doubled = differences(&flow.effects().await, &wanted).len();
        trial.control(
            format!("{shape}: a consumer that forgot what it handled doubles {doubled} aggregates"),
            doubled as u64 == aggregates,
        );
    }
    trial
}

/// Some events cannot be handled for a while.
pub async fn poison(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (events, aggregates) = (run.of(120, 20_000), run.of(12, 400));
    let each = events / aggregates;
    // One aggregate in six has one such event in its middle.
    let is_poisoned = |aggregate: u64| aggregate % 6 == 1;
    let middle = each / 2;
    for flow in flows().await {
        let shape = flow.shape();
        flow.poisoned.store(true, SeqCst);
        let load = flow.load(aggregates, each, move |aggregate, revision| {
            let kind = if aggregate % 12 == 1 { FAILS } else { PANICS };
            let bad = is_poisoned(aggregate) && revision == middle;
            if bad { vec![kind.to_owned()] } else { vec![] }
        });
        load.join_all().await;
        flow.settle().await;
        let (whole, effects) = (wanted(aggregates, each), flow.effects().await);
        let mut held = whole.clone();
        for (name, revisions) in &mut held {
            if is_poisoned(name.parse().unwrap()) {
                revisions.truncate(middle as usize - 1);
            }
        }
        for why in differences(&effects, &held) {
            trial.fail(format!("{shape}, while some are parked: {why}"));
        }
        let parked = flow.subscription.parked().await.unwrap();
        let bad = (0..aggregates).filter(|one| is_poisoned(*one)).count() as u64;
        let expected = bad * (each - middle + 1);
        trial.check(parked.len() as u64 == expected, || {
            format!("{shape}: {} are parked, not {expected}", parked.len())
        });
        // One that somebody takes away for good must be missed.
        let taken = parked.iter().find(|row| row.revision == middle as i64).unwrap().clone();
        flow.poisoned.store(false, SeqCst);
        let released = flow.subscription.replay_parked().await.unwrap();
        trial.check(released as u64 == expected, || {
            format!("{shape}: {released} were released, not {expected}")
        });
        let effects = flow.effects().await;
        for why in differences(&effects, &whole) {
            trial.fail(format!("{shape}, after the release: {why}"));
        }
        let left = flow.subscription.parked().await.unwrap().len();
        trial.check(left == 0, || format!("{shape}: {left} stay parked"));
        trial.tries += expected;
        trial.note(format!("{shape}: {bad} poisoned, {} waited behind them", expected - bad));
        let mut without = effects.clone();
        let revisions = without.get_mut(&taken.aggregate).unwrap();
        revisions.retain(|revision| *revision != taken.revision);
        trial.control(
            format!("{shape}: a parked event that is thrown away, an effect doubled, out of order"),
            !differences(&without, &whole).is_empty() && sees(&effects, &whole),
        );
    }
    trial
}

/// Of two transactions that follow each other, the first commits after the second.
pub async fn late_commits(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let pairs = run.of(20, 1000);
    for flow in flows().await.into_iter().filter(|flow| !flow.databases[0].is_sqlite()) {
        let (mut high, mut read) = (Uuid::nil(), 0);
        for pair in 0..pairs {
            let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let late = {
                let (producer, ctx) = (flow.producer.clone(), flow.ctx());
                let (begun, go) = (begun.clone(), go.clone());
                tokio::spawn(async move {
                    let work = move |tx: Tx| {
                        let (begun, go) = (begun.clone(), go.clone());
                        async move {
                            emit(&tx, 2 * pair, 1, vec![]);
                            begun.notify_one();
                            go.notified().await;
                            Ok(())
                        }
                    };
                    producer.task(&ctx, work).await.unwrap();
                })
            };
            begun.notified().await;
            flow.say(2 * pair + 1, 1, vec![]).await;
            read += flow.above(&mut high).await;
            go.notify_one();
            late.await.unwrap();
            read += flow.above(&mut high).await;
            trial.tried();
        }
        flow.settle().await;
        let (wanted, shape) = (wanted(2 * pairs, 1), flow.shape());
        for why in differences(&flow.effects().await, &wanted) {
            trial.fail(format!("{shape}: {why}"));
        }
        let missed = 2 * pairs - read;
        trial.control(
            format!("{shape}: a reader with a high-water mark missed {missed}"),
            missed > 0,
        );
    }
    trial
}

/// Where events flow: a producer and a consumer with a database each, what carries them, and what can be killed.
struct Flow {
    databases: [Database; 2],
    nats: Option<Nats>,
    producer: Store,
    consumer: Store,
    clock: Clock,
    bus: Bus,
    /// Never run here: another process relays.
    relay: Relay,
    /// Never run here: another process consumes.
    subscription: Subscription,
    poisoned: Arc<AtomicBool>,
    parts: Vec<Part>,
}

/// What runs in one process, as far as a kill is concerned: its tasks, its connections, its memory.
struct Part {
    kind: Kind,
    runtime: Option<Runtime>,
}

#[derive(Clone, Copy)]
enum Kind {
    Relay,
    Consumer,
    /// Both, around a bus in process.
    Both,
}

/// One flow of each shape that this machine can run: in process on SQLite; PostgreSQL and NATS, each part twice.
async fn flows() -> Vec<Flow> {
    let mut all = vec![Flow::new([Database::sqlite(), Database::sqlite()], None).await];
    if let (Some(producer), Some(consumer)) =
        (Database::postgres().await, Database::postgres().await)
        && let Some(nats) = nats().await
    {
        all.push(Flow::new([producer, consumer], Some(nats)).await);
    }
    all
}

impl Flow {
    async fn new(databases: [Database; 2], nats: Option<Nats>) -> Flow {
        let [producer, consumer] = [open(&databases[0]).await, open(&databases[1]).await];
        let clock = Clock::simulated(Time::parse(START).unwrap());
        let place = match databases[1].is_sqlite() {
            true => "INTEGER PRIMARY KEY AUTOINCREMENT",
            false => "BIGSERIAL PRIMARY KEY",
        };
        let table = format!("CREATE TABLE effect (place {place}, aggregate TEXT, revision BIGINT)");
        aside(&databases[1]).await.execute_unprepared(&table).await.unwrap();
        let setting = nats.as_ref().map_or("local", |nats| &nats.url);
        let bus = Bus::connect(setting).await.unwrap();
        let relay = Relay::new("patient", producer.clone(), bus.clone(), clock.clone());
        let poisoned = Arc::new(AtomicBool::new(false));
        let subscription = bus.subscribe(consumer.clone(), clock.clone(), reader(poisoned.clone()));
        let kinds = match nats {
            Some(_) => vec![Kind::Relay, Kind::Relay, Kind::Consumer, Kind::Consumer],
            None => vec![Kind::Both],
        };
        let parts = kinds.into_iter().map(|kind| Part { kind, runtime: None }).collect();
        let mut flow = Flow {
            databases,
            nats,
            producer,
            consumer,
            clock,
            bus,
            relay,
            subscription,
            poisoned,
            parts,
        };
        (0..flow.parts.len()).for_each(|n| flow.start(n));
        flow
    }

    fn shape(&self) -> &'static str {
        if self.nats.is_some() { "cluster" } else { "one process" }
    }

    fn start(&mut self, n: usize) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let setting = self.nats.as_ref().map_or("local".to_owned(), |nats| nats.url.clone());
        let (databases, clock) = (self.databases.clone(), self.clock.clone());
        let (poisoned, kind) = (self.poisoned.clone(), self.parts[n].kind);
        runtime.spawn(async move {
            let bus = loop {
                match Bus::connect(&setting).await {
                    Ok(bus) => break bus,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            };
            let never = CancellationToken::new();
            let mut running = JoinSet::new();
            if matches!(kind, Kind::Consumer | Kind::Both) {
                let store = open(&databases[1]).await;
                let subscription = bus.subscribe(store, clock.clone(), reader(poisoned));
                running.spawn(subscription.run(never.clone()));
            }
            if matches!(kind, Kind::Relay | Kind::Both) {
                let store = open(&databases[0]).await;
                let relay = Relay::new("patient", store, bus.clone(), clock.clone());
                running.spawn(relay.run(never.clone()));
            }
            bus.open();
            while running.join_next().await.is_some() {}
        });
        self.parts[n].runtime = Some(runtime);
    }

    /// Ends a part where it stands, its leases not given back; and starts it again.
    fn kill(&mut self, n: usize) {
        if let Some(runtime) = self.parts[n].runtime.take() {
            runtime.shutdown_background();
        }
        self.start(n);
    }

    fn ctx(&self) -> Ctx {
        Ctx::task("patient", "trial", ORGANIZATION, self.clock.clone())
    }

    async fn say(&self, aggregate: u64, revision: u64, fields: Vec<String>) {
        say(&self.producer, &self.ctx(), aggregate, revision, fields).await;
    }

    /// Writers commit the events of the aggregates, each in its order, with what `fields` says of each.
    fn load(
        &self,
        aggregates: u64,
        each: u64,
        fields: impl Fn(u64, u64) -> Vec<String> + Clone + Send + 'static,
    ) -> JoinSet<()> {
        let mut load = JoinSet::new();
        for writer in 0..WRITERS {
            let (producer, ctx, fields) = (self.producer.clone(), self.ctx(), fields.clone());
            load.spawn(async move {
                for revision in 1..=each {
                    for aggregate in (writer..aggregates).step_by(WRITERS as usize) {
                        let fields = fields(aggregate, revision);
                        say(&producer, &ctx, aggregate, revision, fields).await;
                    }
                }
            });
        }
        load
    }

    /// Waits until every event has had its effect or is parked.
    async fn settle(&self) {
        let (clock, bus) = (self.clock.clone(), self.bus.clone());
        let settle = Settle { clock, bus, relays: vec![self.relay.clone()], timers: vec![] };
        let began = Instant::now();
        while let Err(error) = settle.settle(CARRIED).await {
            assert!(began.elapsed() < CARRIED, "events are still under way: {error}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Puts every message on the bus once more, under another message id; answers how many.
    async fn copy(&self) -> u64 {
        match &self.nats {
            Some(nats) => nats.copy("CASEWARD").await,
            None => 0,
        }
    }

    /// Takes from the consumer what it knows of events that it handled.
    async fn forget(&self) {
        aside(&self.databases[1]).await.execute_unprepared("DELETE FROM inbox").await.unwrap();
    }

    /// The revisions that had an effect, in order, by aggregate.
    async fn effects(&self) -> Effects {
        let db = self.consumer.read(&self.ctx()).db;
        let ask = "SELECT aggregate, revision FROM effect ORDER BY place";
        let ask = Statement::from_string(db.get_database_backend(), ask);
        let mut effects = Effects::new();
        for row in db.query_all_raw(ask).await.unwrap() {
            let aggregate: String = row.try_get_by_index(0).unwrap();
            effects.entry(aggregate).or_default().push(row.try_get_by_index(1).unwrap());
        }
        effects
    }

    /// How many events a reader sees that remembers the highest id it has seen.
    async fn above(&self, high: &mut Uuid) -> u64 {
        let db = self.producer.read(&self.ctx()).db;
        let ask = format!("SELECT id FROM outbox WHERE id > '{high}' ORDER BY id");
        let ask = Statement::from_string(db.get_database_backend(), ask);
        let rows = db.query_all_raw(ask).await.unwrap();
        if let Some(last) = rows.last() {
            *high = last.try_get_by_index(0).unwrap();
        }
        rows.len() as u64
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        migrations::all()
    }
}

async fn open(database: &Database) -> Store {
    Store::open::<Migrator>(&Settings::new(&database.url)).await.unwrap()
}

/// A connection past the store, for what no code of ours does.
async fn aside(database: &Database) -> sea_orm::DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(&database.url);
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.unwrap()
}

async fn say(store: &Store, ctx: &Ctx, aggregate: u64, revision: u64, fields: Vec<String>) {
    let work = move |tx: Tx| {
        emit(&tx, aggregate, revision, fields.clone());
        async { Ok(()) }
    };
    store.task(ctx, work).await.unwrap();
}

fn emit(tx: &Tx, aggregate: u64, revision: u64, changed_fields: Vec<String>) {
    let (patient, revision) = (aggregate.to_string(), revision as i64);
    tx.emit(aggregate, revision, &PatientUpdated { patient, revision, changed_fields });
}

/// Notes each event in a table where nothing stops a second note.
fn reader(poisoned: Arc<AtomicBool>) -> Consumer {
    Consumer::new("reader", "trial", [PatientUpdated::full_name()], move |event: Event, tx: Tx| {
        let poisoned = poisoned.load(SeqCst);
        async move {
            let seen = event.decode::<PatientUpdated>()?;
            let seen = seen.ok_or_else(|| Error::internal("another event"))?;
            let note = format!(
                "INSERT INTO effect (aggregate, revision) VALUES ('{}', {})",
                event.aggregate, seen.revision
            );
            tx.db.execute_unprepared(&note).await?;
            // After the effect, so that there is something to undo.
            match seen.changed_fields.first().map(String::as_str) {
                Some(FAILS) if poisoned => Err(Error::precondition("POISON", "cannot be handled")),
                Some(PANICS) if poisoned => panic!("a poisoned event"),
                _ => Ok(()),
            }
        }
    })
}

/// The revisions that had an effect, in order, by aggregate.
type Effects = BTreeMap<String, Vec<i64>>;

fn wanted(aggregates: u64, each: u64) -> Effects {
    (0..aggregates).map(|one| (one.to_string(), (1..=each as i64).collect())).collect()
}

/// The aggregates whose effects are others, or in another order, than they must be.
fn differences(is: &Effects, wanted: &Effects) -> Vec<String> {
    let none = vec![];
    let all = wanted.keys().chain(is.keys().filter(|one| !wanted.contains_key(*one)));
    all.filter_map(|one| {
        let (is, wanted) = (is.get(one).unwrap_or(&none), wanted.get(one).unwrap_or(&none));
        let first = is.iter().zip(wanted).position(|(is, wanted)| is != wanted);
        let first = first.unwrap_or(is.len().min(wanted.len()));
        (is != wanted).then(|| {
            format!("{one} had {} effects of {}, wrong from place {first}", is.len(), wanted.len())
        })
    })
    .collect()
}

/// Whether an effect that is missing, one too many, and two in the wrong order would each be seen.
fn sees(effects: &Effects, wanted: &Effects) -> bool {
    let harms: [fn(&mut Vec<i64>); 3] =
        [|all| all.truncate(all.len() - 1), |all| all.push(all[0]), |all| all.swap(0, 1)];
    let before = differences(effects, wanted).len();
    harms.iter().all(|harm| {
        let mut harmed = effects.clone();
        let healthy = wanted.keys().find(|one| effects.get(*one) == wanted.get(*one));
        let Some(all) = healthy.and_then(|one| harmed.get_mut(one)) else { return false };
        harm(all);
        differences(&harmed, wanted).len() > before
    })
}
