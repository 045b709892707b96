//! Callers who leave, or wait no longer, cost nobody a write and leave nothing half done.
use std::{collections::BTreeMap, future::poll_fn, pin::pin, task::Poll, time::Duration};

use caseward_api::METHODS;
use caseward_testkit::{Database, History, Suite, suites};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as Connection, DatabaseConnection, DbBackend,
    Statement, TransactionTrait,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    deeds::{Hands, Manner, Part},
    load::{Load, create, stored},
};
use crate::{Run, Tier, Trial};

const SERVICES: [&str; 4] = ["patient", "care_plan", "directory", "notification"];

/// More than any pool has connections.
const PROBES: usize = 64;

/// By then what crosses services has arrived, on a machine that is busy with other tests.
const ARRIVED: Duration = Duration::from_secs(60);

/// What has not changed for so long has arrived.
const UNCHANGED: Duration = Duration::from_secs(5);

/// Callers reset their streams at any moment of every change, at each service's own port.
pub async fn resets(run: &Run) -> Trial {
    sweep(run, Manner::Leaves, false).await
}

/// Callers give every change too little time, through the gateway.
pub async fn deadlines(run: &Run) -> Trial {
    sweep(run, Manner::Hurries, true).await
}

/// Worlds are made by callers who cut every change short before they wait for it. Each must be as one that was made
/// in peace, row for row.
async fn sweep(run: &Run, manner: Manner, through_gateway: bool) -> Trial {
    let mut trial = Trial::default();
    let worlds = run.of(1, 24);
    let times = run.of(1, 3);
    let suites = suites().await;
    run.expect(worlds * suites.len() as u64);
    for mut suite in suites {
        let shape = suite.shape();
        let mut chances = run.random();
        let parts = parts(run, &mut chances);
        let mut organization = || Uuid::from_u128(chances.u128(..));
        if parts.len() < Part::ALL.len() && !through_gateway && !suite.is_cluster() {
            // What is left out below is done once in peace, so that a change that nobody does here shows.
            Hands::new(&suite, organization(), through_gateway, run.seed).everything().await;
        }
        let peaceful = organization();
        let mut peace = Hands::new(&suite, peaceful, through_gateway, run.seed);
        peace.some(&parts).await;
        let slowest = quantile(&mut peace.took, 99);
        let wanted = settled(&suite, peaceful).await;
        assert!(wanted["care_plan outbox"] > 0, "the rows of a world are seen: {wanted:?}");

        let load = Load::beside(&suite, &suite.data(), run.seed);
        let (mut cut, mut answered) = (0, 0);
        for n in 0..worlds {
            let hurried = organization();
            let hands = Hands::new(&suite, hurried, through_gateway, run.seed ^ (n + 1));
            let mut hands = hands.behave(manner, slowest.mul_f64(1.5), times);
            hands.some(&parts).await;
            hands.wrong.iter().for_each(|why| trial.fail(format!("{shape}: {why}")));
            (cut, answered) = (cut + hands.cut, answered + hands.answered);
            for why in until_alike(&suite, hurried, &wanted).await {
                trial.fail(format!("{shape}: {why}"));
            }
            run.step();
        }
        trial.tries += cut + answered;
        trial.check(cut > 0 && answered > 0, || {
            format!("{shape}: {cut} calls were cut short and {answered} were not: no sweep")
        });
        probe(&suite, &load.history(), run.seed).await;
        for why in open_transactions(&suite).await {
            trial.fail(format!("{shape}: {why}"));
        }
        let judgement = load.judge(&suite).await;
        judgement.wrong.iter().for_each(|why| trial.fail(format!("{shape}: {why}")));
        // What an orphaned transaction holds looks well to whoever shares it, and is gone with it.
        for (name, n) in owners(&suite) {
            suite.member(name, n).kill().await;
            suite.member(name, n).start().await;
        }
        suite.ready().await;
        let kept = stored(&suite.database("patient")).await;
        let lost = judgement
            .intents
            .iter()
            .filter(|(key, intent)| !intent.told.is_empty() && !kept.contains_key(*key));
        let lost = lost.count();
        trial.check(lost == 0, || format!("{shape}, after a kill: {lost} acknowledged are lost"));

        let half = sees_half(&suite, peaceful, &wanted).await;
        trial.control(format!("{shape}: an event taken away"), half);
        trial.control(format!("{shape}: a transaction left open"), sees_open(&suite).await);
        let loss = judgement.sees_loss_and_doubling();
        trial.control(format!("{shape}: a record taken away, and one put in twice"), loss);
        trial.note(format!(
            "{shape}: {cut} calls cut short within {:.0} ms, {answered} answered before; beside it {} acknowledged",
            slowest.as_secs_f64() * 1500.0,
            judgement.acknowledged
        ));
    }
    if let Some(database) = Database::postgres().await {
        let (lost, of) = bare_pool_loses(&database.url).await;
        let what = format!("a pool without a guard lost {lost} of {of} acknowledged writes");
        trial.control(what, lost > 0);
    }
    trial
}

/// All parts of a world in a night; before a merge some that the seed chooses.
fn parts(run: &Run, chances: &mut fastrand::Rng) -> Vec<Part> {
    if run.tier == Tier::Nightly {
        return Part::ALL.to_vec();
    }
    let mut some = chances.choose_multiple(Part::ALL, 2);
    some.sort();
    some
}

/// What has an unknown number of transactions under way: the processes that own a database.
fn owners(suite: &Suite) -> Vec<(&'static str, usize)> {
    let all = suite.members().iter().map(|member| member.name());
    all.filter(|(name, _)| *name != "gateway").collect()
}

/// Writes at once through more calls than there are connections.
async fn probe(suite: &Suite, history: &History, seed: u64) {
    let mut chances = fastrand::Rng::with_seed(!seed);
    let mut writing = JoinSet::new();
    let mut doors = vec![suite.transport()];
    if suite.is_cluster() {
        doors.push(suite.replica("patient", 0));
    }
    for n in 0..PROBES {
        let caller = suite.caller("sam", &["supervisor"]).at(&doors[n % doors.len()]);
        let key = Uuid::from_u128(chances.u128(..)).to_string();
        let history = history.clone();
        writing.spawn(async move { while create(&caller, &history, "probe", &key, &key).await {} });
    }
    writing.join_all().await;
}

/// Transactions that nobody ends: on PostgreSQL each that is idle for long, on SQLite one that keeps the writer out.
async fn open_transactions(suite: &Suite) -> Vec<String> {
    let mut open = vec![];
    for service in SERVICES {
        let db = connect(&suite.database(service)).await;
        if db.get_database_backend() == DbBackend::Postgres {
            let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                        AND state LIKE 'idle in transaction%' AND state_change < now() - interval '2 seconds'";
            let count = number(&db, idle).await;
            if count > 0 {
                open.push(format!("{service}: {count} connections idle in a transaction"));
            }
        } else if let Err(error) = db.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await {
            open.push(format!("{service}: nobody else can write: {error}"));
        }
        db.close().await.unwrap();
    }
    open
}

/// Whether a transaction that is left open would be seen.
async fn sees_open(suite: &Suite) -> bool {
    let db = connect(&suite.database("patient")).await;
    let cluster = db.get_database_backend() == DbBackend::Postgres;
    let begin = if cluster { "BEGIN" } else { "BEGIN IMMEDIATE" };
    db.execute_unprepared(begin).await.unwrap();
    if cluster {
        db.execute_unprepared("SELECT 1").await.unwrap();
        sleep(Duration::from_millis(2500)).await;
    }
    let seen = !open_transactions(suite).await.is_empty();
    db.execute_unprepared("ROLLBACK").await.unwrap();
    db.close().await.unwrap();
    seen
}

/// Whether a world that lacks one event would be seen.
async fn sees_half(suite: &Suite, organization: Uuid, wanted: &Counts) -> bool {
    let db = connect(&suite.database("care_plan")).await;
    let mine = of(&db, organization);
    let one = format!("DELETE FROM outbox WHERE id = (SELECT id FROM outbox WHERE {mine} LIMIT 1)");
    db.execute_unprepared(&one).await.unwrap();
    db.close().await.unwrap();
    !differences(&count(suite, organization).await, wanted).is_empty()
}

/// How many rows of each kind a world has, in all services.
type Counts = BTreeMap<String, i64>;

/// The counts once they stay the same for a while: what crosses services may take a second or two on a busy machine.
async fn settled(suite: &Suite, organization: Uuid) -> Counts {
    let mut before = count(suite, organization).await;
    let mut since = Instant::now();
    while since.elapsed() < UNCHANGED {
        sleep(Duration::from_millis(500)).await;
        let now = count(suite, organization).await;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    before
}

/// What still differs when all has had time to arrive.
async fn until_alike(suite: &Suite, organization: Uuid, wanted: &Counts) -> Vec<String> {
    let began = Instant::now();
    loop {
        let now = differences(&count(suite, organization).await, wanted);
        if now.is_empty() || began.elapsed() > ARRIVED {
            return now;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn differences(is: &Counts, wanted: &Counts) -> Vec<String> {
    let kinds = wanted.keys().chain(is.keys().filter(|kind| !wanted.contains_key(*kind)));
    let of = |counts: &Counts, kind: &str| counts.get(kind).copied().unwrap_or_default();
    kinds
        .filter(|kind| match kind.starts_with("audited ") {
            // A repeated call has its effect once, but is on record as a call.
            true => of(is, kind) < of(wanted, kind),
            false => of(is, kind) != of(wanted, kind),
        })
        .map(|kind| format!("{} of {kind}, in peace {}", of(is, kind), of(wanted, kind)))
        .collect()
}

/// Counts the rows of an organization by table; events, changes of state and audit entries by their kind as well.
async fn count(suite: &Suite, organization: Uuid) -> Counts {
    let mut counts = Counts::new();
    for service in SERVICES {
        let db = connect(&suite.database(service)).await;
        let mine = of(&db, organization);
        let tables = match db.get_database_backend() {
            DbBackend::Sqlite => {
                "SELECT m.name, 1 FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.name = 'organization'"
            }
            _ => {
                "SELECT table_name::text, 1::bigint FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND column_name = 'organization'"
            }
        };
        for table in rows(&db, tables).await.into_keys() {
            // Counted below, by method.
            if table == "audit" || table == "audit_patient" {
                continue;
            }
            let all = number(&db, &format!("SELECT count(*) FROM \"{table}\" WHERE {mine}")).await;
            counts.insert(format!("{service} {table}"), all);
        }
        for (what, ask) in [
            (
                "event",
                format!("SELECT subject, count(*) FROM outbox WHERE {mine} GROUP BY subject"),
            ),
            (
                "transition to",
                format!("SELECT to_state, count(*) FROM transition WHERE {mine} GROUP BY to_state"),
            ),
            (
                "audited",
                format!(
                    "SELECT method, count(*) FROM audit WHERE {mine} AND phase = 'WHOLE' \
                     AND outcome = 'OK' AND method LIKE '%/%' GROUP BY method"
                ),
            ),
        ] {
            for (kind, all) in rows(&db, &ask).await {
                counts.insert(format!("{what} {kind} in {service}"), all);
            }
        }
        db.close().await.unwrap();
    }
    // A read is on record as often as somebody had to look again.
    let reads = METHODS.iter().filter(|method| !method.mutates).map(|method| method.path);
    let reads: Vec<String> = reads.map(|path| format!("audited {path} ")).collect();
    counts.retain(|kind, _| !reads.iter().any(|read| kind.starts_with(read)));
    // How far a message got before what it tells of was over is a matter of moments.
    counts.retain(|kind, _| {
        !kind.contains("notification") || KEPT.iter().any(|kept| kind.contains(kept))
    });
    counts
}

/// What notification keeps of a world, however quick it was.
const KEPT: [&str; 4] = ["notification message", "notification replay", "emplate", "audited"];

/// The condition that a row is of an organization.
fn of(db: &DatabaseConnection, organization: Uuid) -> String {
    match db.get_database_backend() {
        DbBackend::Sqlite => format!("organization = x'{}'", organization.simple()),
        _ => format!("organization = '{organization}'"),
    }
}

async fn rows(db: &DatabaseConnection, ask: &str) -> BTreeMap<String, i64> {
    let ask = Statement::from_string(db.get_database_backend(), ask);
    let all = db.query_all_raw(ask).await.unwrap();
    let pair = |row: sea_orm::QueryResult| {
        (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())
    };
    all.into_iter().map(pair).collect()
}

async fn number(db: &DatabaseConnection, ask: &str) -> i64 {
    let ask = Statement::from_string(db.get_database_backend(), ask);
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Connection::connect(options).await.unwrap()
}

/// Drops the beginning of a transaction at each of its polls, on a pool of one connection that nobody guards; writes
/// through the pool; and answers how many of these acknowledged writes are not there when the pool is gone, and of how
/// many.
#[expect(
    clippy::disallowed_methods,
    reason = "what our guard is there for has to be shown without it"
)]
async fn bare_pool_loses(url: &str) -> (i64, i64) {
    let aside = connect(url).await;
    aside.execute_unprepared("CREATE TABLE bare (id BIGINT)").await.unwrap();
    let (mut acknowledged, mut lost) = (0, 0);
    // On a busy machine the answer may be there at the second look, and no moment in between is met.
    for _turn in 0..50 {
        let (mut polls, mut begun) = (0, false);
        while !begun {
            let pool = connect(url).await;
            {
                let mut beginning = pin!(pool.begin());
                for _ in 0..=polls {
                    let poll = poll_fn(|cx| Poll::Ready(beginning.as_mut().poll(cx).is_ready()));
                    begun = poll.await;
                    if begun {
                        break;
                    }
                    sleep(Duration::from_micros(200)).await;
                }
            }
            let insert = format!("INSERT INTO bare VALUES ({acknowledged})");
            pool.execute_unprepared(&insert).await.unwrap();
            pool.close().await.unwrap();
            (polls, acknowledged) = (polls + 1, acknowledged + 1);
        }
        lost = acknowledged - number(&aside, "SELECT count(*) FROM bare").await;
        if lost > 0 {
            break;
        }
    }
    aside.close().await.unwrap();
    (lost, acknowledged)
}

/// The value below which so many of a hundred are.
fn quantile(all: &mut [Duration], percent: usize) -> Duration {
    all.sort_unstable();
    all[(all.len() - 1) * percent / 100]
}
