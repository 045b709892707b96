//! A caller who leaves, at whatever point, costs nobody else a write.
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use caseward_store::{Store, etag};
use uuid::Uuid;

use crate::{
    aside, call, each,
    note::{self, fresh, once, send, write},
    number,
};

/// Polls `future` at most `most` times and drops it; whether it was done by then.
async fn polled(future: impl Future, most: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..most {
        let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if ready {
            return true;
        }
        // Lets the writers and the database go on between two polls.
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    false
}

/// Drops the future that `call` makes after 1, 2, 3 … polls, until one is done before that.
async fn dropped_everywhere<F: Future>(store: &Store, call: impl Fn(usize) -> F) {
    for most in 1..200 {
        let done = polled(call(most), most).await;
        let probe = format!("probe {most} {}", Uuid::now_v7());
        write(store, &crate::call("ben"), &once(&probe)).await.unwrap();
        if done {
            return;
        }
    }
    panic!("the call was never done");
}

#[tokio::test]
async fn a_write_dropped_at_any_point_leaves_every_connection_clean() {
    each(async |database, store| {
        let row = write(&store, &call("ana"), &once("row")).await.unwrap();
        for _ in 0..5 {
            let create = |_| {
                let store = store.clone();
                async move { write(&store, &call("ana"), &fresh(&Uuid::now_v7().to_string())).await }
            };
            dropped_everywhere(&store, create).await;
            let change = |_| {
                let (store, id) = (store.clone(), row.id());
                async move {
                    let work = move |tx| note::rename(tx, id, "changed".to_owned(), etag(1));
                    send(&store, fresh("changed"), work).await
                }
            };
            dropped_everywhere(&store, change).await;
            let read = |_| {
                let store = store.clone();
                async move { note::titles(&store, &call("ana")).await }
            };
            dropped_everywhere(&store, read).await;
            let lease = |_| {
                let mut lease = caseward_store::lease::Lease::new(&store, "test");
                async move { lease.take().await }
            };
            dropped_everywhere(&store, lease).await;
        }
        let db = aside(&database).await;
        let probes = "SELECT count(*) FROM note WHERE title LIKE 'probe %'";
        let seen = number(&db, probes).await;
        assert!(seen >= 20, "{seen}");
        if !database.is_sqlite() {
            let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                        AND state LIKE 'idle in transaction%'";
            assert_eq!(number(&db, idle).await, 0);
        }
        drop(store);
        assert_eq!(number(&db, probes).await, seen);
    })
    .await;
}

#[tokio::test]
async fn work_that_was_begun_goes_on_when_its_caller_leaves() {
    each(async |database, store| {
        let (begun, go) = (
            std::sync::Arc::new(tokio::sync::Notify::new()),
            std::sync::Arc::new(tokio::sync::Notify::new()),
        );
        let (said, wait) = (begun.clone(), go.clone());
        let store_2 = store.clone();
        let caller = tokio::spawn(async move {
            let work = move |tx| {
                let (said, wait) = (said.clone(), wait.clone());
                async move {
                    said.notify_one();
                    wait.notified().await;
                    note::create(tx, Uuid::nil(), "one".to_owned()).await
                }
            };
            send(&store_2, once("one"), work).await
        });
        begun.notified().await;
        caller.abort();
        assert!(caller.await.is_err());
        go.notify_one();
        let started = Instant::now();
        write(&store, &call("ana"), &once("two")).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
        if database.is_sqlite() {
            // One writer: what was begun before is committed before.
            assert_eq!(note::titles(&store, &call("ana")).await, ["one", "two"]);
        }
    })
    .await;
}
