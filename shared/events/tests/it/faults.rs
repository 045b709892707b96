//! What is killed or lost loses no event and doubles none.
use std::sync::atomic::Ordering::SeqCst;

use caseward_core::Time;
use caseward_events::{Bus, Relay};
use caseward_testkit::{Database, nats};
use tokio_util::sync::CancellationToken;

use crate::world::{LONG, World, worlds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_and_a_consumer_that_are_killed_lose_nothing() {
    for mut world in worlds().await {
        world.start();
        for revision in 1..=20 {
            for aggregate in ["patients/1", "patients/2", "patients/3"] {
                world.say(aggregate, revision).await;
            }
            if revision % 7 == 0 {
                world.kill().await;
                world.start();
            }
        }
        world.settle().await;
        for (aggregate, revisions) in world.effects().await {
            assert_eq!(revisions, (1..=20).collect::<Vec<_>>(), "{world:?}: {aggregate}");
        }
        assert!(world.tries.load(SeqCst) >= 60);
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_over_at_once_from_one_that_stops() {
    for mut world in worlds().await {
        world.start();
        world.say("patients/1", 1).await;
        world.settle().await;
        let other = world.other_producer().await;
        let other = Relay::new("patient", other, world.bus.clone(), world.clock.clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(other.run(stop.clone()));
        world.stop().await;
        world.say("patients/1", 2).await;
        // The consumer goes on; only the relay is another's.
        let consumer = tokio::spawn(world.subscription.clone().run(stop.clone()));
        world.settle().await;
        assert_eq!(world.effects().await["patients/1"], [1, 2], "{world:?}");
        stop.cancel();
        tokio::time::timeout(LONG, running).await.unwrap().unwrap().unwrap();
        tokio::time::timeout(LONG, consumer).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_or_lost_whole_loses_nothing() {
    let Some(nats) = nats().await.filter(|nats| nats.is_own()) else { return };
    let mut world = World::new([Database::sqlite(), Database::sqlite()], Some(nats)).await;
    world.start();
    world.say("patients/1", 1).await;
    world.settle().await;

    world.nats.as_mut().unwrap().stop().await;
    world.say("patients/1", 2).await;
    world.nats.as_mut().unwrap().start().await;
    world.settle().await;
    assert_eq!(world.effects().await["patients/1"], [1, 2]);

    world.nats.as_mut().unwrap().lose().await;
    world.say("patients/1", 3).await;
    world.nats.as_mut().unwrap().start().await;
    assert!(world.relay.republish(Time::from_micros(0)).await.unwrap() >= 2);
    world.settle().await;
    assert_eq!(world.effects().await["patients/1"], [1, 2, 3]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_published_again_under_another_message_id_has_one_effect() {
    let Some(nats) = nats().await else { return };
    let mut world = World::new([Database::sqlite(), Database::sqlite()], Some(nats)).await;
    world.start();
    world.say("patients/1", 1).await;
    world.settle().await;
    for copied in [1, 2] {
        assert_eq!(world.nats.as_ref().unwrap().copy("CASEWARD").await, copied);
    }
    world.say("patients/1", 2).await;
    world.settle().await;
    assert_eq!(world.effects().await["patients/1"], [1, 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_bus_that_is_not_known_is_refused() {
    for setting in ["", "kafka://localhost", "nats://localhost?replica=3"] {
        Bus::connect(setting).await.unwrap_err();
    }
}
