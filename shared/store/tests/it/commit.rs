//! What is acknowledged is kept: a commit that fails takes nothing with it but its own work, and none is believed to a
//! file that is gone.
use caseward_core::Error;
use caseward_store::audit;
use sea_orm::ConnectionTrait;
use tonic::Code;
use uuid::Uuid;

use crate::{
    aside, call, each,
    note::{create, once, send, titles, write},
    number,
};

/// Has a note that is called `unbearable` break a rule that is looked at when it commits.
const SQLITE: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER breaks AFTER INSERT ON note WHEN NEW.title = 'unbearable' BEGIN
        INSERT INTO child VALUES (7);
    END;";
const POSTGRES: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.title = 'unbearable' THEN INSERT INTO child VALUES (7); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER breaks AFTER INSERT ON note FOR EACH ROW EXECUTE FUNCTION breaks();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_commit_that_failed_is_kept() {
    each(async |database, store| {
        let aside = aside(&database).await;
        let rule = if database.is_sqlite() { SQLITE } else { POSTGRES };
        aside.execute_unprepared(rule).await.unwrap();
        for n in 0..4 {
            write(&store, &call("ana"), &once("unbearable")).await.unwrap_err();
            write(&store, &call("ana"), &once(&format!("borne {n}"))).await.unwrap();
            // Read past the store: another connection sees only what is committed.
            let kept = number(&aside, "SELECT count(*) FROM note").await;
            assert_eq!(kept, n + 1, "an acknowledged note is not there");
        }
        assert_eq!(titles(&store, &call("ana")).await.len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_the_file_of_the_database_is_gone() {
    each(async |database, store| {
        let Some(path) = database.url.strip_prefix("sqlite://") else { return };
        write(&store, &call("ana"), &once("kept")).await.unwrap();
        let away = format!("{path}.away");
        std::fs::rename(path, &away).unwrap();
        for _ in ["gone", "replaced"] {
            assert_eq!(store.ping().await.unwrap_err().code(), Code::Unavailable);
            let refused = write(&store, &call("ana"), &once("lost")).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
            std::fs::write(path, "another file").unwrap();
        }
        // It comes back by itself, once the file does.
        std::fs::rename(&away, path).unwrap();
        store.ping().await.unwrap();
        write(&store, &call("ana"), &once("kept too")).await.unwrap();
        assert_eq!(titles(&store, &call("ana")).await, ["kept", "kept too"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_goes_under_a_commit_and_comes_back_breaks_no_chain() {
    each(async |database, store| {
        let Some(path) = database.url.strip_prefix("sqlite://").map(str::to_owned) else { return };
        write(&store, &call("ana"), &once("kept")).await.unwrap();
        let away = format!("{path}.away");
        let go = (path.clone(), away.clone());
        let unsure = send(&store, once("in between"), move |tx| {
            std::fs::rename(&go.0, &go.1).unwrap();
            create(tx, Uuid::nil(), "in between".to_owned())
        });
        // Neither said to be kept nor to be lost: it is in a file that may never come back.
        assert!(matches!(unsure.await.unwrap_err(), Error::Unsure));
        std::fs::rename(&away, &path).unwrap();
        write(&store, &call("ana"), &once("kept too")).await.unwrap();
        assert_eq!(titles(&store, &call("ana")).await, ["kept", "in between", "kept too"]);
        let verdict = audit::verify(&store, &audit::Heads::default()).await.unwrap();
        assert!(verdict.is_good(), "{verdict:?}");
    })
    .await;
}
