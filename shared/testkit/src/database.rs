//! Databases that are empty, and one test's own.
use std::{fmt, sync::Arc};

use sea_orm::{ConnectionTrait, Database as Connection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    postgres::{Postgres, postgres},
    program,
};

/// One empty database. It is gone when the last clone is.
#[derive(Clone)]
pub struct Database {
    /// Where it is, as the store's settings want it.
    pub url: String,
    _kept: Arc<Kept>,
}

enum Kept {
    Folder(#[expect(dead_code, reason = "removed when dropped")] TempDir),
    Server { url: String, name: String },
}

/// One empty database of each kind that this machine has: SQLite, and PostgreSQL where it is.
///
/// A contract runs on each: `for database in databases().await { … }`.
pub async fn databases() -> Vec<Database> {
    let mut all = vec![Database::sqlite()];
    all.extend(Database::postgres().await);
    all
}

impl Database {
    /// An empty SQLite database in a folder of its own.
    pub fn sqlite() -> Database {
        let folder = tempfile::Builder::new().prefix("caseward-").tempdir().expect("a folder");
        program::remove_at_exit(folder.path().to_owned());
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        Database { url, _kept: Arc::new(Kept::Folder(folder)) }
    }

    /// An empty PostgreSQL database, where this machine has PostgreSQL.
    pub async fn postgres() -> Option<Database> {
        Some(Database::on(postgres().await?).await)
    }

    /// An empty database on `server`.
    pub async fn on(server: &Postgres) -> Database {
        let url = &server.url;
        let name = format!("caseward_test_{}", Uuid::now_v7().simple());
        on_server(url, &format!("CREATE DATABASE {name}")).await.expect("a database is made");
        let kept = Arc::new(Kept::Server { url: url.clone(), name: name.clone() });
        Database { url: format!("{url}/{name}"), _kept: kept }
    }

    /// Whether it is SQLite, where a rule of the test differs.
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Kept::Server { url, name } = self {
            // A test may end inside its runtime, which cannot be waited on from here.
            let (url, drop) = (url.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
            let dropped = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map(|runtime| runtime.block_on(on_server(&url, &drop)).is_ok())
            });
            // At worst an empty database stays behind on a server of tests.
            let _ = dropped.join();
        }
    }
}

/// Runs `sql` in the database that every server has.
pub(crate) async fn on_server(url: &str, sql: &str) -> Result<(), sea_orm::DbErr> {
    let mut options = sea_orm::ConnectOptions::new(format!("{url}/postgres"));
    options.max_connections(1).sqlx_logging(false);
    let server = Connection::connect(options).await?;
    server.execute_unprepared(sql).await?;
    server.close().await
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_sqlite() { "SQLite" } else { "PostgreSQL" })
    }
}
