//! The way to a channel: failures by class, fallback, time, replicas, and processes that die.
use caseward_api::{
    careplan::v1::CaseMarkedInError,
    notification::v1::{
        self as pb, Channel::Email, delivery_attempt::Outcome, message::State, recipient::Who,
    },
};
use caseward_core::Ctx;
use caseward_server::{LOCAL_ORGANIZATION, settings::Layers};
use caseward_store::Store;
use caseward_testkit::{Answer, Database, Smtp, databases};
use sea_orm::ConnectionTrait;
use time::Duration;
use tonic::Code;
use uuid::Uuid;

use crate::{
    events::tell,
    suite::{ANA, Suite},
};

fn to(patient: &str) -> Who {
    Who::Patient(patient.to_owned())
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        suite.refuse("451 4.3.0 try later");
        let message = suite.told(to(&patient), &[Email]).await;
        assert_eq!(message.state(), State::SoftFailed);
        let [attempt] = &message.attempts[..] else { panic!("one attempt") };
        assert_eq!((attempt.outcome(), attempt.retryable), (Outcome::Temporary, true));
        let next = attempt.next_attempt_time.unwrap();
        let wait = next.seconds - attempt.attempt_time.unwrap().seconds;
        assert!((45..=75).contains(&wait), "{wait}");
        suite.smtp.answer(Answer::Accept);
        suite.advance(Duration::seconds(44)).await;
        assert!(suite.smtp.mails().is_empty());
        suite.advance(Duration::seconds(40)).await;
        assert_eq!(suite.get(&message.name).await.state(), State::Sent);
        assert_eq!(suite.smtp.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_mail_sent_again_can_be_recognized() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        suite.smtp.answer(Answer::LoseAnswer);
        let message = suite.told(to(&patient), &[Email]).await;
        assert_eq!(message.attempts[0].outcome(), Outcome::Unreachable);
        suite.smtp.answer(Answer::Accept);
        suite.advance(Duration::minutes(2)).await;
        assert_eq!(suite.get(&message.name).await.state(), State::Sent);
        let mails = suite.smtp.mails();
        let ids: Vec<String> = mails.iter().filter_map(|mail| mail.header("Message-ID")).collect();
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    }
}

#[tokio::test]
async fn what_fails_for_good_goes_another_way_or_to_a_person() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        suite.refuse("550 5.1.1 no such user");
        let message = suite.told(to(&patient), &[]).await;
        assert_eq!(message.state(), State::Delivered);
        let outcomes: Vec<Outcome> = message.attempts.iter().map(|one| one.outcome()).collect();
        assert_eq!(outcomes, [Outcome::BadAddress, Outcome::Accepted]);
        assert_eq!(suite.inbox("pat/patient").await.len(), 1);

        let nowhere = suite.patients.add(|_| {});
        let message = suite.told(to(&nowhere), &[Email]).await;
        assert_eq!(message.state(), State::HardFailed);
        // A channel that never gets better is given up after a while, too.
        suite.refuse("451 4.3.0 try later");
        let other = suite.patients.add(|_| {});
        let message = suite.told(to(&other), &[Email]).await;
        suite.advance(Duration::hours(8)).await;
        let message = suite.get(&message.name).await;
        assert_eq!((message.state(), message.attempts.len()), (State::HardFailed, 5));
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_message_that_nobody_sent_yet_can_be_cancelled() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        let later = suite.process.clock.now() + Duration::hours(1);
        let message = suite.send_with(to(&patient), &[], |m| m.due_time = Some(later.into())).await;
        let ask = pb::CancelMessageRequest {
            name: message.name.clone(),
            etag: message.etag.clone(),
            ..Default::default()
        };
        let reply = suite.messages().cancel_message(suite.by(ANA, ask.clone())).await.unwrap();
        assert_eq!(reply.into_inner().state(), State::Cancelled);
        let stale = suite.messages().cancel_message(suite.by(ANA, ask.clone())).await;
        assert_eq!(stale.unwrap_err().code(), Code::Aborted);
        let etag = suite.get(&message.name).await.etag;
        let again = pb::CancelMessageRequest { etag, ..ask };
        let refused = suite.messages().cancel_message(suite.by(ANA, again)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        suite.advance(Duration::hours(2)).await;
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn what_is_of_no_use_any_more_is_not_sent() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        suite.until("2026-01-06T02:30:00Z").await;
        let soon = suite.process.clock.now() + Duration::hours(3);
        let message =
            suite.send_with(to(&patient), &[Email], |m| m.expire_time = Some(soon.into())).await;
        suite.settle().await;
        assert_eq!(suite.get(&message.name).await.state(), State::Scheduled);
        suite.advance(Duration::hours(3)).await;
        assert_eq!(suite.get(&message.name).await.state(), State::Expired);
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_message_whose_sender_died_is_sent_once_more_and_never_again() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        let mut sent = vec![];
        for interrupted in [false, true] {
            let later = suite.process.clock.now() + Duration::minutes(1);
            let purpose = format!("died-{interrupted}");
            let message = suite
                .send_with(to(&patient), &[Email], |m| {
                    m.due_time = Some(later.into());
                    m.purpose = purpose;
                })
                .await;
            die(&suite, &message.name, interrupted).await;
            suite.advance(Duration::minutes(1)).await;
            sent.push(suite.get(&message.name).await);
        }
        assert_eq!(sent[0].state(), State::Sent);
        assert_eq!(sent[1].state(), State::HardFailed);
        assert_eq!(suite.smtp.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_message_whose_sender_died_is_like_any_other_at_night() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let patient = suite.patients.add(|_| {});
        let mut held = vec![];
        for (n, interrupted) in [false, false, true].into_iter().enumerate() {
            let later = suite.process.clock.now() + Duration::minutes(1);
            let message = suite
                .send_with(to(&patient), &[Email], |m| {
                    m.due_time = Some(later.into());
                    m.purpose = format!("died-{n}");
                })
                .await;
            die(&suite, &message.name, interrupted).await;
            held.push(message.name);
        }
        suite.advance(Duration::minutes(1)).await;
        let [cancelled, sent, lost] = &held[..] else { panic!("three messages") };
        assert_eq!(suite.get(lost).await.state(), State::HardFailed, "nothing is sent any more");
        let waits = suite.get(cancelled).await;
        assert_eq!(waits.state(), State::Scheduled);
        let ask =
            pb::CancelMessageRequest { name: waits.name, etag: waits.etag, ..Default::default() };
        suite.messages().cancel_message(suite.by(ANA, ask)).await.unwrap();
        // And when another process dies in the morning, it is not sent a third time.
        die(&suite, sent, true).await;
        suite.until("2026-01-06T13:00:00Z").await;
        assert_eq!(suite.get(cancelled).await.state(), State::Cancelled);
        assert_eq!(suite.get(sent).await.state(), State::HardFailed);
        assert!(suite.smtp.mails().is_empty());
    }
}

fn never_was(case: &str, patient: &str) -> CaseMarkedInError {
    CaseMarkedInError { case: case.to_owned(), patient: patient.to_owned(), revision: 2 }
}

#[tokio::test]
async fn a_message_whose_sender_died_is_not_sent_once_its_cause_ended() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), format!("cases/{}", Uuid::now_v7()));
        let later = suite.process.clock.now() + Duration::minutes(1);
        let message = suite
            .send_with(to(&patient), &[Email], |m| {
                m.due_time = Some(later.into());
                m.case = case.clone();
            })
            .await;
        die(&suite, &message.name, false).await;
        tell(&suite, &case, never_was(&case, &patient)).await;
        assert_eq!(suite.get(&message.name).await.state(), State::Cancelled);
        suite.advance(Duration::hours(1)).await;
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_message_whose_cause_ends_while_it_is_sent_is_not_tried_again() {
    for database in databases().await {
        let suite = Suite::with(database, Smtp::start().await, |all| {
            all.with("notification.smtp.timeout_seconds", 3)
        })
        .await;
        let (patient, case) = (suite.patients.add(|_| {}), format!("cases/{}", Uuid::now_v7()));
        suite.smtp.answer(Answer::Hang);
        let message = suite.send_with(to(&patient), &[], |m| m.case = case.clone()).await;
        let ends = async {
            while suite.get(&message.name).await.state() == State::Drafted {}
            tell(&suite, &case, never_was(&case, &patient)).await;
        };
        tokio::join!(suite.settle(), ends);
        suite.smtp.answer(Answer::Accept);
        suite.advance(Duration::hours(1)).await;
        let message = suite.get(&message.name).await;
        assert_eq!((message.state(), message.attempts.len()), (State::Cancelled, 1));
        assert_eq!(message.attempts[0].next_attempt_time, None);
        assert!(suite.smtp.mails().is_empty());
    }
}

/// Leaves `message` as a process leaves it that dies between claiming and recording.
async fn die(suite: &Suite, message: &str, interrupted: bool) {
    let layers = Layers::load(None, &[caseward_notification::DEFAULTS])
        .and_then(|all| all.with("notification.database", suite.database.url.as_str()))
        .unwrap();
    let settings = layers.section(caseward_notification::NAME).unwrap();
    let store: Store =
        caseward_notification::open(&settings, &layers.common().unwrap()).await.unwrap();
    let ctx = Ctx::task("test", "die", LOCAL_ORGANIZATION, suite.process.clock.clone());
    let id = Uuid::parse_str(message.rsplit('/').next().unwrap()).unwrap();
    let id =
        if suite.database.is_sqlite() { format!("x'{}'", id.simple()) } else { format!("'{id}'") };
    let sql = format!(
        "UPDATE message SET state = 'QUEUED', claimed_at = 1, interrupted = {interrupted} WHERE id = {id}"
    );
    let work = move |tx: caseward_store::Tx| {
        let sql = sql.clone();
        async move {
            assert_eq!(tx.db.execute_unprepared(&sql).await?.rows_affected(), 1);
            Ok(())
        }
    };
    store.task(&ctx, work).await.unwrap();
}

#[tokio::test]
async fn two_replicas_send_a_message_once() {
    for database in databases().await {
        let one = Suite::start(database.clone()).await;
        let two = Suite::start(database).await;
        for n in 0..20 {
            let name = one.patients.add(|_| {});
            two.patients.share(&one.patients, &name);
            let purpose = format!("twice-{n}");
            one.send_with(to(&name), &[Email], |message| message.purpose = purpose).await;
        }
        tokio::join!(one.settle(), two.settle());
        assert_eq!(one.smtp.mails().len() + two.smtp.mails().len(), 20);
        let states: Vec<State> = one.all().await.iter().map(|message| message.state()).collect();
        assert_eq!(states, [State::Sent; 20]);
    }
}

#[tokio::test]
async fn two_replicas_together_keep_to_what_is_enough() {
    for database in databases().await {
        let one = Suite::start(database.clone()).await;
        let two = Suite::start(database).await;
        let patient = one.patients.add(|_| {});
        two.patients.share(&one.patients, &patient);
        let soon = Duration::minutes(1);
        let due = Some((one.process.clock.now() + soon).into());
        for n in 0..8 {
            let with = |message: &mut pb::Message| {
                message.due_time = due;
                message.purpose = format!("many-{n}");
            };
            one.send_with(to(&patient), &[Email], with).await;
        }
        tokio::join!(one.advance(soon), two.advance(soon));
        assert_eq!(one.smtp.mails().len() + two.smtp.mails().len(), 5);
    }
}

#[tokio::test]
async fn mail_goes_over_tls_to_a_server_that_proves_itself() {
    let smtp = Smtp::start_tls().await;
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("authority.pem");
    std::fs::write(&pem, smtp.certificate().unwrap()).unwrap();
    let pem = pem.to_str().unwrap().to_owned();
    let suite = Suite::with(Database::sqlite(), smtp, move |all| {
        all.with("notification.smtp.host", "localhost")?
            .with("notification.smtp.tls", "starttls")?
            .with("notification.smtp.authorities", pem)
    })
    .await;
    let patient = suite.patients.add(|_| {});
    assert_eq!(suite.told(to(&patient), &[Email]).await.state(), State::Sent);
    assert!(suite.smtp.mails()[0].encrypted);

    let suite = Suite::with(Database::sqlite(), Smtp::start_tls().await, |all| {
        all.with("notification.smtp.host", "localhost")?.with("notification.smtp.tls", "starttls")
    })
    .await;
    let patient = suite.patients.add(|_| {});
    let message = suite.told(to(&patient), &[Email]).await;
    assert_eq!(message.attempts[0].outcome(), Outcome::Unreachable);
    assert!(suite.smtp.mails().is_empty());
}
