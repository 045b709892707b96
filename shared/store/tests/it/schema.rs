//! The settings under which what was acknowledged is kept, and the schema that a server insists on.
use caseward_store::{Settings, Store};
use caseward_testkit::{Database, Proxy, Toxic, Way, databases};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

use crate::{call, each, note};

#[tokio::test]
async fn pending_migrations_are_refused_where_they_may_not_be_applied() {
    for database in databases().await {
        let settings = Settings { migrate: false, ..Settings::new(&database.url) };
        let refused = Store::open::<note::Migrator>(&settings).await.unwrap_err();
        assert!(
            refused.to_string().contains("migrations are pending"),
            "{database:?}: {refused:#}"
        );
        crate::open(&database).await;
        Store::open::<note::Migrator>(&settings).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_of_another_kind_is_refused() {
    for url in ["mysql://localhost/x", "", "/tmp/x.db"] {
        assert!(Store::open::<note::Migrator>(&Settings::new(url)).await.is_err());
    }
}

#[tokio::test]
async fn the_writing_connection_loses_nothing_that_was_acknowledged() {
    each(async |database: Database, store| {
        let wanted: &[(&str, &str)] = match database.is_sqlite() {
            true => &[
                ("PRAGMA journal_mode", "wal"),
                ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2"),
                ("SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1"),
                ("SELECT CAST(trusted_schema AS TEXT) FROM pragma_trusted_schema", "0"),
                ("SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout", "250"),
            ],
            false => &[
                ("SHOW synchronous_commit", "on"),
                ("SHOW statement_timeout", "30s"),
                ("SHOW idle_in_transaction_session_timeout", "5s"),
            ],
        };
        for (ask, answer) in wanted {
            let work = move |tx: caseward_store::Tx| async move {
                let ask = Statement::from_string(tx.db.get_database_backend(), *ask);
                let row = tx.db.query_one_raw(ask).await.unwrap().unwrap();
                assert_eq!(row.try_get_by_index::<String>(0).unwrap(), *answer);
                Ok(())
            };
            store.task(&call("ana"), work).await.unwrap_or_else(|_| panic!("{ask}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_find_one_schema() {
    let Some(database) = Database::postgres().await else { return };
    let replicas: Vec<_> = (0..6)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move { crate::open(&database).await })
        })
        .collect();
    for (n, replica) in replicas.into_iter().enumerate() {
        let store = replica.await.unwrap();
        note::write(&store, &call("ana"), &note::once(&n.to_string())).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_ends_its_connections_is_found_again() {
    let Some(database) = Database::postgres().await else { return };
    let store = crate::open(&database).await;
    let db = crate::aside(&database).await;
    for round in 0..5 {
        for n in 0..4 {
            let title = format!("{round} {n}");
            note::write(&store, &call("ana"), &note::once(&title)).await.unwrap();
        }
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(crate::number(&db, end).await > 0);
        // Of the calls that meet a dead connection none may hang, and none may be told that it is done.
        let ended = note::write(&store, &call("ana"), &note::once("ended")).await;
        if let Err(error) = ended {
            assert_eq!(error.code(), tonic::Code::Unavailable, "{error:?}");
        } else {
            db.execute_unprepared("DELETE FROM note WHERE title = 'ended'").await.unwrap();
        }
        let alive = async { while store.ping().await.is_err() {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), alive).await.unwrap();
    }
}

/// The store's tables and a migration that ends half way, as a kill would end it.
struct HalfWay;

impl MigratorTrait for HalfWay {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = caseward_store::migrations::all();
        all.push(Box::new(HalfWay));
        all
    }
}

impl MigrationName for HalfWay {
    fn name(&self) -> &str {
        "m20261123_000002_note"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for HalfWay {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("CREATE TABLE note (id BIGINT)").await?;
        Err(DbErr::Custom("half way".to_owned()))
    }
}

#[tokio::test]
async fn a_migration_that_ended_half_way_is_done_whole_at_the_next_start() {
    for database in databases().await {
        let ended = Store::open::<HalfWay>(&Settings::new(&database.url)).await.unwrap_err();
        assert!(format!("{ended:#}").contains("half way"), "{database:?}: {ended:#}");
        let store = crate::open(&database).await;
        note::write(&store, &call("ana"), &note::once("one")).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_and_its_request_id_finds_out() {
    let Some(database) = Database::postgres().await else { return };
    crate::open(&database).await;
    let db = crate::aside(&database).await;
    // A constraint that is checked at the commit makes it last until the answer can be taken away.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$; \
                CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON note \
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()";
    db.execute_unprepared(slow).await.unwrap();
    let (before, rest) = database.url.split_once("127.0.0.1:").unwrap();
    let (port, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    let url = format!("{before}{}/{name}", proxy.address());
    let store = Store::open::<note::Migrator>(&Settings::new(url)).await.unwrap();
    let request = note::fresh("one");
    let call = call("ana");
    let sent = note::write(&store, &call, &request);
    let lose = async {
        let commits = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'";
        while crate::number(&db, commits).await == 0 {
            tokio::task::yield_now().await;
        }
        proxy.set(Way::Back, Toxic::Limit(0));
    };
    let (answer, ()) = tokio::join!(sent, lose);
    let error = answer.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error:?}");
    assert!(error.to_string().contains("not known"), "{error}");
    proxy.heal();
    let again = note::write(&store, &call, &request).await.unwrap();
    assert_eq!(again.title, "one");
    assert_eq!(crate::number(&db, "SELECT count(*) FROM note").await, 1);
}
