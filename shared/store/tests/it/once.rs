//! A request sent twice acts once; a group of requests commits, and each member answers for itself.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use caseward_core::{Clock, Ctx, Error, Reach, Time};
use caseward_store::{
    Basis, Tx, audit, etag,
    relation::{self, Topic},
};
use sea_orm::{ConnectionTrait, EntityTrait, sea_query::Expr};
use tonic::Code;
use uuid::Uuid;

use crate::{
    ORGANIZATION,
    abandoned::record_of,
    aside, call, call_in, each,
    note::{self, Answer, Write, fresh, once, send, write, write_about},
    number, open,
    scope::{relate, relate_ana},
};

#[tokio::test]
async fn a_request_sent_again_gets_its_first_answer() {
    each(async |_, store| {
        let request = fresh("one");
        let first = write(&store, &call("ana"), &request).await.unwrap();
        let second = write(&store, &call("ana"), &request).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(note::titles(&store, &call("ana")).await, ["one"]);
    })
    .await;
}

#[tokio::test]
async fn an_id_of_a_request_is_good_for_that_request_only() {
    each(async |_, store| {
        let request = fresh("one");
        write(&store, &call("ana"), &request).await.unwrap();
        let other = Write { title: "two".to_owned(), ..request.clone() };
        let refused = write(&store, &call("ana"), &other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(matches!(refused, Error::Invalid(all) if all[0].field == "request_id"));
        // Another caller and another tenant know nothing of it.
        write(&store, &call("ben"), &other).await.unwrap();
        let elsewhere = call_in(Uuid::from_u128(2), "ana", Reach::Organization);
        write(&store, &elsewhere, &request).await.unwrap();
        let senseless = Write { request_id: "1".to_owned(), ..request };
        let refused = write(&store, &call("ana"), &senseless).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again() {
    each(async |_, store| {
        let request = fresh("one");
        let refused = send(&store, request.clone(), |_| async { Err(note::refusal()) }).await;
        assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
        write(&store, &call("ana"), &request).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_reply_is_forgotten_after_a_day_and_not_before() {
    each(async |_, store| {
        let (request, ctx) = (fresh("one"), call("ana"));
        let first = write(&store, &ctx, &request).await.unwrap();
        store.sweep(&Clock::simulated(ctx.now() + time::Duration::hours(24))).await.unwrap();
        assert_eq!(write(&store, &ctx, &request).await.unwrap(), first);
        store.sweep(&Clock::simulated(ctx.now() + time::Duration::hours(26))).await.unwrap();
        let again = write(&store, &ctx, &request).await.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists);
    })
    .await;
}

#[tokio::test]
async fn a_process_whose_clock_is_ahead_forgets_no_reply_that_others_go_by() {
    each(async |database, store| {
        let call = || Ctx { clock: Clock::System, ..call("ana") };
        let request = fresh("one");
        let first = write(&store, &call(), &request).await.unwrap();
        // To a clock that is 30 hours ahead all that is on record is so old.
        let (db, ahead) = (aside(&database).await, time::Duration::hours(30));
        let micros = ahead.whole_microseconds();
        let age = format!("UPDATE replay SET created_at = created_at - {micros}");
        db.execute_unprepared(&age).await.unwrap();
        audit::Entity::update_many()
            .col_expr(audit::Column::Record, Expr::value(record_of(ahead)))
            .exec(&db)
            .await
            .unwrap();
        open(&database).await.sweep(&Clock::System).await.unwrap();
        assert_eq!(write(&store, &call(), &request).await.unwrap(), first);
        // By now there is what others wrote today.
        open(&database).await.sweep(&Clock::System).await.unwrap();
        let again = write(&store, &call(), &request).await.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists);
    })
    .await;
}

/// A call by ana, who sees the patients to whom she is related, at the time of `clock`.
fn related(clock: &Clock) -> Ctx {
    Ctx { clock: clock.clone(), ..call_in(ORGANIZATION, "ana", Reach::Related) }
}

#[tokio::test]
async fn an_answer_is_not_given_again_to_somebody_who_was_let_go() {
    each(async |_, store| {
        let boss = call("boss");
        let (patient, source, now) = (Uuid::now_v7(), Uuid::now_v7(), boss.now());
        let relate = async |revision: i64, ends_at: Option<Time>| {
            relate_ana(&store, &boss, (source, revision), patient, (now, ends_at), now).await;
        };
        relate(1, None).await;
        let request = fresh("one");
        let send = async |ctx: &Ctx| write_about(&store, ctx, patient, &request).await;
        let first = send(&related(&boss.clock)).await.unwrap();
        assert_eq!(send(&related(&boss.clock)).await.unwrap(), first);
        relate(2, Some(now)).await;
        let ana = related(&boss.clock);
        assert_eq!(send(&ana).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(ana.record.rows(), 0);
        // Who sees the whole organization was not let go by that.
        assert_eq!(send(&call("ana")).await.unwrap(), first);
        relate(3, None).await;
        assert_eq!(send(&related(&boss.clock)).await.unwrap(), first);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_given_again_to_whoever_let_themselves_go_by_the_request() {
    each(async |_, store| {
        let boss = call("boss");
        let (patient, source, now) = (Uuid::now_v7(), Uuid::now_v7(), boss.now());
        relate_ana(&store, &boss, (source, 1), patient, (now, None), now).await;
        let before = fresh("before");
        write_about(&store, &related(&boss.clock), patient, &before).await.unwrap();
        let leave = fresh("leave");
        let send = async || -> caseward_core::Result<Answer> {
            let work = move |tx: Tx| async move {
                let ended = relation::Model {
                    source,
                    organization: ORGANIZATION,
                    subject: "ana".to_owned(),
                    patient,
                    basis: Basis::Team,
                    starts_at: now,
                    ends_at: Some(tx.ctx.now()),
                    revision: 2,
                    topics: 0,
                    narrowed_at: None,
                };
                relation::put(&tx, ended, tx.ctx.now()).await?;
                note::create(tx, patient, "leave".to_owned()).await
            };
            store.write(&related(&boss.clock), &leave, work).await
        };
        let first = send().await.unwrap();
        assert_eq!(send().await.unwrap(), first);
        let gone = write_about(&store, &related(&boss.clock), patient, &before).await;
        assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_not_given_again_to_somebody_who_sees_less_than_then() {
    each(async |_, store| {
        let boss = call("boss");
        let (patient, began) = (Uuid::now_v7(), boss.now());
        let (scope, team) = (Uuid::now_v7(), Uuid::now_v7());
        let see_as = async |subject: &str, revision: i64, topics: &[Topic]| {
            let row = relation::Model {
                source: scope,
                organization: ORGANIZATION,
                subject: subject.to_owned(),
                patient,
                basis: Basis::Caregiver,
                starts_at: began,
                ends_at: None,
                revision,
                topics: relation::set(topics.iter().copied()),
                narrowed_at: None,
            };
            relate(&store, &boss, row, boss.clock.advance(time::Duration::minutes(1))).await;
        };
        let see = async |revision: i64, topics: &[Topic]| see_as("ana", revision, topics).await;
        let ana = || related(&boss.clock);
        let send = async |request: &Write| write_about(&store, &ana(), patient, request).await;
        let is_gone = async |request: &Write| {
            let sent = send(request).await;
            sent.is_err_and(|error| error.code() == Code::NotFound)
        };

        see(1, &[Topic::Plan, Topic::Notes]).await;
        let first = fresh("first");
        let answer = send(&first).await.unwrap();
        see(2, &[Topic::Plan, Topic::Notes, Topic::Schedule]).await;
        assert_eq!(send(&first).await.unwrap(), answer, "she sees more than then");
        see(3, &[Topic::Plan, Topic::Schedule]).await;
        assert!(is_gone(&first).await, "of notes she sees nothing any more");
        let second = fresh("second");
        let answer = send(&second).await.unwrap();
        assert_eq!(send(&second).await.unwrap(), answer);
        see(4, &[Topic::Plan, Topic::Schedule, Topic::Notes]).await;
        assert!(is_gone(&first).await, "what was between is not known");

        // On the team she sees all, until she leaves it.
        let now = boss.now();
        relate_ana(&store, &boss, (team, 1), patient, (now, None), now).await;
        assert!(!is_gone(&first).await);
        let third = fresh("third");
        send(&third).await.unwrap();
        let left = boss.clock.advance(time::Duration::minutes(1));
        relate_ana(&store, &boss, (team, 2), patient, (now, Some(left)), left).await;
        assert!(is_gone(&third).await, "it was told to a member of the team");
        assert_eq!(send(&second).await.unwrap(), answer);

        see_as("zoe", 5, &[Topic::Plan]).await;
        assert!(is_gone(&second).await, "zoe is who cares for the patient now");
        see(6, &[Topic::Plan, Topic::Schedule, Topic::Notes]).await;
        let fourth = fresh("fourth");
        let answer = send(&fourth).await.unwrap();
        assert_eq!(send(&fourth).await.unwrap(), answer, "it is she again");
    })
    .await;
}

#[tokio::test]
async fn a_member_of_a_group_that_fails_fails_alone() {
    each(async |database, store| {
        let writes = (0..40).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let request = fresh(&format!("note {n}"));
                let title = request.title.clone();
                let work = move |tx| {
                    let title = title.clone();
                    async move {
                        let row = note::create(tx, Uuid::nil(), title).await?;
                        match n % 10 {
                            3 => Err(note::refusal()),
                            7 => panic!("the work of a test panics"),
                            _ => Ok(row),
                        }
                    }
                };
                send(&store, request, work).await
            })
        });
        let writes: Vec<_> = writes.collect();
        for (n, write) in writes.into_iter().enumerate() {
            let outcome = write.await.unwrap().map_err(|error| error.code());
            match n % 10 {
                3 => assert_eq!(outcome.unwrap_err(), Code::FailedPrecondition),
                7 => assert_eq!(outcome.unwrap_err(), Code::Internal),
                _ => assert_eq!(outcome.unwrap().title, format!("note {n}")),
            }
        }
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 32);
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM replay").await, 32);
    })
    .await;
}

#[tokio::test]
async fn in_a_group_too_work_reads_and_changes_what_it_inserted() {
    each(async |database, store| {
        let writes = (0..40).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let request = fresh(&format!("draft {n}"));
                let title = request.title.clone();
                let work = move |tx: Tx| {
                    let title = title.clone();
                    async move {
                        let row = note::create(tx.clone(), Uuid::nil(), title).await?;
                        let tag = etag(row.revision);
                        note::rename(tx, row.id, format!("note {n}"), tag).await
                    }
                };
                send(&store, request, work).await
            })
        });
        for (n, write) in writes.collect::<Vec<_>>().into_iter().enumerate() {
            let answer = write.await.unwrap().unwrap();
            assert_eq!((answer.title, answer.revision), (format!("note {n}"), 2));
        }
        let renamed = "SELECT count(*) FROM note WHERE revision = 2 AND title LIKE 'note %'";
        assert_eq!(number(&aside(&database).await, renamed).await, 40);
    })
    .await;
}

#[tokio::test]
async fn of_a_group_that_wants_one_title_one_gets_it_and_the_others_learn_whose_it_is_not() {
    each(async |database, store| {
        let writes = (0..20).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { write(&store, &call("ana"), &fresh("one")).await })
        });
        let (mut given, mut refused) = (0, 0);
        for write in writes.collect::<Vec<_>>() {
            match write.await.unwrap() {
                Ok(_) => given += 1,
                Err(Error::AlreadyExists(name)) if name.starts_with("notes/") => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!((given, refused), (1, 19));
        let db = aside(&database).await;
        assert_eq!(number(&db, "SELECT count(*) FROM note").await, 1);
        assert_eq!(number(&db, "SELECT count(*) FROM replay").await, 1);
    })
    .await;
}

#[tokio::test]
async fn work_past_its_deadline_is_undone_and_holds_nobody_up() {
    each(async |database, store| {
        let mut ctx = call("ana");
        ctx.deadline = Instant::now() + Duration::from_millis(200);
        let request = once("one");
        let endless = store.write::<_, _, _, note::Model, Answer>(&ctx, &request, |tx| async {
            note::create(tx, Uuid::nil(), "one".to_owned()).await?;
            std::future::pending().await
        });
        assert_eq!(endless.await.unwrap_err().code(), Code::DeadlineExceeded);
        let late = write(&store, &ctx, &once("late")).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        write(&store, &call("ana"), &once("two")).await.unwrap();
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 1);
    })
    .await;
}

#[tokio::test]
async fn work_that_keeps_its_transaction_is_not_committed() {
    each(async |database, store| {
        let kept = Arc::new(std::sync::Mutex::new(None));
        let keep = kept.clone();
        let leak = send(&store, once("one"), move |tx| {
            *keep.lock().unwrap() = Some(tx.clone());
            note::create(tx, Uuid::nil(), "one".to_owned())
        });
        assert_eq!(leak.await.unwrap_err().code(), Code::Internal);
        kept.lock().unwrap().take();
        write(&store, &call("ana"), &once("two")).await.unwrap();
        assert_eq!(number(&aside(&database).await, "SELECT count(*) FROM note").await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_event_has_one_effect_per_consumer() {
    each(async |_, store| {
        let (event, runs) = (Uuid::now_v7(), Arc::new(AtomicU32::new(0)));
        for consumer in ["first", "second", "first", "second", "first"] {
            let runs = runs.clone();
            let effect = move |_| {
                let runs = runs.clone();
                async move {
                    runs.fetch_add(1, SeqCst);
                    Ok(())
                }
            };
            store.handle(&call("ana"), consumer, event, effect).await.unwrap();
        }
        assert_eq!(runs.load(SeqCst), 2);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_is_told_and_costs_no_later_change() {
    each(async |database, store| {
        let db = aside(&database).await;
        db.execute_unprepared("CREATE TABLE parent (id BIGINT PRIMARY KEY)").await.unwrap();
        let child =
            "CREATE TABLE child (id BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)";
        db.execute_unprepared(child).await.unwrap();
        for n in 0..3 {
            let orphan = send(&store, fresh("orphan"), |tx| async move {
                let row = note::create(tx.clone(), Uuid::nil(), "orphan".to_owned()).await?;
                tx.db.execute_unprepared("INSERT INTO child VALUES (1)").await?;
                Ok(row)
            });
            assert_eq!(orphan.await.unwrap_err().code(), Code::Internal);
            for m in 0..8 {
                write(&store, &call("ana"), &fresh(&format!("{n} {m}"))).await.unwrap();
            }
        }
        assert_eq!(number(&db, "SELECT count(*) FROM note").await, 24);
        assert_eq!(number(&db, "SELECT count(*) FROM child").await, 0);
        let verdict = caseward_store::audit::verify(&store, &Default::default()).await.unwrap();
        assert_eq!((verdict.entries, verdict.faults), (24, vec![]));
    })
    .await;
}
