//! Opens a database with the settings that keep what was acknowledged.
use std::time::Duration;

use anyhow::{Context, bail};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
    TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use serde::Deserialize;
use tracing::warn;

use crate::file::File;

/// Where a service keeps its data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://path` for one machine, `postgres://…` for a cluster.
    pub url: String,
    /// Connections that read.
    #[serde(default = "readers")]
    pub readers: u32,
    /// Transactions at a time on PostgreSQL; SQLite has one writer. Four keep ahead of a slow disk.
    #[serde(default = "writers")]
    pub writers: u32,
    /// Changes that share a transaction, and so one flush to disk, at most.
    #[serde(default = "group")]
    pub group: usize,
    /// Whether to bring the schema up to date at start. A cluster runs `migrate` as a job instead.
    #[serde(default = "migrate")]
    pub migrate: bool,
}

fn readers() -> u32 {
    4
}
fn writers() -> u32 {
    4
}
fn group() -> usize {
    128
}
fn migrate() -> bool {
    true
}

impl Settings {
    /// Settings for `url` with every default.
    pub fn new(url: impl Into<String>) -> Self {
        Settings {
            url: url.into(),
            readers: readers(),
            writers: writers(),
            group: group(),
            migrate: migrate(),
        }
    }
}

/// The two pools of a store. Only `write` ever sees a `BEGIN`.
pub(crate) struct Pools {
    pub(crate) read: DatabaseConnection,
    pub(crate) write: DatabaseConnection,
    pub(crate) writers: u32,
    pub(crate) file: File,
}

pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Pools> {
    if settings.url.starts_with("sqlite:") {
        sqlite(settings).await
    } else if settings.url.starts_with("postgres:") || settings.url.starts_with("postgresql:") {
        postgres(settings).await
    } else {
        bail!("a database url starts with sqlite: or postgres:")
    }
}

async fn sqlite(settings: &Settings) -> anyhow::Result<Pools> {
    let options = |connections: u32, reads_only: &'static str| {
        let mut options = base(settings, connections);
        // All at the start: one that is opened when it is wanted fails its caller where handles have run out.
        options.min_connections(connections).map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .create_if_missing(true)
                .statement_cache_capacity(PREPARED)
                .foreign_keys(true)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("busy_timeout", "250")
                .pragma("trusted_schema", "OFF")
                .pragma("cache_size", "-16384")
                .pragma("mmap_size", "268435456")
                .pragma("query_only", reads_only)
        });
        options
    };
    let mut writing = options(1, "OFF");
    // A transaction whose COMMIT failed, on a full disk say, may stay open; what is then written is nested in it,
    // acknowledged and never there. Closing the connection undoes it.
    writing.map_sqlx_sqlite_before_acquire(|connection, _| {
        let inside = sqlx::Connection::is_in_transaction(connection);
        Box::pin(async move { Ok(!inside) })
    });
    let write = Database::connect(writing).await.context("opening the database")?;
    keeps_what_it_acknowledges(&write).await?;
    let read =
        Database::connect(options(settings.readers, "ON")).await.context("opening the database")?;
    let file = File::of(&write).await?;
    Ok(Pools { read, write, writers: 1, file })
}

/// Refuses a connection whose commits a power cut would take back.
async fn keeps_what_it_acknowledges(write: &DatabaseConnection) -> anyhow::Result<()> {
    let backend = write.get_database_backend();
    let ask = async |sql: &str| -> anyhow::Result<String> {
        let row = write.query_one_raw(Statement::from_string(backend, sql)).await?;
        Ok(row.context("the database knows no such setting")?.try_get_by_index(0)?)
    };
    if backend == DbBackend::Sqlite {
        // NORMAL is 1: in WAL mode a commit is then not flushed.
        let synchronous = ask("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous").await?;
        if !["2", "3"].contains(&synchronous.as_str()) {
            bail!(
                "sqlite runs with synchronous = {synchronous}, which loses acknowledged writes; want FULL"
            );
        }
        return Ok(());
    }
    let commit = ask("SHOW synchronous_commit").await?;
    if commit == "off" {
        bail!(
            "PostgreSQL runs with synchronous_commit = off, which loses acknowledged writes; want on"
        );
    }
    if ask("SHOW fsync").await? == "off" {
        warn!("PostgreSQL runs with fsync = off: a power cut loses acknowledged writes");
    }
    Ok(())
}

async fn postgres(settings: &Settings) -> anyhow::Result<Pools> {
    let mut options = base(settings, settings.writers);
    // A transaction abandoned while its BEGIN was on the wire leaves the connection inside it, and the next
    // owner's writes go nowhere (launchbadge/sqlx#4385). In the simple protocol the two clocks agree only
    // outside an older transaction; it costs the round trip that the driver's own ping would.
    // One whose COMMIT failed is for the driver inside a transaction, for the server it is not.
    options.map_sqlx_postgres_before_acquire(|connection, _| {
        Box::pin(async move {
            use sqlx::{Connection, Executor, Row};
            if connection.is_in_transaction() {
                return Ok(false);
            }
            let row =
                connection.fetch_one(sqlx::raw_sql("SELECT now() = statement_timestamp()")).await?;
            row.try_get::<bool, _>(0)
        })
    });
    options.map_sqlx_postgres_opts(|postgres| {
        postgres.statement_cache_capacity(PREPARED).options([
            ("idle_in_transaction_session_timeout", "5s"),
            ("statement_timeout", "30s"),
            // A lock that somebody keeps must not hold up every writer behind it.
            ("lock_timeout", "2s"),
            ("synchronous_commit", "on"),
        ])
    });
    let write = Database::connect(options).await.context("opening the database")?;
    keeps_what_it_acknowledges(&write).await?;
    let mut options = base(settings, settings.readers);
    options.map_sqlx_postgres_opts(|postgres| {
        postgres.options([("statement_timeout", "30s"), ("default_transaction_read_only", "on")])
    });
    let read = Database::connect(options).await.context("opening the database")?;
    let file = File::elsewhere();
    Ok(Pools { read, write, writers: settings.writers.max(1), file })
}

/// Brings the schema up to date, wholly or not at all: what is killed half way leaves nothing to trip over. On
/// PostgreSQL replicas may start at once, so one of them does it while the others wait; SQLite is one process's.
pub(crate) async fn bring_up<M: MigratorTrait>(write: &DatabaseConnection) -> Result<(), DbErr> {
    let txn = write.begin().await?;
    if write.get_database_backend() == DbBackend::Postgres {
        let patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
        txn.execute_unprepared(patient).await?;
        txn.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION})")).await?;
    }
    M::up(&txn, None).await?;
    txn.commit().await
}

/// The advisory lock of whoever migrates; any number that nobody else takes in this database.
const MIGRATION: i64 = 0x0043_4153_4557_4152;

/// How many statements a writing connection keeps prepared: the inserts of a group have ten forms a table.
const PREPARED: usize = 256;

/// How long a connection is waited for. Twice that is less than a call has, so that whoever calls while the database is
/// gone hears of that, not of a deadline: a change that failed also looks whether it was done before.
const ACQUIRE: Duration = Duration::from_secs(2);

fn base(settings: &Settings, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .test_before_acquire(false)
        // Statements carry patients' values: neither logs nor spans may see them.
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_does_not_flush_its_commits_is_refused() {
        for (pragma, good) in [("OFF", false), ("NORMAL", false), ("FULL", true), ("EXTRA", true)] {
            let mut options = ConnectOptions::new("sqlite::memory:");
            options.max_connections(1);
            let db = Database::connect(options).await.unwrap();
            db.execute_unprepared(&format!("PRAGMA synchronous = {pragma}")).await.unwrap();
            assert_eq!(keeps_what_it_acknowledges(&db).await.is_ok(), good, "{pragma}");
        }
    }
}
