//! What may be told to whom over what: consent, choice, scope, language, quiet hours, caps.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis},
    notification::v1::{
        Channel,
        Channel::{Email, Inbox},
        Message,
        message::{State, Suppression},
        recipient::Who,
    },
    patient::v1::{
        self as patient, CaregiverScope, RelatedPerson,
        caregiver_scope::{LegalBasis, Topic},
        consent::{self, Decision},
    },
    types::v1::{ContactPoint, contact_point},
};
use caseward_testkit::databases;
use uuid::Uuid;

use crate::{
    patients::{consent, email},
    suite::Suite,
};

fn to(patient: &str) -> Who {
    Who::Patient(patient.to_owned())
}

#[tokio::test]
async fn an_email_says_little_in_the_recipients_language() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        for (language, spoken, subject) in [
            ("es-MX", "en", "Un vistazo a su plan"),
            ("fr", "fr", "A look at your plan"),
            ("", "es", "Un vistazo a su plan"),
        ] {
            let patient = suite.patients.add(|known| {
                known.preference.language = language.to_owned();
                known.patient.communications = vec![patient::Communication {
                    language: spoken.to_owned(),
                    interpreter: false,
                }];
            });
            let sent = suite.told(to(&patient), &[]).await;
            assert_eq!((sent.state(), &sent.content), (State::Sent, &None), "{language}");
            let mail = suite.smtp.mails().pop().unwrap();
            assert_eq!(mail.header("Subject").unwrap(), subject);
            assert_eq!(mail.to, ["pat@example.org"]);
            let id = sent.name.rsplit('/').next().unwrap();
            assert!(mail.header("Message-ID").unwrap().contains(id));
            assert!(mail.text.contains("http://127.0.0.1:8080"));
        }
    }
}

#[tokio::test]
async fn what_somebody_does_not_want_or_allow_is_not_sent() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let opted_out = suite.patients.add(|known| {
            known.preference.opted_out_channels = vec![patient::Channel::Email.into()];
        });
        let told = suite.told(to(&opted_out), &[Email]).await;
        assert_eq!((told.state(), told.suppression()), (State::Suppressed, Suppression::OptedOut));
        // Without a word about channels the inbox is left.
        let told = suite.told(to(&opted_out), &[]).await;
        assert_eq!(told.state(), State::Delivered);

        let silent = suite.patients.add(|known| known.consents.clear());
        let told = suite.told(to(&silent), &[Email]).await;
        assert_eq!(told.suppression(), Suppression::NoConsent);
        let ended = suite.patients.add(|known| {
            let start = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
            let end = Some(prost_types::Timestamp { seconds: 2, nanos: 0 });
            known.consents[0].period = Some(caseward_api::types::v1::Period { start, end });
        });
        assert_eq!(suite.told(to(&ended), &[Email]).await.suppression(), Suppression::NoConsent);
        let inbox_only = suite.patients.add(|known| {
            known.consents[0].channels = vec![patient::Channel::Sms.into()];
        });
        let told = suite.told(to(&inbox_only), &[Email]).await;
        assert_eq!(told.suppression(), Suppression::NoConsent);

        let dead = suite.patients.add(|known| known.patient.deceased = true);
        assert_eq!(suite.told(to(&dead), &[]).await.suppression(), Suppression::Deceased);
        let nowhere = suite.patients.add(|known| {
            known.patient.telecoms.clear();
            known.patient.subject.clear();
        });
        assert_eq!(suite.told(to(&nowhere), &[]).await.suppression(), Suppression::NoAddress);
        let nobody = format!("patients/{}", Uuid::now_v7());
        assert_eq!(suite.told(to(&nobody), &[]).await.suppression(), Suppression::NoAddress);
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_patient_hears_what_they_and_those_who_speak_for_them_agreed_to() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let revoked = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let (sent, silent) = (Suppression::Unspecified, Suppression::NoConsent);
        use Decision::{Deny, Permit};
        use LegalBasis::{Guardian, HealthCareProxy, Parent, PatientPermission};
        for (their_own, basis, revoke_time, decision, told) in [
            (true, Some(PatientPermission), None, Deny, sent),
            (true, None, None, Deny, sent),
            (true, Some(Guardian), revoked, Deny, sent),
            (true, Some(Guardian), None, Deny, silent),
            (false, Some(PatientPermission), None, Permit, silent),
            (false, None, None, Permit, silent),
            (false, Some(HealthCareProxy), revoked, Permit, silent),
            (false, Some(HealthCareProxy), None, Permit, sent),
            (false, Some(Parent), None, Permit, sent),
        ] {
            let patient = suite.patients.add(|known| {
                let name = format!("{}/relatedPersons/{}", known.patient.name, Uuid::now_v7());
                if !their_own {
                    known.consents.clear();
                }
                let mut word = consent(&name, consent::Type::Messaging);
                word.decision = decision.into();
                known.consents.push(word);
                let scope = basis.map(|basis| CaregiverScope {
                    legal_basis: basis.into(),
                    revoke_time,
                    ..Default::default()
                });
                known.related.push(RelatedPerson { name, scope, ..Default::default() });
            });
            let message = suite.told(to(&patient), &[Email]).await;
            assert_eq!(message.suppression(), told, "{basis:?} {revoke_time:?} {decision:?}");
        }
    }
}

#[tokio::test]
async fn mail_goes_to_the_address_that_is_preferred() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let ranked = |value: &str, rank: i32| ContactPoint { rank, ..email(value) };
        let old = contact_point::Use::Old.into();
        for telecoms in [
            vec![
                ranked("any@example.org", 0),
                ranked("2@example.org", 2),
                ranked("to@example.org", 1),
            ],
            vec![
                ContactPoint { r#use: old, ..ranked("old@example.org", 1) },
                ranked("to@example.org", 2),
            ],
            vec![ranked("to@example.org", 3), ranked("3@example.org", 3)],
            vec![ranked("to@example.org", 0), ranked("any@example.org", 0)],
        ] {
            let patient = suite.patients.add(|known| known.patient.telecoms = telecoms);
            assert_eq!(suite.told(to(&patient), &[Email]).await.state(), State::Sent);
            assert_eq!(suite.smtp.mails().pop().unwrap().to, ["to@example.org"]);
        }
    }
}

#[tokio::test]
async fn a_caregiver_hears_what_their_scope_holds() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|known| {
            for (n, scope) in scopes().into_iter().enumerate() {
                known.related.push(RelatedPerson {
                    name: format!(
                        "{}/relatedPersons/{}",
                        known.patient.name,
                        Uuid::from_u128(n as u128)
                    ),
                    telecoms: vec![email("carer@example.org")],
                    scope,
                    ..Default::default()
                });
            }
        });
        let mut told = vec![];
        for n in 0..scopes().len() {
            let name = format!("{patient}/relatedPersons/{}", Uuid::from_u128(n as u128));
            told.push(suite.told(Who::RelatedPerson(name), &[Email]).await);
        }
        let states: Vec<State> = told.iter().map(|message| message.state()).collect();
        use State::{Sent, Suppressed};
        assert_eq!(states, [Sent, Suppressed, Suppressed, Suppressed, Suppressed]);
        for refused in &told[1..] {
            assert_eq!(refused.suppression(), Suppression::OutOfScope);
        }
    }
}

/// One that holds the plan over email; another topic, another channel, a revoked one, none.
fn scopes() -> Vec<Option<CaregiverScope>> {
    let scope = |topic: Topic, channel: patient::Channel| CaregiverScope {
        topics: vec![topic.into()],
        channels: vec![channel.into()],
        ..Default::default()
    };
    let good = scope(Topic::Plan, patient::Channel::Email);
    let revoke_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    vec![
        Some(good.clone()),
        Some(scope(Topic::Medication, patient::Channel::Email)),
        Some(scope(Topic::Plan, patient::Channel::Sms)),
        Some(CaregiverScope { revoke_time, ..good }),
        None,
    ]
}

#[tokio::test]
async fn nobody_is_disturbed_at_night() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        // Half past nine in the evening in New York; the afternoon in Honolulu.
        suite.until("2026-01-06T02:30:00Z").await;
        let york = suite.patients.add(|_| {});
        let held = suite.told(to(&york), &[Email]).await;
        assert_eq!(held.state(), State::Scheduled);
        let morning = caseward_core::Time::parse("2026-01-06T13:00:00Z").unwrap();
        assert_eq!(held.due_time, Some(morning.into()));
        let honolulu = suite.patients.add(|known| {
            known.preference.time_zone = "Pacific/Honolulu".to_owned();
        });
        assert_eq!(suite.told(to(&honolulu), &[Email]).await.state(), State::Sent);
        // Their own hours stand before ours, and the inbox wakes nobody.
        let owl = suite.patients.add(|known| {
            known.preference.quiet_start = "02:00".to_owned();
            known.preference.quiet_end = "11:00".to_owned();
        });
        assert_eq!(suite.told(to(&owl), &[Email]).await.state(), State::Sent);
        let other = suite.patients.add(|_| {});
        assert_eq!(suite.told(to(&other), &[Inbox]).await.state(), State::Delivered);

        suite.until("2026-01-06T12:59:59Z").await;
        assert_eq!(suite.get(&held.name).await.state(), State::Scheduled);
        suite.until("2026-01-06T13:00:00Z").await;
        assert_eq!(suite.get(&held.name).await.state(), State::Sent);
        assert_eq!(suite.smtp.mails().len(), 3);
    }
}

#[tokio::test]
async fn whoever_is_named_by_how_they_sign_in_is_judged_as_who_they_are() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let luz = RelatedPerson {
            subject: "luz".to_owned(),
            communications: vec![patient::Communication {
                language: "es".to_owned(),
                interpreter: false,
            }],
            ..Default::default()
        };
        let rosa = suite.patients.add(|known| {
            known.patient.subject = "rosa".to_owned();
            known.patient.telecoms = vec![email("rosa@example.org")];
            known.preference.language = "es".to_owned();
            known.preference.opted_out_channels = vec![patient::Channel::Inbox.into()];
            let name = format!("{}/relatedPersons/{}", known.patient.name, Uuid::now_v7());
            known.related.push(RelatedPerson { name, ..luz });
        });
        let send = async |subject: &str, about: &str, channels: &[Channel]| {
            let with = |message: &mut Message| {
                message.patient = about.to_owned();
                message.purpose = format!("p-{}", Uuid::now_v7());
            };
            let sent = suite.send_with(Who::Subject(subject.to_owned()), channels, with).await;
            suite.settle().await;
            let message = suite.get(&sent.name).await;
            (message.state(), message.suppression(), message.language)
        };
        let suppressed = |why| (State::Suppressed, why, String::new());
        let delivered = (State::Delivered, Suppression::Unspecified, "en".to_owned());

        // The patient wants nothing in the inbox, and what goes out is in their language.
        assert_eq!(send("rosa", &rosa, &[]).await, suppressed(Suppression::OptedOut));
        let mailed = send("rosa", &rosa, &[Email]).await;
        assert_eq!(mailed, (State::Sent, Suppression::Unspecified, "es".to_owned()));
        assert_eq!(suite.smtp.mails()[0].to, ["rosa@example.org"]);
        // The daughter hears what she was granted, and nothing before.
        assert_eq!(send("luz", &rosa, &[]).await, suppressed(Suppression::OutOfScope));
        suite.patients.change(&rosa, |known| {
            known.related[0].scope = Some(CaregiverScope {
                topics: vec![Topic::Plan.into()],
                channels: vec![patient::Channel::Inbox.into()],
                ..Default::default()
            });
        });
        let told = send("luz", &rosa, &[]).await;
        assert_eq!(told, (State::Delivered, Suppression::Unspecified, "es".to_owned()));

        // Whoever works on it is told as such, whatever they prefer as a patient; and where somebody is named without
        // a word of the patient they are, the sender is not told what that patient prefers.
        let other = suite.patients.add(|_| {});
        let relate = async |subject: &str, patient: &str, basis: Basis| {
            let related = RelationChanged {
                subject: subject.to_owned(),
                patient: patient.to_owned(),
                basis: basis.into(),
                revision: 1,
                source: format!("{patient}/relatedPersons/{}", Uuid::now_v7()),
                ..Default::default()
            };
            suite
                .elsewhere(move |tx| {
                    tx.emit("somebody", 1, &related);
                    async { Ok(()) }
                })
                .await;
            suite.settle().await;
        };
        assert_eq!(send("bob", &other, &[]).await, delivered);
        assert_eq!(send("rosa", "", &[]).await, delivered, "nobody says yet who rosa is");
        relate("rosa", &rosa, Basis::Self_).await;
        assert_eq!(send("rosa", "", &[]).await, suppressed(Suppression::NoAddress));
        assert_eq!(send("rosa", &other, &[]).await, suppressed(Suppression::NoAddress));
        relate("rosa", &other, Basis::Team).await;
        assert_eq!(send("rosa", &other, &[]).await, delivered);
    }
}

#[tokio::test]
async fn consent_counts_as_it_is_when_the_time_comes() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let patient = suite.patients.add(|_| {});
        let held = suite.told(to(&patient), &[Email]).await;
        assert_eq!(held.state(), State::Scheduled);
        suite.patients.change(&patient, |known| known.consents.clear());
        suite.until("2026-01-06T13:00:00Z").await;
        let held = suite.get(&held.name).await;
        assert_eq!((held.state(), held.suppression()), (State::Suppressed, Suppression::NoConsent));
        assert!(suite.smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn enough_is_enough() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        let mut last = vec![];
        for n in 0..6 {
            let purpose = format!("reminder-{n}");
            let sent =
                suite.send_with(to(&patient), &[Email], |message| message.purpose = purpose).await;
            suite.settle().await;
            last.push(suite.get(&sent.name).await);
        }
        assert!(last[..5].iter().all(|message| message.state() == State::Sent));
        assert_eq!(last[5].suppression(), Suppression::CapReached);
        // The same said twice is said once.
        suite.advance(time::Duration::hours(25)).await;
        assert_eq!(suite.told(to(&patient), &[Inbox]).await.state(), State::Delivered);
        assert_eq!(suite.told(to(&patient), &[Inbox]).await.suppression(), Suppression::Duplicate);
    }
}

#[tokio::test]
async fn enough_is_enough_of_what_comes_due_at_once_too() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let patient = suite.patients.add(|_| {});
        for n in 0..8 {
            let purpose = format!("reminder-{n}");
            suite.send_with(to(&patient), &[Email], |message| message.purpose = purpose).await;
        }
        suite.settle().await;
        assert!(suite.all().await.iter().all(|one| one.state() == State::Scheduled), "it is night");
        suite.until("2026-01-06T13:00:00Z").await;
        let all = suite.all().await;
        let count = |why| all.iter().filter(|message| message.suppression() == why).count();
        assert_eq!((suite.smtp.mails().len(), count(Suppression::CapReached)), (5, 3));
    }
}

#[tokio::test]
async fn the_same_sent_twice_at_once_is_said_once() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        for (channel, taken) in [(Email, State::Sent), (Inbox, State::Delivered)] {
            let patient = suite.patients.add(|_| {});
            let due = Some((suite.process.clock.now() + time::Duration::minutes(1)).into());
            let with = |message: &mut Message| message.due_time = due;
            let one = suite.send_with(to(&patient), &[channel], with).await;
            let two = suite.send_with(to(&patient), &[channel], with).await;
            suite.advance(time::Duration::minutes(1)).await;
            let mut became = vec![];
            for name in [one.name, two.name] {
                let message = suite.get(&name).await;
                became.push((message.state(), message.suppression()));
            }
            became.sort();
            let said = (taken, Suppression::Unspecified);
            assert_eq!(became, [said, (State::Suppressed, Suppression::Duplicate)]);
        }
        assert_eq!(suite.smtp.mails().len(), 1);
    }
}
