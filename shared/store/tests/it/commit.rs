//! A commit that fails takes nothing with it but its own work.
use sea_orm::ConnectionTrait;

use crate::{
    aside, call, each,
    note::{once, titles, write},
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
