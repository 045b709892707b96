//! Everywhere that what passes through a suite could come to rest, besides the tables that are made for it.
use std::path::Path;

use caseward_testkit::{Collector, Suite};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One place, with all that it holds.
#[derive(Debug)]
pub struct Sink {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What is known to be there: a proof that the place was looked into.
    pub proof: &'static str,
}

/// The services that keep data.
pub const SERVICES: [&str; 4] = ["patient", "care_plan", "directory", "notification"];

/// Which place is the log of the database server.
pub const POSTGRES: &str = "the log of PostgreSQL";

/// Tables that tell of data without holding any: by their names, or how those begin.
const PLUMBING: [&str; 8] =
    ["audit", "outbox", "inbox", "lease", "timer", "relation", "parked", "seaql_"];

impl Sink {
    fn new(name: impl Into<String>, bytes: Vec<u8>, proof: &'static str) -> Sink {
        Sink { name: name.into(), bytes, proof }
    }

    /// Whether it holds what it must.
    pub fn was_read(&self) -> bool {
        self.bytes.windows(self.proof.len()).any(|part| part == self.proof.as_bytes())
    }
}

/// What a running suite shows whoever looks at it from outside.
pub async fn outside(suite: &Suite) -> Vec<Sink> {
    let mut sinks = vec![];
    let mut listing = vec![];
    for member in suite.members() {
        let process = format!("/proc/{}", member.program().id());
        listing.extend(std::fs::read(format!("{process}/cmdline")).expect("it runs"));
        for task in std::fs::read_dir(format!("{process}/task")).expect("it runs").flatten() {
            listing.extend(std::fs::read(task.path().join("comm")).unwrap_or_default());
        }
    }
    sinks.push(Sink::new("the list of processes", listing, "caseward"));
    for (page, proof) in [("/readyz", "patient"), ("/healthz", "200 OK")] {
        sinks.push(Sink::new(page, page_of(suite, page).await, proof));
    }
    sinks
}

async fn page_of(suite: &Suite, page: &str) -> Vec<u8> {
    let mut door = tokio::net::TcpStream::connect(suite.address()).await.expect("it listens");
    let ask = format!("GET {page} HTTP/1.1\r\nhost: suite\r\nconnection: close\r\n\r\n");
    door.write_all(ask.as_bytes()).await.expect("it reads");
    let mut answer = vec![];
    door.read_to_end(&mut answer).await.expect("it answers");
    answer
}

/// What a suite left behind when its processes ended.
pub async fn behind(suite: &mut Suite, collector: &Collector) -> Vec<Sink> {
    let members: Vec<_> = suite.members().iter().map(|member| member.name()).collect();
    for (name, n) in members {
        suite.member(name, n).stop().await;
    }
    let told = collector.received().exports.concat();
    let mut sinks = vec![Sink::new("traces, metrics and logs", told, "CreatePatient")];
    let folder = suite.data().parent().expect("the data is in a folder").to_owned();
    sinks.push(Sink::new(
        "the console",
        files(&folder, |name| name.ends_with(".log")),
        "listening",
    ));
    let beside = files(&suite.data(), |name| !name.contains(".db"));
    sinks.push(Sink::new("files beside the databases", beside, "chain"));
    if let Some(folder) = suite.postgres().and_then(|server| server.folder().map(Path::to_owned)) {
        let log = files(&folder, |name| name.ends_with(".log"));
        sinks.push(Sink::new(POSTGRES, log, "ready to accept connections"));
    }
    if let Some(folder) = suite.nats().and_then(|nats| nats.folder().map(Path::to_owned)) {
        sinks.push(Sink::new("the bus and its log", files(&folder, |_| true), "PatientCreated"));
    }
    for service in SERVICES {
        let mut rows = vec![];
        for (table, row) in rows_of(suite, service).await {
            if PLUMBING.iter().any(|plumbing| table.starts_with(plumbing)) {
                rows.extend(format!("{table}: {row}\n").into_bytes());
            }
        }
        sinks.push(Sink::new(format!("the plumbing of {service}"), rows, "lease: "));
    }
    sinks
}

/// Every row of every table of a service, past the service, with bytes in hex; each with its table.
pub async fn rows_of(suite: &Suite, service: &str) -> Vec<(String, String)> {
    let db = Database::connect(suite.database(service)).await.expect("the database answers");
    let mut all = vec![];
    for table in tables(&db).await {
        let row = match db.get_database_backend() {
            DbBackend::Sqlite => {
                let of = format!("SELECT name AS one FROM pragma_table_info('{table}')");
                let columns: Vec<String> = texts(&db, of).await;
                let quoted: Vec<String> =
                    columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
                quoted.join(" || ' ' || ")
            }
            _ => "row_to_json(each)::text".to_owned(),
        };
        let rows = texts(&db, format!("SELECT {row} AS one FROM \"{table}\" AS each")).await;
        all.extend(rows.into_iter().map(|row| (table.clone(), row)));
    }
    db.close().await.expect("it closes");
    all
}

/// The tables of a database.
pub async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let all = match db.get_database_backend() {
        DbBackend::Sqlite => "SELECT name AS one FROM sqlite_master WHERE type = 'table'",
        _ => "SELECT tablename::text AS one FROM pg_tables WHERE schemaname = current_schema()",
    };
    texts(db, all.to_owned()).await
}

async fn texts(db: &DatabaseConnection, ask: String) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), ask)).await;
    let rows = rows.expect("the database answers");
    rows.iter().map(|row| row.try_get("", "one").expect("a text")).collect()
}

/// The content of every file below `folder` whose name is `wanted`.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Vec<u8> {
    let mut all = vec![];
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path, wanted));
        } else if wanted(&entry.file_name().to_string_lossy()) {
            all.extend(std::fs::read(path).unwrap_or_default());
        }
    }
    all
}
