//! Timers fire once in effect, at their time, whoever runs them.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_core::{Clock, Ctx, Error, Time};
use caseward_events::{Bus, Handler, Settle, Timers};
use caseward_store::{Store, timer};
use caseward_testkit::databases;
use time::Duration as Span;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    effect,
    world::{LONG, ORGANIZATION, open},
};

fn start() -> Time {
    Time::parse("2026-11-23T08:00:00Z").unwrap()
}

fn ctx(clock: &Clock) -> Ctx {
    Ctx::task("care-plan", "test", ORGANIZATION, clock.clone())
}

async fn set(store: &Store, clock: &Clock, kind: &'static str, due_at: Time, count: u128) {
    let work = move |tx| async move {
        for subject in 0..count {
            timer::set(&tx, kind, Uuid::from_u128(subject), due_at).await?;
        }
        Ok(())
    };
    store.task(&ctx(clock), work).await.unwrap();
}

fn noting(kind: &'static str) -> Handler {
    Handler::new(kind, |timer, tx| async move {
        assert_eq!(timer.organization, ORGANIZATION);
        effect::note(&tx, &timer.subject.to_string(), timer.due_at.micros()).await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_fire_a_timer_once() {
    for database in databases().await {
        let clock = Clock::simulated(start());
        let stores = [open(&database).await, open(&database).await];
        set(&stores[0], &clock, "task.due", start() + Span::hours(1), 100).await;
        let replicas = stores
            .clone()
            .map(|store| Timers::new("care-plan", store, clock.clone(), [noting("task.due")]));
        let stop = CancellationToken::new();
        let running = replicas.clone().map(|timers| tokio::spawn(timers.run(stop.clone())));
        assert_eq!(replicas[0].fire().await.unwrap(), 0, "nothing is due yet");
        clock.advance(Span::hours(1));
        // Both fire beside their runners: as many as four take the same timers.
        futures_util::future::try_join(replicas[0].fire(), replicas[1].fire()).await.unwrap();
        let settle = settle(&clock, &replicas).await;
        settle.settle(LONG).await.unwrap();
        let effects = effect::all(&stores[0], &ctx(&clock)).await;
        assert_eq!(effects.len(), 100, "{database:?}");
        stop.cancel();
        for task in running {
            tokio::time::timeout(LONG, task).await.unwrap().unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_replica_fires_as_soon_as_the_clock_is_moved() {
    for database in databases().await {
        let clock = Clock::simulated(start());
        let store = open(&database).await;
        set(&store, &clock, "task.due", start() + Span::days(30), 1).await;
        let fired = Arc::new(tokio::sync::Notify::new());
        let handler = {
            let fired = fired.clone();
            Handler::new("task.due", move |_, _| {
                fired.notify_one();
                async { Ok(()) }
            })
        };
        let timers = Timers::new("care-plan", store, clock.clone(), [handler]);
        let stop = CancellationToken::new();
        let running = tokio::spawn(timers.run(stop.clone()));
        clock.advance(Span::days(30));
        tokio::time::timeout(LONG, fired.notified()).await.unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_fails_is_put_off_and_undone() {
    for database in databases().await {
        let clock = Clock::simulated(start());
        let store = open(&database).await;
        set(&store, &clock, "task.due", start(), 1).await;
        let broken = Arc::new(AtomicBool::new(true));
        let handler = {
            let broken = broken.clone();
            Handler::new("task.due", move |timer, tx| {
                let broken = broken.load(SeqCst);
                async move {
                    effect::note(&tx, &timer.kind, 1).await?;
                    if broken { Err(Error::precondition("NO", "not today")) } else { Ok(()) }
                }
            })
        };
        let timers = Timers::new("care-plan", store.clone(), clock.clone(), [handler]);
        timers.fire().await.unwrap();
        assert_eq!(effect::all(&store, &ctx(&clock)).await, [], "{database:?}");
        assert_eq!(timers.next().await.unwrap(), Some(start() + Span::minutes(1)));
        broken.store(false, SeqCst);
        clock.advance(Span::minutes(1));
        assert_eq!(timers.fire().await.unwrap(), 1);
        assert_eq!(effect::all(&store, &ctx(&clock)).await.len(), 1, "{database:?}");
        assert_eq!(timers.next().await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_played_from_timer_to_timer() {
    for database in databases().await {
        let clock = Clock::simulated(start());
        let store = open(&database).await;
        set(&store, &clock, "daily", start() + Span::days(1), 1).await;
        let handler = Handler::new("daily", |timer, tx| async move {
            effect::note(&tx, "daily", 0).await?;
            timer::set(&tx, "daily", timer.subject, tx.ctx.now() + Span::days(1)).await
        });
        let timers = [Timers::new("care-plan", store.clone(), clock.clone(), [handler])];
        let settle = settle(&clock, &timers).await;
        let end = start() + Span::days(30) + Span::hours(5);
        assert_eq!(settle.advance(end, LONG).await.unwrap(), end);
        let effects = effect::all(&store, &ctx(&clock)).await;
        let at: Vec<_> = effects.iter().map(|row| row.at).collect();
        let days: Vec<_> = (1..=30).map(|day| start() + Span::days(day)).collect();
        assert_eq!(at, days, "{database:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_cannot_settle_says_so() {
    let database = caseward_testkit::Database::sqlite();
    let clock = Clock::simulated(start());
    let store = open(&database).await;
    set(&store, &clock, "task.due", start(), 1).await;
    let handler = Handler::new("task.due", |timer, tx| async move {
        timer::set(&tx, "task.due", timer.subject, timer.due_at - Span::seconds(1)).await
    });
    let timers = [Timers::new("care-plan", store, clock.clone(), [handler])];
    let settle = settle(&clock, &timers).await;
    let refused = settle.settle(Duration::from_millis(200)).await.unwrap_err();
    assert!(refused.is_transient());
}

async fn settle(clock: &Clock, timers: &[Timers]) -> Settle {
    let bus = Bus::connect("local").await.unwrap();
    Settle { clock: clock.clone(), bus, relays: vec![], timers: timers.to_vec() }
}
