//! Timers fire once, leases are held by one.
use std::{sync::Arc, time::Duration};

use caseward_core::Error;
use caseward_store::{
    Store, Tx,
    lease::{Lease, TERM},
    timer,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{ORGANIZATION, aside, call, each, note, number, open};

async fn set(store: &Store, ctx: &caseward_core::Ctx, subject: Uuid, minutes: i64) {
    let due = ctx.now() + time::Duration::minutes(minutes);
    store
        .task(ctx, move |tx: Tx| async move { timer::set(&tx, "test.due", subject, due).await })
        .await
        .unwrap();
}

/// Fires `due` as a replica would: takes the timer and leaves a note in one transaction.
async fn fire(store: &Store, ctx: &caseward_core::Ctx, due: timer::Model) -> Result<(), Error> {
    let due = Arc::new(due);
    let work = move |tx: Tx| {
        let due = due.clone();
        async move {
            if timer::take(&tx, &due).await? {
                note::create(tx, Uuid::nil(), Uuid::now_v7().to_string()).await?;
            }
            Ok(())
        }
    };
    store.task(ctx, work).await
}

#[tokio::test]
async fn a_timer_comes_due_in_its_order_and_can_be_moved_and_cleared() {
    each(async |_, store| {
        let (ctx, first, second) = (call("ana"), Uuid::now_v7(), Uuid::now_v7());
        set(&store, &ctx, second, 20).await;
        set(&store, &ctx, first, 10).await;
        let now = ctx.now();
        let due = async |minutes: i64| {
            let due = timer::due(&store, now + time::Duration::minutes(minutes), 10).await.unwrap();
            due.into_iter().map(|timer| timer.subject).collect::<Vec<_>>()
        };
        assert_eq!(timer::next(&store).await.unwrap(), Some(now + time::Duration::minutes(10)));
        assert!(due(9).await.is_empty());
        assert_eq!(due(10).await, [first]);
        assert_eq!(due(60).await, [first, second]);
        set(&store, &ctx, first, 30).await;
        assert_eq!(due(60).await, [second, first]);
        let work = move |tx: Tx| async move { timer::clear(&tx, "test.due", second).await };
        store.task(&ctx, work).await.unwrap();
        assert_eq!(due(60).await, [first]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_many_fire_has_one_effect() {
    each(async |database, store| {
        let other = if database.is_sqlite() { store.clone() } else { open(&database).await };
        let ctx = call("ana");
        for _ in 0..10 {
            set(&store, &ctx, Uuid::now_v7(), 0).await;
            let due = timer::due(&store, ctx.now(), 10).await.unwrap().remove(0);
            let firing: Vec<_> = (0..8)
                .map(|n| {
                    let store = if n % 2 == 0 { store.clone() } else { other.clone() };
                    let (ctx, due) = (ctx.clone(), due.clone());
                    tokio::spawn(async move { fire(&store, &ctx, due).await })
                })
                .collect();
            for fired in firing {
                fired.await.unwrap().unwrap();
            }
        }
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 10);
        assert_eq!(timer::next(&store).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_timer_that_was_moved_is_not_fired_by_who_read_it_before() {
    each(async |database, store| {
        let (ctx, subject) = (call("ana"), Uuid::now_v7());
        set(&store, &ctx, subject, 0).await;
        let read = timer::due(&store, ctx.now(), 10).await.unwrap().remove(0);
        assert_eq!((read.organization, read.attempts), (ORGANIZATION, 0));
        timer::put_off(&store, &ctx, &read).await.unwrap();
        fire(&store, &ctx, read).await.unwrap();
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 0);
        let later = timer::next(&store).await.unwrap();
        assert_eq!(later, Some(ctx.now() + time::Duration::minutes(1)));
    })
    .await;
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends_or_is_given_back() {
    each(async |database, store| {
        let (mut one, mut two) = (Lease::new(&store, "relay"), Lease::new(&store, "relay"));
        assert!(one.take().await.unwrap());
        assert!(one.take().await.unwrap(), "its holder renews it");
        assert!(!two.take().await.unwrap());
        let mut other = Lease::new(&store, "timers");
        assert!(other.take().await.unwrap(), "another lease is another's");
        // The holder was killed, and its term went by.
        let db = aside(&database).await;
        db.execute_unprepared("UPDATE lease SET until = 1 WHERE name = 'relay'").await.unwrap();
        assert!(two.take().await.unwrap());
        assert!(!one.take().await.unwrap());
        one.release().await.unwrap();
        assert!(!one.take().await.unwrap(), "only its holder gives it back");
        two.release().await.unwrap();
        assert!(one.take().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_free_after_a_term_whatever_date_it_bears() {
    each(async |database, store| {
        let (mut one, mut two) = (Lease::new(&store, "relay"), Lease::new(&store, "relay"));
        assert!(one.take().await.unwrap());
        // The holder's clock is many years ahead.
        let db = aside(&database).await;
        let ahead = "UPDATE lease SET until = until + 1000000000000000";
        db.execute_unprepared(ahead).await.unwrap();
        assert!(!two.take().await.unwrap());
        pass(TERM - Duration::from_secs(1)).await;
        assert!(!two.take().await.unwrap(), "it may be renewed yet");
        assert!(one.take().await.unwrap());
        db.execute_unprepared(ahead).await.unwrap();
        pass(Duration::from_secs(2)).await;
        assert!(!two.take().await.unwrap(), "it was renewed");
        // The holder is killed.
        pass(TERM).await;
        assert!(two.take().await.unwrap());
        assert!(!one.take().await.unwrap());
    })
    .await;
}

/// Lets the machines' time go by, as no clock tells it, and nothing else.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_a_lease_one_gets_it() {
    each(async |_, store| {
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let mut lease = Lease::new(&store, "relay");
                tokio::spawn(async move { lease.take().await })
            })
            .collect();
        let mut holders = 0;
        for taker in takers {
            holders += usize::from(taker.await.unwrap().unwrap());
        }
        assert_eq!(holders, 1);
    })
    .await;
}
