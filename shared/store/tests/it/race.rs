//! Of those who want the same thing at once, one gets it and the others learn so, across replicas too.
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_core::Id;
use caseward_store::{Settings, Store, Tx, etag};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::sync::{Barrier, Notify};
use tonic::Code;
use uuid::Uuid;

use crate::{
    aside, call, each,
    note::{self, Note, fresh, once, send, titles, write},
    number, open,
};

/// Keeps a writer at work, so that what comes meanwhile stands in its queue together.
#[derive(Clone, Default)]
struct Busy {
    begun: Arc<Notify>,
    over: Arc<Notify>,
}

impl Busy {
    /// Tells when it has `begun`, and lasts until it is told that it is `over`.
    async fn keep(&self, store: &Store) {
        let busy = self.clone();
        let work = move |_| {
            let busy = busy.clone();
            async move {
                busy.begun.notify_one();
                busy.over.notified().await;
                Ok(())
            }
        };
        store.task(&call("ana"), work).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_by_many_at_once_to_two_replicas_has_one_effect_and_one_answer() {
    each(async |database, store| {
        // SQLite is one process's, so there both replicas are one.
        let other = if database.is_sqlite() { store.clone() } else { open(&database).await };
        for round in 0..20 {
            let request = fresh(&format!("round {round}"));
            let senders: Vec<_> = (0..12)
                .map(|n| if n % 2 == 0 { store.clone() } else { other.clone() })
                .map(|store| (store, request.clone()))
                .map(|(store, request)| {
                    tokio::spawn(async move { write(&store, &call("ana"), &request).await })
                })
                .collect();
            let mut answers = vec![];
            for sender in senders {
                answers.push(sender.await.unwrap().unwrap());
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_sent_by_many_at_once_to_two_replicas_is_made_once_and_answered_alike() {
    each(async |database, store| {
        let other = if database.is_sqlite() { store.clone() } else { open(&database).await };
        let mut row = write(&store, &call("ana"), &once("round")).await.unwrap();
        for round in 0..20 {
            let (request, id) = (fresh(&format!("round {round}")), row.id());
            let senders: Vec<_> = (0..12)
                .map(|n| if n % 2 == 0 { store.clone() } else { other.clone() })
                .map(|store| {
                    let (request, tag) = (request.clone(), etag(row.revision));
                    tokio::spawn(async move {
                        let title = request.title.clone();
                        let work = move |tx| note::rename(tx, id, title.clone(), tag.clone());
                        send(&store, request, work).await
                    })
                })
                .collect();
            let revision = row.revision;
            for sender in senders {
                row = sender.await.unwrap().unwrap();
                assert_eq!(row.revision, revision + 1);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_change_one_revision_one_wins() {
    each(async |database, store| {
        let other = if database.is_sqlite() { store.clone() } else { open(&database).await };
        let mut row = write(&store, &call("ana"), &once("title")).await.unwrap();
        for round in 0..10 {
            let (id, tag) = (row.id(), etag(row.revision));
            let writers: Vec<_> = (0..16)
                .map(|n| {
                    let store = if n % 2 == 0 { store.clone() } else { other.clone() };
                    let (request, tag) = (fresh(&format!("{round} {n}")), tag.clone());
                    tokio::spawn(async move {
                        let title = request.title.clone();
                        let work = move |tx| note::rename(tx, id, title.clone(), tag.clone());
                        send(&store, request, work).await
                    })
                })
                .collect();
            let mut won = vec![];
            for writer in writers {
                match writer.await.unwrap() {
                    Ok(answer) => won.push(answer),
                    Err(error) => assert_eq!(error.code(), Code::Aborted),
                }
            }
            assert_eq!(won.len(), 1);
            row = won.remove(0);
        }
        assert_eq!(row.revision, 11);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_changes_that_wait_for_each_other_are_both_made() {
    each(async |database, store| {
        // The one writer of SQLite waits for nobody.
        if database.is_sqlite() {
            return;
        }
        let other = open(&database).await;
        let one = write(&store, &call("ana"), &once("one")).await.unwrap();
        let two = write(&store, &call("ana"), &once("two")).await.unwrap();
        let (runs, met) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
        let done = Arc::new(Notify::new());
        let change = |order: [Id<Note>; 2]| {
            let (runs, met, done) = (runs.clone(), met.clone(), done.clone());
            move |tx: Tx| {
                let (runs, met, done) = (runs.clone(), met.clone(), done.clone());
                async move {
                    let again = runs.fetch_add(1, SeqCst) >= 2;
                    if again {
                        done.notified().await;
                    }
                    note::append(tx.clone(), order[0]).await?;
                    if !again {
                        // Each has what the other wants next.
                        met.wait().await;
                    }
                    note::append(tx, order[1]).await
                }
            }
        };
        let sent = async |store: &Store, order| {
            let sent = send(store, fresh("append"), change(order)).await;
            done.notify_one();
            sent
        };
        let (here, there) =
            tokio::join!(sent(&store, [one.id(), two.id()]), sent(&other, [two.id(), one.id()]));
        here.unwrap();
        there.unwrap();
        assert_eq!(titles(&store, &call("ana")).await, ["one++", "two++"]);
        assert_eq!(runs.load(SeqCst), 3, "one gave way and was run again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_lock_holds_up_nobody_in_their_group() {
    each(async |database, _| {
        if database.is_sqlite() {
            return;
        }
        let settings = Settings { writers: 1, ..Settings::new(&database.url) };
        let store = Store::open::<note::Migrator>(&settings).await.unwrap();
        let row = write(&store, &call("ana"), &once("one")).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "somebody else's hold on a row")]
        let lock = aside(&database).await.begin().await.unwrap();
        lock.execute_unprepared("UPDATE note SET title = title").await.unwrap();
        // The one writer has something to do until both stand in its queue.
        let busy = Busy::default();
        let (ana, id, two) = (call("ana"), row.id(), once("two"));
        let first = busy.keep(&store);
        let waits = async {
            busy.begun.notified().await;
            send(&store, fresh("append"), move |tx| note::append(tx, id)).await
        };
        let mut waits = pin!(waits);
        let behind = async {
            tokio::join!(first, async {
                while store.vitals().await.unwrap().queue < 1 {}
                tokio::join!(write(&store, &ana, &two), async {
                    while store.vitals().await.unwrap().queue < 2 {}
                    busy.over.notify_one();
                })
            })
        };
        let behind = tokio::time::timeout(Duration::from_secs(1), behind);
        tokio::select! {
            biased;
            early = &mut waits => panic!("the lock is held: {:?}", early.map(drop)),
            behind = behind => behind.expect("nothing stands in its way").1.0.map(drop).unwrap(),
        }
        lock.commit().await.unwrap();
        waits.await.unwrap();
        assert_eq!(titles(&store, &call("ana")).await, ["one+", "two"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_handed_to_two_replicas_at_once_has_one_effect() {
    each(async |database, store| {
        let other = if database.is_sqlite() { store.clone() } else { open(&database).await };
        for round in 0..20 {
            let event = Uuid::now_v7();
            let handlers: Vec<_> = [store.clone(), other.clone(), store.clone(), other.clone()]
                .into_iter()
                .map(|store| {
                    tokio::spawn(async move {
                        let work = move |tx| async move {
                            let title = format!("{round} {}", Uuid::now_v7());
                            note::create(tx, Uuid::nil(), title).await.map(drop)
                        };
                        store.handle(&call("ana"), "test", event, work).await
                    })
                })
                .collect();
            for handler in handlers {
                handler.await.unwrap().unwrap();
            }
        }
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 20);
    })
    .await;
}

#[tokio::test]
async fn work_that_is_run_again_leaves_the_effects_of_one_run() {
    each(async |database, store| {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let whole = send(&store, fresh("whole"), move |tx| {
            counted.fetch_add(1, SeqCst);
            note::create(tx, Uuid::nil(), "whole".to_owned())
        });
        let broken = send(&store, fresh("no"), |_| async { Err(note::refusal()) });
        // The one writer of SQLite waits until both stand in its queue, the one that fails behind the other, so that
        // they share a group in which that other was done.
        let queued = async |wanted| {
            while database.is_sqlite() && store.vitals().await.unwrap().queue < wanted {}
        };
        let busy = Busy::default();
        let first = busy.keep(&store);
        let both = async {
            busy.begun.notified().await;
            let behind = async {
                queued(1).await;
                broken.await
            };
            tokio::join!(whole, behind, async {
                queued(2).await;
                busy.over.notify_one();
            })
        };
        let ((), (whole, broken, ())) = tokio::join!(first, both);
        assert!(whole.is_ok() && broken.is_err());
        let db = aside(&database).await;
        assert_eq!(number(&db, "SELECT count(*) FROM note").await, 1);
        assert_eq!(number(&db, "SELECT count(*) FROM audit").await, 1);
        assert_eq!(number(&db, "SELECT CAST(sum(rows) AS BIGINT) FROM audit").await, 1);
        if database.is_sqlite() {
            assert_eq!(runs.load(SeqCst), 2, "the group was undone and each member run alone");
        }
    })
    .await;
}
