//! Nothing that was acknowledged is lost when the power is cut.
use std::time::Duration;

use caseward_testkit::{Disk, Postgres, Suite, Victim};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tokio::time::{Instant, sleep};

use super::load::{Judgement, Load};
use crate::{Run, Trial};

const SERVICES: [&str; 4] = ["patient", "care_plan", "directory", "notification"];

/// How many rows a writer without Caseward commits one by one before the power is cut.
const PLAIN: i64 = 500;

/// How often the control of PostgreSQL is tried: what others commit beside it flushes its commits, too.
const CHANCES: u32 = 10;

fn disk() -> Disk {
    Disk::new().expect("a disk whose power can be cut takes root, ext4 and loop devices")
}

/// The machine of one process with all its data loses its power, again and again.
pub async fn sqlite(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (disk, aside) = (disk(), tempfile::tempdir().unwrap());
    let plan = Suite::plan().data(disk.path().join("data"));
    let mut suite = plan.one().await;
    let judgement =
        cut(run, &mut trial, &mut suite, &disk, Victim::Member("caseward", 0), &aside).await;
    judged(&mut trial, &judgement);
    suite.member("caseward", 0).stop().await;
    for service in SERVICES {
        let db = connect(&suite.database(service)).await;
        let found = text(&db, "PRAGMA integrity_check").await;
        trial.check(found == "ok", || format!("{service}: {found}"));
        db.close().await.unwrap();
    }
    audited(&mut trial, &suite, &[]).await;

    let (kept, lost) = (loses(&disk, "FULL").await, loses(&disk, "NORMAL").await);
    let what = format!(
        "of {PLAIN} commits of a plain writer the disk lost {kept} with synchronous = FULL, and {lost} with NORMAL"
    );
    trial.control(what, kept == 0 && lost > 0);
    trial
}

/// The machine of the databases loses its power, and those of the services go on.
pub async fn postgres(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (disk, aside) = (disk(), tempfile::tempdir().unwrap());
    let server = Postgres::own_on(&disk).await;
    assert!(server.is_some(), "there is no PostgreSQL");
    let suite = Suite::plan().cluster_on(server).await;
    let mut suite = suite.expect("there is no NATS");
    let judgement = cut(run, &mut trial, &mut suite, &disk, Victim::Postgres, &aside).await;
    judged(&mut trial, &judgement);
    audited(&mut trial, &suite, &["--without-heads"]).await;

    let kept = commits_lost(&mut suite, &disk, "plain_on", "on").await;
    let mut lost = 0;
    for n in 0..CHANCES {
        lost = commits_lost(&mut suite, &disk, &format!("plain_off_{n}"), "off").await;
        if lost > 0 {
            break;
        }
    }
    let what = format!(
        "of {PLAIN} commits of a plain writer the disk lost {kept} with synchronous_commit = on, and {lost} with off"
    );
    trial.control(what, kept == 0 && lost > 0);
    trial
}

/// How many of the commits of a plain writer the disk of the suite's PostgreSQL does not have when its power is cut.
async fn commits_lost(suite: &mut Suite, disk: &Disk, table: &str, synchronous: &str) -> i64 {
    let server = suite.postgres().expect("it is the suite's own");
    let url = format!("{}/postgres", server.url);
    let db = connect(&url).await;
    write(&db, table, &format!("SET synchronous_commit = {synchronous}")).await;
    server.kill().await;
    disk.cut();
    server.start().await;
    drop(db);
    let db = connect(&url).await;
    let kept = number(&db, &format!("SELECT count(*) FROM {table}")).await;
    db.close().await.unwrap();
    PLAIN - kept
}

/// Cuts the power under `victim` in the middle of a load; gives what the load came to.
async fn cut(
    run: &Run,
    trial: &mut Trial,
    suite: &mut Suite,
    disk: &Disk,
    victim: Victim,
    aside: &tempfile::TempDir,
) -> Judgement {
    let cuts = run.of(3, 100);
    run.expect(cuts);
    let load = Load::start(suite, aside.path(), run.seed);
    let mut chances = run.random();
    let mut slowest = Duration::ZERO;
    for _ in 0..cuts {
        sleep(Duration::from_millis(chances.u64(0..1500))).await;
        suite.kill(victim, &mut chances).await;
        disk.cut();
        let began = Instant::now();
        suite.restart(victim).await;
        suite.ready().await;
        slowest = slowest.max(began.elapsed());
        trial.tried();
        run.step();
    }
    trial.note(format!("ready again at the latest after {:.1} s", slowest.as_secs_f64()));
    load.judge(suite).await
}

fn judged(trial: &mut Trial, judgement: &Judgement) {
    judgement.wrong.iter().for_each(|why| trial.fail(why.as_str()));
    trial.check(judgement.acknowledged > 0, || "nothing was acknowledged".to_owned());
    trial.control("a record taken away, and one put in twice", judgement.sees_loss_and_doubling());
    trial.note(format!(
        "{} acknowledged, {} calls of unknown outcome",
        judgement.acknowledged, judgement.unknown
    ));
}

/// The audit log verifies, and does not when an entry of it is taken away.
async fn audited(trial: &mut Trial, suite: &Suite, more: &[&str]) {
    let verify = async || {
        let mut verify = suite.command().await;
        if suite.is_cluster() {
            for service in SERVICES {
                let variable = format!("CASEWARD__{}__DATABASE", service.to_uppercase());
                verify.env(variable, suite.database(service));
            }
        }
        let output = verify.args(["audit", "verify"]).args(more).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (good, said) = verify().await;
    trial.check(good, || format!("the audit log: {said}"));
    let db = connect(&suite.database("patient")).await;
    let one = "SELECT chain, min(seq) FROM audit GROUP BY chain HAVING count(*) > 2 LIMIT 1";
    let taken = format!("DELETE FROM audit WHERE (chain, seq) IN ({one})");
    db.execute_unprepared(&taken).await.unwrap();
    db.close().await.unwrap();
    trial.control("an entry of the audit log taken away", !verify().await.0);
}

/// How many acknowledged commits the disk loses to a writer that is not Caseward, on SQLite in this mode.
async fn loses(disk: &Disk, synchronous: &str) -> i64 {
    let url = format!("sqlite://{}?mode=rwc", disk.path().join(synchronous).display());
    let db = connect(&url).await;
    let begin = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
    db.execute_unprepared(begin).await.unwrap();
    write(&db, "plain", &format!("PRAGMA synchronous = {synchronous}")).await;
    disk.cut();
    // Whoever closes the old file takes away the log of the new one, whose path is the same.
    let after = connect(&url).await;
    let kept = number(&after, "SELECT count(*) FROM plain").await;
    after.close().await.unwrap();
    db.close().await.unwrap();
    PLAIN - kept
}

/// Commits rows one by one, under a setting that the table itself was not made under.
async fn write(db: &DatabaseConnection, table: &str, setting: &str) {
    db.execute_unprepared(&format!("CREATE TABLE {table} (id BIGINT)")).await.unwrap();
    db.execute_unprepared(setting).await.unwrap();
    for n in 0..PLAIN {
        db.execute_unprepared(&format!("INSERT INTO {table} VALUES ({n})")).await.unwrap();
    }
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn number(db: &DatabaseConnection, ask: &str) -> i64 {
    let ask = Statement::from_string(db.get_database_backend(), ask);
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn text(db: &DatabaseConnection, ask: &str) -> String {
    let ask = Statement::from_string(db.get_database_backend(), ask);
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}
