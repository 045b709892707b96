//! The audit log names who saw whom, commits with what it tells of, and shows when it was touched.
use caseward_store::{
    Resource, Settings, Store,
    audit::{self, Entry, Heads},
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    ORGANIZATION, aside, call, each,
    note::{self, Entity, fresh, once, write_about},
    number, open,
};

#[tokio::test]
async fn a_change_is_audited_with_its_patient_in_its_own_transaction() {
    each(async |_, store| {
        let (ctx, patient) = (call("ana"), Uuid::now_v7());
        write_about(&store, &ctx, patient, &fresh("one")).await.unwrap();
        assert!(ctx.record.is_settled());
        let seen = audit::accesses(&store, wanted(ORGANIZATION, patient)).await.unwrap();
        let [entry] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((entry.subject.as_str(), entry.phase.as_str(), entry.rows), ("ana", "WHOLE", 1));
        assert_eq!((entry.outcome.as_str(), entry.purpose.as_str()), ("OK", "TREAT"));
        let stranger = audit::accesses(&store, wanted(Uuid::nil(), patient)).await.unwrap();
        assert!(stranger.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_audited_again() {
    each(async |_, store| {
        let (request, patient) = (fresh("one"), Uuid::now_v7());
        for _ in 0..2 {
            let ctx = call("ana");
            write_about(&store, &ctx, patient, &request).await.unwrap();
            assert!(ctx.record.is_settled());
        }
        let seen = audit::accesses(&store, wanted(ORGANIZATION, patient)).await.unwrap();
        assert_eq!(seen.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_read_leaves_its_beginning_and_its_end_and_nothing_else() {
    each(async |database, store| {
        let patient = Uuid::now_v7();
        write_about(&store, &call("ana"), patient, &once("one")).await.unwrap();
        let ctx = call("ben");
        store.audit(&ctx, Entry::begin(&ctx)).await.unwrap();
        assert!(!ctx.record.is_settled());
        assert_eq!(note::titles(&store, &ctx).await, ["one"]);
        store.audit(&ctx, Entry::end(&ctx, "OK")).await.unwrap();
        assert!(ctx.record.is_settled());
        let db = aside(&database).await;
        assert_eq!(number(&db, "SELECT count(*) FROM audit WHERE subject = 'ben'").await, 2);
        let seen = audit::accesses(&store, wanted(ORGANIZATION, patient)).await.unwrap();
        let who: Vec<&str> = seen.iter().map(|entry| entry.subject.as_str()).collect();
        assert_eq!(who, ["ben", "ana"]);
    })
    .await;
}

#[tokio::test]
async fn a_read_that_takes_its_time_is_one_access() {
    each(async |_, store| {
        let patient = Uuid::now_v7();
        write_about(&store, &call("ana"), patient, &once("one")).await.unwrap();
        let ctx = call("ben");
        note::titles(&store, &ctx).await;
        let told = async || {
            let seen = audit::accesses(&store, wanted(ORGANIZATION, patient)).await.unwrap();
            let told = seen.into_iter().map(|entry| (entry.subject, entry.outcome));
            told.collect::<Vec<_>>()
        };
        let (ana, ben) = (("ana", "OK"), |outcome| ("ben", outcome));
        let of = |all: [(&str, &str); 2]| all.map(|(who, how)| (who.to_owned(), how.to_owned()));
        store.audit(&ctx, Entry::begin(&ctx)).await.unwrap();
        assert_eq!(told().await, of([ben(""), ana]), "it is under way");
        store.audit(&ctx, Entry::end(&ctx, "OK")).await.unwrap();
        assert_eq!(told().await, of([ben("OK"), ana]));
    })
    .await;
}

#[tokio::test]
async fn what_a_call_sees_after_its_first_change_is_audited_too() {
    each(async |_, store| {
        let (ctx, first, second) = (call("ana"), Uuid::now_v7(), Uuid::now_v7());
        write_about(&store, &ctx, first, &once("one")).await.unwrap();
        write_about(&store, &ctx, second, &once("two")).await.unwrap();
        for patient in [first, second] {
            assert!(
                !audit::accesses(&store, wanted(ORGANIZATION, patient)).await.unwrap().is_empty()
            );
        }
        let settled = ctx.record.is_settled();
        let select = Entity::of(&ctx);
        caseward_store::list(&store.read(&ctx), select).await.unwrap();
        assert!(settled && !ctx.record.is_settled());
    })
    .await;
}

#[tokio::test]
async fn the_log_verifies_until_it_is_touched() {
    let faults = [
        ("UPDATE audit SET subject = 'eve' WHERE seq = 2", 2),
        ("UPDATE audit SET at = at + 1 WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 2", 3),
        ("DELETE FROM audit WHERE seq = 1", 2),
        ("UPDATE audit SET seq = 99 WHERE seq = 4", 5),
    ];
    for (touch, place) in faults {
        each(async |database, _| {
            // Each writer has a chain of its own; one is enough to touch.
            let settings = Settings { writers: 1, ..Settings::new(&database.url) };
            let store = Store::open::<note::Migrator>(&settings).await.unwrap();
            for n in 0..5 {
                let request = fresh(&format!("{touch} {n}"));
                write_about(&store, &call("ana"), Uuid::now_v7(), &request).await.unwrap();
            }
            let db = aside(&database).await;
            let verdict = audit::verify(&store, &Heads::default()).await.unwrap();
            assert_eq!((verdict.entries, verdict.chains, verdict.faults), (5, 1, vec![]));
            db.execute_unprepared(touch).await.unwrap();
            let verdict = audit::verify(&store, &Heads::default()).await.unwrap();
            let [fault] = &verdict.faults[..] else { panic!("{touch}: {verdict:?}") };
            assert_eq!(fault.seq, place, "{touch}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_entry_slipped_in_is_found() {
    each(async |database, store| {
        write_about(&store, &call("ana"), Uuid::now_v7(), &fresh("one")).await.unwrap();
        let db = aside(&database).await;
        let slip = "INSERT INTO audit SELECT chain, seq + 1, record, phase, at, organization, subject, \
                    roles, method, purpose, patients, rows, outcome, hash FROM audit";
        db.execute_unprepared(slip).await.unwrap();
        let verdict = audit::verify(&store, &Heads::default()).await.unwrap();
        assert_eq!(verdict.faults.len(), 1);
        assert_eq!(verdict.faults[0].seq, 2);
    })
    .await;
}

#[tokio::test]
async fn many_writers_and_starts_leave_whole_chains() {
    each(async |database, store| {
        for round in 0..3 {
            let store = if round == 0 { store.clone() } else { open(&database).await };
            let writes: Vec<_> = (0..60)
                .map(|n| {
                    let (store, request) = (store.clone(), fresh(&format!("{round} {n}")));
                    tokio::spawn(async move {
                        write_about(&store, &call("ana"), Uuid::now_v7(), &request).await
                    })
                })
                .collect();
            for write in writes {
                write.await.unwrap().unwrap();
            }
        }
        let verdict = audit::verify(&store, &Heads::default()).await.unwrap();
        assert_eq!((verdict.entries, verdict.faults), (180, vec![]));
        assert!(verdict.chains >= 3);
    })
    .await;
}

fn wanted(organization: Uuid, patient: Uuid) -> audit::Wanted {
    let (actor, from, until, before) = (String::new(), None, None, None);
    audit::Wanted { organization, patient, actor, from, until, before, most: 10 }
}
