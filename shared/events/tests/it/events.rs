//! Every committed event has one effect, in order, whatever else fails.
use std::sync::atomic::Ordering::SeqCst;

use caseward_api::patient::v1::PatientCreated;
use caseward_core::{Error, Time};
use caseward_events::Consumer;
use caseward_store::{Tx, outbox};
use caseward_testkit::Database;
use futures_util::future::join_all;
use prost::Name;
use tokio::sync::Notify;

use crate::{
    effect,
    world::{LONG, World, emit, worlds},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_event_has_one_effect_in_order() {
    for mut world in worlds().await {
        world.start();
        let aggregates: Vec<String> = (0..20).map(|n| format!("patients/{n}")).collect();
        for revision in 1..=10 {
            for aggregate in &aggregates {
                world.say(aggregate, revision).await;
            }
        }
        world.settle().await;
        let effects = world.effects().await;
        assert_eq!(effects.len(), aggregates.len(), "{world:?}");
        for (aggregate, revisions) in effects {
            assert_eq!(revisions, (1..=10).collect::<Vec<_>>(), "{world:?}: {aggregate}");
        }
        world.stop().await;
    }
}

/// A relay that waited for a connection while its own lanes held them all would give up after five seconds, again
/// and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hears_itself_never_waits_for_itself() {
    for mut world in worlds().await {
        let own =
            Consumer::new("own", "patient", [PatientCreated::full_name()], |_, _| async { Ok(()) });
        let own = world.bus.subscribe(world.producer.clone(), world.clock.clone(), own);
        tokio::spawn(own.run(world.stop.clone()));
        world.start();
        let aggregates: Vec<String> = (0..1000).map(|n| format!("patients/{n}")).collect();
        join_all(aggregates.iter().map(|aggregate| world.say(aggregate, 1))).await;
        tokio::time::timeout(LONG / 3, world.settle())
            .await
            .unwrap_or_else(|_| panic!("{world:?}"));
        assert_eq!(world.effects().await.len(), aggregates.len(), "{world:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_hides_no_earlier_revision_that_has_a_later_id() {
    for mut world in worlds().await {
        let backlog = |tx: Tx| {
            // By a replica whose clock is behind that of the one which made the revision before.
            emit(&tx, "patients/1", 3);
            (0..1000).for_each(|n| emit(&tx, &format!("patients/other {n}"), 1));
            emit(&tx, "patients/1", 2);
            async { Ok(()) }
        };
        world.producer.task(&world.ctx(), backlog).await.unwrap();
        world.start();
        world.settle().await;
        assert_eq!(world.effects().await["patients/1"], [2, 3], "{world:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_again_has_no_second_effect() {
    for mut world in worlds().await {
        world.start();
        for revision in 1..=3 {
            world.say("patients/1", revision).await;
        }
        world.settle().await;
        let again = world.relay.republish(Time::from_micros(0)).await.unwrap();
        assert_eq!(again, 3, "{world:?}");
        world.settle().await;
        assert_eq!(world.effects().await["patients/1"], [1, 2, 3], "{world:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_of_a_change_that_was_undone() {
    for mut world in worlds().await {
        world.start();
        let failing = |tx: Tx| {
            emit(&tx, "patients/1", 1);
            async { Err(Error::precondition("NO", "not today")) }
        };
        world.producer.task(&world.ctx(), failing).await.unwrap_err();
        assert_eq!(outbox::pending(&world.producer, 10).await.unwrap(), []);
        world.say("patients/2", 1).await;
        world.settle().await;
        let effects = world.effects().await;
        assert_eq!(effects.keys().collect::<Vec<_>>(), ["patients/2"], "{world:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_event_is_parked_and_only_its_aggregate_waits() {
    for mut world in worlds().await {
        world.start();
        world.poisoned.store(true, SeqCst);
        for revision in 1..=3 {
            world.say("poison", revision).await;
            world.say("patients/1", revision).await;
        }
        world.settle().await;
        let effects = world.effects().await;
        assert_eq!(effects.get("poison"), None, "{world:?}");
        assert_eq!(effects["patients/1"], [1, 2, 3], "{world:?}");
        assert_eq!(world.tries.load(SeqCst), 5 + 3, "{world:?}");
        let parked = world.subscription.parked().await.unwrap();
        let parked: Vec<_> = parked.iter().map(|row| (row.revision, row.attempts)).collect();
        assert_eq!(parked, [(1, 5), (2, 0), (3, 0)], "{world:?}");

        assert_eq!(world.subscription.replay_parked().await.unwrap(), 0, "{world:?}");
        world.poisoned.store(false, SeqCst);
        assert_eq!(world.subscription.replay_parked().await.unwrap(), 3, "{world:?}");
        world.say("poison", 4).await;
        world.settle().await;
        assert_eq!(world.effects().await["poison"], [1, 2, 3, 4], "{world:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_cannot_be_handled_for_now_hide_no_others_and_are_not_parked() {
    let mut world = World::new([Database::sqlite(), Database::sqlite()], None).await;
    world.down.store(true, SeqCst);
    let many = |tx: Tx| {
        (1..=1000).for_each(|revision| emit(&tx, "down", revision));
        async { Ok(()) }
    };
    world.producer.task(&world.ctx(), many).await.unwrap();
    world.say("patients/1", 1).await;
    world.start();
    tokio::time::timeout(LONG, world.healthy.notified()).await.unwrap();
    world.down.store(false, SeqCst);
    world.settle().await;
    assert_eq!(world.effects().await["down"], (1..=1000).collect::<Vec<_>>());
    assert!(world.subscription.parked().await.unwrap().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_asks_first_holds_no_transaction_meanwhile() {
    for mut world in worlds().await {
        let subjects = [caseward_api::patient::v1::PatientCreated::full_name()];
        let store = world.consumer.clone();
        let asking = Consumer::asking(
            "asking",
            "notification",
            subjects,
            move |ctx, event| {
                let store = store.clone();
                async move {
                    // On SQLite there is one writer: if the consumer held it, this would wait for itself.
                    store.task(&ctx, |_| async { Ok(()) }).await?;
                    Ok(event.aggregate.to_uppercase())
                }
            },
            |event, answer: String, tx| async move { effect::note(&tx, &answer, event.revision).await },
        );
        let asking = world.bus.subscribe(world.consumer.clone(), world.clock.clone(), asking);
        let asking = tokio::spawn(asking.run(world.stop.clone()));
        world.start();
        world.say("patients/1", 1).await;
        world.settle().await;
        let effects = world.effects().await;
        assert_eq!(effects["PATIENTS/1"], [1], "{world:?}");
        assert_eq!(effects["patients/1"], [1], "{world:?}");
        world.stop().await;
        asking.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_late_is_delivered() {
    // SQLite has one writer: there nothing commits out of order.
    let Some(producer) = Database::postgres().await else { return };
    let mut world = World::new([producer, Database::sqlite()], None).await;
    world.start();
    let (begun, go) = (std::sync::Arc::new(Notify::new()), std::sync::Arc::new(Notify::new()));
    let late = {
        let (store, ctx) = (world.producer.clone(), world.ctx());
        let (begun, go) = (begun.clone(), go.clone());
        tokio::spawn(async move {
            store
                .task(&ctx, move |tx| {
                    let (begun, go) = (begun.clone(), go.clone());
                    async move {
                        emit(&tx, "patients/late", 1);
                        begun.notify_one();
                        go.notified().await;
                        Ok(())
                    }
                })
                .await
        })
    };
    tokio::time::timeout(LONG, begun.notified()).await.unwrap();
    world.say("patients/early", 1).await;
    world.settle().await;
    assert_eq!(world.effects().await.keys().collect::<Vec<_>>(), ["patients/early"]);
    go.notify_one();
    late.await.unwrap().unwrap();
    world.settle().await;
    assert_eq!(world.effects().await["patients/late"], [1]);
    world.stop().await;
}
