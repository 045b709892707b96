//! Events and transitions commit with the change they tell of, or not at all.
use caseward_api::patient::v1::PatientCreated;
use caseward_core::{Clock, Result};
use caseward_store::{Transition, Tx, outbox, parked, transition};
use prost::{Message, Name};
use uuid::Uuid;

use crate::{
    ORGANIZATION, call, each,
    note::{self, fresh, refusal, send},
};

async fn create_and_tell(tx: Tx, title: String) -> Result<note::Model> {
    let row = note::create(tx.clone(), Uuid::nil(), title).await?;
    tx.emit(row.id, 1, &PatientCreated { patient: row.id.to_string(), revision: 1 });
    tx.log(Transition {
        entity: row.id.uuid(),
        name: row.id.to_string(),
        to: "ACTIVE",
        reason_text: "because".to_owned(),
        ..Transition::default()
    });
    Ok(row)
}

#[tokio::test]
async fn an_event_and_a_transition_commit_with_their_change_or_not_at_all() {
    each(async |_, store| {
        let work = |tx| create_and_tell(tx, "one".to_owned());
        let one = send(&store, fresh("one"), work).await.unwrap();
        let undone = |tx: Tx| async {
            create_and_tell(tx, "two".to_owned()).await?;
            Err(refusal())
        };
        let two = send(&store, fresh("two"), undone);
        assert!(two.await.is_err());
        tokio::time::timeout(std::time::Duration::from_secs(5), store.committed()).await.unwrap();

        let events = outbox::pending(&store, 10).await.unwrap();
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((event.aggregate.as_str(), event.revision), (one.name.as_str(), 1));
        assert_eq!(
            (event.subject.clone(), event.organization),
            (PatientCreated::full_name(), ORGANIZATION)
        );
        assert_eq!(PatientCreated::decode(&*event.payload).unwrap().patient, one.name);

        let log = transition::of(&store.read(&call("ana")), one.id().uuid()).await.unwrap();
        let [entry] = &log[..] else { panic!("{log:?}") };
        assert_eq!((entry.from_state.as_str(), entry.to_state.as_str()), ("", "ACTIVE"));
        assert_eq!((entry.actor.as_str(), entry.role.as_str()), ("ana", "case_manager"));
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_replayed_tells_nothing_again() {
    each(async |_, store| {
        let request = fresh("one");
        for _ in 0..3 {
            let work = |tx| create_and_tell(tx, "one".to_owned());
            send(&store, request.clone(), work).await.unwrap();
        }
        assert_eq!(outbox::pending(&store, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_published_event_waits_no_more_is_kept_for_a_while_and_can_be_queued_again() {
    each(async |_, store| {
        let ctx = call("ana");
        for n in 0..3 {
            let work = move |tx| create_and_tell(tx, n.to_string());
            send(&store, fresh(&n.to_string()), work).await.unwrap();
        }
        let events = outbox::pending(&store, 2).await.unwrap();
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let now = ctx.now();
        store
            .task(&ctx, move |tx| {
                let ids = ids.clone();
                async move { outbox::published(&tx.db, ids, now).await }
            })
            .await
            .unwrap();
        assert_eq!(outbox::pending(&store, 10).await.unwrap().len(), 1);
        store.sweep(&Clock::simulated(now + time::Duration::days(13))).await.unwrap();
        store
            .task(&ctx, move |tx| async move {
                outbox::replay(&tx.db, now).await.map(|n| assert_eq!(n, 3))
            })
            .await
            .unwrap();
        assert_eq!(outbox::pending(&store, 10).await.unwrap().len(), 3);
        store.sweep(&Clock::simulated(now + time::Duration::days(400))).await.unwrap();
        assert_eq!(
            outbox::pending(&store, 10).await.unwrap().len(),
            3,
            "no waiting event is ever forgotten"
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_with_very_many_events_commits() {
    each(async |_, store| {
        let work = |tx: Tx| async move {
            for n in 0..8000 {
                tx.emit("notes/1", n, &PatientCreated { patient: String::new(), revision: n });
            }
            note::create(tx, Uuid::nil(), "one".to_owned()).await
        };
        send(&store, fresh("one"), work).await.unwrap();
        assert_eq!(outbox::pending(&store, 10_000).await.unwrap().len(), 8000);
    })
    .await;
}

#[tokio::test]
async fn a_parked_event_blocks_its_own_aggregate_until_it_is_removed() {
    each(async |_, store| {
        let ctx = call("ana");
        let row = parked::Model {
            consumer: "test".to_owned(),
            event: Uuid::now_v7(),
            organization: ORGANIZATION,
            subject: PatientCreated::full_name(),
            aggregate: "notes/1".to_owned(),
            revision: 1,
            payload: vec![1],
            trace: String::new(),
            attempts: 5,
            reason: "of the test".to_owned(),
            parked_at: ctx.now(),
        };
        parked::put(&store, &ctx, row.clone()).await.unwrap();
        parked::put(&store, &ctx, parked::Model { attempts: 6, ..row.clone() }).await.unwrap();
        let all = parked::list(&store, "test").await.unwrap();
        assert_eq!(all, [parked::Model { attempts: 6, ..row.clone() }]);
        assert!(parked::blocks(&store, "test", "notes/1").await.unwrap());
        assert!(!parked::blocks(&store, "test", "notes/2").await.unwrap());
        assert!(!parked::blocks(&store, "other", "notes/1").await.unwrap());
        parked::remove(&store, "test", row.event).await.unwrap();
        assert!(!parked::blocks(&store, "test", "notes/1").await.unwrap());
    })
    .await;
}
