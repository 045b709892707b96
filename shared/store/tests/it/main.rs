//! The contract of the store, kept on every database.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]
mod abandoned;
mod audit;
mod cancel;
mod commit;
mod events;
mod note;
mod once;
mod race;
mod schema;
mod scope;
mod tamper;
mod timer;

use std::{future::Future, sync::Arc, time::Instant};

use caseward_core::{Caller, Clock, Ctx, Purpose, Reach, Record, Time};
use caseward_store::{Settings, Store};
use caseward_testkit::{Database, databases};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use uuid::Uuid;

/// The tenant of every caller that says no other.
const ORGANIZATION: Uuid = Uuid::from_u128(1);

/// Runs `body` on an empty store of each kind.
async fn each<F: Future>(body: impl Fn(Database, Store) -> F) {
    for database in databases().await {
        // On failure this says where.
        eprintln!("on {database:?}");
        let store = open(&database).await;
        body(database, store).await;
    }
}

/// Another instance of the store of `database`, as another replica would open it.
async fn open(database: &Database) -> Store {
    Store::open::<note::Migrator>(&Settings::new(&database.url)).await.unwrap()
}

/// A connection of the test's own, past the store.
async fn aside(database: &Database) -> DatabaseConnection {
    sea_orm::Database::connect(&database.url).await.unwrap()
}

/// One number from the database, read past the store.
async fn number(db: &impl ConnectionTrait, sql: &str) -> i64 {
    let ask = sea_orm::Statement::from_string(db.get_database_backend(), sql.to_owned());
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// A call by `subject`, who sees the whole organization.
fn call(subject: &str) -> Ctx {
    call_in(ORGANIZATION, subject, Reach::Organization)
}

fn call_in(organization: Uuid, subject: &str, reach: Reach) -> Ctx {
    Ctx {
        caller: Arc::new(Caller {
            organization,
            subject: subject.to_owned(),
            roles: vec!["case_manager".to_owned()],
            permissions: vec![],
            reach,
            purpose: Purpose::Treatment,
            token: String::new(),
        }),
        clock: Clock::simulated(Time::from_micros(1_800_000_000_000_000)),
        record: Arc::new(Record::open("/caseward.test.v1.NoteService/Write")),
        deadline: Instant::now() + Ctx::TASK,
    }
}
