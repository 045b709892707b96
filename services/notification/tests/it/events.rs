//! What other services' events set in motion, however often they come.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis},
    careplan::v1::{
        AccountabilityMoved, CaseClosed, CaseEnrolled, CaseMarkedInError, CasePaused, CaseResumed,
        CaseReturnedFromWaitlist, ClosureProposed, ClosureReturned, CriticalItemRaised,
        HandoffDeclined, HandoffExpired, Member, PlanActivated, PlanApproved, PlanMarkedInError,
        PlanReturned, PlanRevoked, PlanSubmitted, TaskAssigned, TaskOffered, TaskOverdue,
        case::CloseReason,
    },
    notification::v1::{
        self as pb, Channel,
        message::{State, Suppression},
        recipient::Who,
    },
    patient::v1::{
        self as patient, CaregiverScope, ConsentRevoked, EmergencyAccessGranted, PatientUpdated,
        PreferenceUpdated, RelatedPerson, caregiver_scope::Topic, consent,
    },
};
use caseward_core::Time;
use caseward_store::outbox;
use caseward_testkit::databases;
use prost::{Message, Name};
use tonic::Code;
use uuid::Uuid;

use crate::{
    patients::{consent, email},
    suite::Suite,
};

/// Another service tells of `event`.
pub(crate) async fn tell<E: Message + Name + Clone + 'static>(
    suite: &Suite,
    about: &str,
    event: E,
) {
    let about = about.to_owned();
    suite
        .elsewhere(move |tx| {
            tx.emit(&about, 1, &event);
            async { Ok(()) }
        })
        .await;
    suite.settle().await;
}

fn case() -> String {
    format!("cases/{}", Uuid::now_v7())
}

#[tokio::test]
async fn a_patient_and_those_close_to_them_hear_of_the_plan() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|known| {
            let scope = CaregiverScope {
                topics: vec![Topic::Plan.into()],
                channels: vec![patient::Channel::Email.into()],
                ..Default::default()
            };
            for scope in [Some(scope), None] {
                known.related.push(RelatedPerson {
                    name: format!("{}/relatedPersons/{}", known.patient.name, Uuid::now_v7()),
                    telecoms: vec![email("carer@example.org")],
                    communications: vec![patient::Communication {
                        language: "es".to_owned(),
                        interpreter: false,
                    }],
                    scope,
                    ..Default::default()
                });
            }
        });
        let case = case();
        let event =
            PlanActivated { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, event).await;
        let mut mails: Vec<(String, String)> = suite
            .smtp
            .mails()
            .iter()
            .map(|mail| (mail.to[0].clone(), mail.header("Subject").unwrap()))
            .collect();
        mails.sort();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0].0, "carer@example.org");
        assert_eq!(mails[1], ("pat@example.org".to_owned(), "Your plan is ready".to_owned()));
        for message in suite.all().await {
            assert_eq!((message.patient, message.case), (patient.clone(), case.clone()));
        }
    }
}

#[tokio::test]
async fn a_patient_hears_at_once_that_somebody_opened_their_record_in_an_emergency() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        let access = format!("{patient}/emergencyAccesses/{}", Uuid::now_v7());
        let event = EmergencyAccessGranted {
            emergency_access: access.clone(),
            patient: patient.clone(),
            subject: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &access, event).await;
        let told = suite.all().await;
        let [message] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&message.patient, &message.case[..]), (&patient, ""));
        assert_eq!(message.state(), State::Sent, "{:?}", message.attempts);
        let mails = suite.smtp.mails();
        assert_eq!(mails[0].to, ["pat@example.org"]);
        let subject = mails[0].header("Subject").unwrap();
        assert_eq!(subject, "Somebody opened your record in an emergency");
        assert!(!format!("{:?}", mails[0]).contains("bob"), "who it was is for the portal to say");
    }
}

#[tokio::test]
async fn an_event_that_comes_again_sends_nothing_twice() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let event =
            CaseEnrolled { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, event).await;
        assert_eq!(suite.smtp.mails().len(), 1);
        suite
            .elsewhere(|tx| async move {
                assert!(outbox::replay(&tx.db, Time::from_micros(0)).await? > 0);
                Ok(())
            })
            .await;
        suite.settle().await;
        assert_eq!((suite.smtp.mails().len(), suite.all().await.len()), (1, 1));
    }
}

#[tokio::test]
async fn staff_are_told_in_their_inbox_at_once() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T07:00:00Z").await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let urgent = CriticalItemRaised {
            case: case.clone(),
            patient: patient.clone(),
            accountable: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, urgent).await;
        for owner in ["bob", "bob", ""] {
            let task = TaskAssigned {
                case: case.clone(),
                patient: patient.clone(),
                owner: owner.to_owned(),
                ..Default::default()
            };
            tell(&suite, &case, task).await;
        }
        let purposes: Vec<String> =
            suite.inbox("bob/case_manager").await.into_iter().map(|item| item.purpose).collect();
        assert_eq!(purposes, ["critical-item-raised", "task-assigned", "task-assigned"]);
    }
}

#[tokio::test]
async fn whoever_is_still_responsible_hears_of_an_offer_not_taken_and_of_a_task_that_is_late() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let declined = HandoffDeclined {
            case: case.clone(),
            patient: patient.clone(),
            from: "bob".to_owned(),
            to: "eva".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, declined).await;
        let expired = HandoffExpired {
            case: case.clone(),
            patient: patient.clone(),
            from: "bob".to_owned(),
            to: "eva".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, expired).await;
        for owner in ["bob", ""] {
            let late = TaskOverdue {
                case: case.clone(),
                patient: patient.clone(),
                owner: owner.to_owned(),
                ..Default::default()
            };
            tell(&suite, &case, late).await;
        }
        for (who, told) in
            [("bob", &["handoff-declined", "handoff-expired", "task-overdue"][..]), ("eva", &[])]
        {
            let items = suite.inbox(&format!("{who}/case_manager")).await;
            let purposes: Vec<String> = items.into_iter().map(|item| item.purpose).collect();
            assert_eq!(purposes, told, "{who}");
        }
    }
}

#[tokio::test]
async fn whoever_becomes_accountable_is_told_and_so_is_whoever_was() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let enrolled = CaseEnrolled {
            case: case.clone(),
            patient: patient.clone(),
            accountable: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, enrolled).await;
        let handed_over = AccountabilityMoved {
            case: case.clone(),
            patient: patient.clone(),
            from: "bob".to_owned(),
            to: "eva".to_owned(),
            handoff: format!("{case}/handoffs/{}", Uuid::now_v7()),
            ..Default::default()
        };
        tell(&suite, &case, handed_over).await;
        let reassigned = AccountabilityMoved {
            case: case.clone(),
            patient: patient.clone(),
            from: "eva".to_owned(),
            to: "max".to_owned(),
            emergency: true,
            ..Default::default()
        };
        tell(&suite, &case, reassigned).await;
        let returned = CaseReturnedFromWaitlist {
            case,
            patient,
            accountable: "ida".to_owned(),
            ..Default::default()
        };
        tell(&suite, &returned.case.clone(), returned).await;
        for (who, told) in [
            ("bob", &["case-assigned", "case-taken-over"][..]),
            ("eva", &["case-taken-over"]),
            ("max", &["case-assigned"]),
            ("ida", &["case-assigned"]),
        ] {
            let items = suite.inbox(&format!("{who}/case_manager")).await;
            let purposes: Vec<String> = items.into_iter().map(|item| item.purpose).collect();
            assert_eq!(purposes, told, "{who}");
        }
        let subjects: Vec<_> =
            suite.smtp.mails().iter().map(|mail| mail.header("Subject").unwrap()).collect();
        assert_eq!(
            subjects,
            ["Your care team", "A change in your care team", "A change in your care team"],
            "the patient is told of each change"
        );
    }
}

fn purposes(items: Vec<pb::InboxItem>) -> Vec<String> {
    items.into_iter().map(|item| item.purpose).collect()
}

#[tokio::test]
async fn what_nobody_else_looks_after_reaches_the_supervisors() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let expired = HandoffExpired {
            case: case.clone(),
            patient: patient.clone(),
            from: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, expired).await;
        let critical = |owner: &str, accountable: &str| CriticalItemRaised {
            case: case.clone(),
            patient: patient.clone(),
            owner: owner.to_owned(),
            accountable: accountable.to_owned(),
            ..Default::default()
        };
        for (owner, accountable) in [("", ""), ("eva", ""), ("ida", "ida"), ("", "max")] {
            tell(&suite, &case, critical(owner, accountable)).await;
        }
        for candidate_role in ["supervisor", ""] {
            let offered = TaskOffered {
                case: case.clone(),
                patient: patient.clone(),
                candidate_role: candidate_role.to_owned(),
                ..Default::default()
            };
            tell(&suite, &case, offered).await;
        }
        let late =
            TaskOverdue { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, late).await;
        let submitted =
            PlanSubmitted { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, submitted).await;
        let closure = ClosureProposed {
            case: case.clone(),
            patient,
            accountable: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &case, closure).await;
        assert_eq!(
            purposes(suite.shared().await),
            [
                "handoff-unanswered",
                "critical-item-raised",
                "task-offered",
                "task-unclaimed",
                "plan-submitted",
                "closure-proposed"
            ]
        );
        for (who, told) in [
            ("bob", "handoff-expired"),
            ("eva", "critical-item-raised"),
            ("ida", "critical-item-raised"),
            ("max", "critical-item-raised"),
        ] {
            let items = suite.inbox(&format!("{who}/case_manager")).await;
            assert_eq!(purposes(items), [told], "{who}");
        }
    }
}

#[tokio::test]
async fn whoever_wrote_a_plan_hears_what_became_of_it_and_the_team_gets_a_copy() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        suite.teams.add("bob");
        suite.teams.add("eva");
        suite.teams.add("eva");
        suite.teams.join(Member { display: "A friend".to_owned(), ..Default::default() });
        suite.teams.join(Member {
            person: "luz".to_owned(),
            related_person: format!("{patient}/relatedPersons/{}", Uuid::now_v7()),
            ..Default::default()
        });
        let plan = format!("{case}/carePlans/{}", Uuid::now_v7());
        let (named, author) = (|| (case.clone(), patient.clone()), || "ida".to_owned());
        let (case, patient) = named();
        let returned = PlanReturned { case, patient, author: author(), ..Default::default() };
        tell(&suite, &plan, returned).await;
        let (case, patient) = named();
        let approved = PlanApproved { case, patient, author: author(), ..Default::default() };
        tell(&suite, &plan, approved).await;
        let (case, patient) = named();
        tell(&suite, &plan, PlanActivated { case, patient, ..Default::default() }).await;
        let (case, patient) = named();
        tell(&suite, &case.clone(), CasePaused { case, patient, ..Default::default() }).await;
        let (case, patient) = named();
        tell(&suite, &case.clone(), CaseResumed { case, patient, ..Default::default() }).await;
        let (case, patient) = named();
        let accountable = "bob".to_owned();
        let returned = ClosureReturned { case, patient, accountable, ..Default::default() };
        tell(&suite, &plan, returned).await;
        for (who, told) in [
            ("ida", &["plan-returned", "plan-approved"][..]),
            ("bob", &["plan-copy", "case-paused-team", "case-resumed-team", "closure-returned"]),
            ("eva", &["plan-copy", "case-paused-team", "case-resumed-team"]),
            ("luz", &[]),
        ] {
            let items = suite.inbox(&format!("{who}/case_manager")).await;
            assert_eq!(purposes(items), told, "{who}");
        }
        let subjects: Vec<_> =
            suite.smtp.mails().iter().map(|mail| mail.header("Subject").unwrap()).collect();
        assert_eq!(subjects, ["Your plan is ready", "A pause in our work", "Our work goes on"]);
    }
}

#[tokio::test]
async fn what_is_about_a_plan_or_a_case_that_never_was_is_not_sent() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let mut plans = vec![];
        for _ in 0..4 {
            let plan = format!("{case}/carePlans/{}", Uuid::now_v7());
            let event = PlanActivated {
                care_plan: plan.clone(),
                case: case.clone(),
                patient: patient.clone(),
                ..Default::default()
            };
            tell(&suite, &plan, event).await;
            plans.push(plan);
        }
        let about = async |case: String| {
            let with = move |message: &mut pb::Message| {
                message.purpose = "visit".to_owned();
                message.case = case;
            };
            let to = Who::Patient(patient.clone());
            suite.send_with(to, &[Channel::Email], with).await.name
        };
        let (sent, of_none) = (about(case.clone()).await, about(String::new()).await);
        suite.settle().await;
        let count = async |wanted: State| {
            let all = suite.all().await;
            all.iter().filter(|message| message.state() == wanted).count()
        };
        assert_eq!(count(State::Scheduled).await, 6, "it is night");

        let care_plan = plans[0].clone();
        let (of, whom) = (case.clone(), patient.clone());
        let revoked = PlanRevoked { care_plan, case: of, patient: whom, revision: 2 };
        tell(&suite, &plans[0], revoked).await;
        assert_eq!(count(State::Cancelled).await, 1);
        let care_plan = plans[1].clone();
        let (of, whom) = (case.clone(), patient.clone());
        let never = PlanMarkedInError { care_plan, case: of, patient: whom, revision: 2 };
        tell(&suite, &plans[1], never).await;
        assert_eq!(count(State::Cancelled).await, 2);
        let (of, whom) = (case.clone(), patient.clone());
        let never = CaseMarkedInError { case: of, patient: whom, revision: 2 };
        tell(&suite, &case, never).await;
        assert_eq!(count(State::Cancelled).await, 5);
        assert_eq!(suite.get(&sent).await.state(), State::Cancelled);
        suite.until("2026-01-06T14:00:00Z").await;
        assert_eq!(suite.get(&of_none).await.state(), State::Sent);
        assert_eq!(suite.smtp.mails().len(), 1, "what is about none of them keeps its time");
    }
}

#[tokio::test]
async fn what_lost_its_cause_is_not_sent() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let (patient, case) = (suite.patients.add(|_| {}), case());
        let plan =
            PlanActivated { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, plan.clone()).await;
        assert_eq!(suite.all().await[0].state(), State::Scheduled);
        let closed = CaseClosed {
            case: case.clone(),
            patient: patient.clone(),
            close_reason: CloseReason::Deceased.into(),
            ..Default::default()
        };
        tell(&suite, &case, closed).await;
        let states: Vec<State> = suite.all().await.iter().map(|message| message.state()).collect();
        assert_eq!(states, [State::Cancelled]);

        tell(&suite, &case, plan).await;
        tell(&suite, &patient, participation_revoked(&patient)).await;
        suite.until("2026-01-06T14:00:00Z").await;
        let states: Vec<State> = suite.all().await.iter().map(|message| message.state()).collect();
        assert_eq!(states, [State::Cancelled; 2]);
        assert!(suite.smtp.mails().is_empty());
    }
}

fn participation_revoked(patient: &str) -> ConsentRevoked {
    let r#type = consent::Type::Participation.into();
    ConsentRevoked { patient: patient.to_owned(), r#type, ..Default::default() }
}

#[tokio::test]
async fn what_waits_keeps_its_time_while_a_consent_to_take_part_is_in_force() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let patient = suite.patients.add(|known| {
            known.consents.push(consent(&known.patient.name, consent::Type::Participation));
        });
        let case = case();
        let plan =
            PlanActivated { case: case.clone(), patient: patient.clone(), ..Default::default() };
        tell(&suite, &case, plan).await;
        tell(&suite, &patient, participation_revoked(&patient)).await;
        assert_eq!(suite.all().await[0].state(), State::Scheduled, "another one is in force");
        suite.patients.change(&patient, |known| {
            known.consents[1].decision = consent::Decision::Deny.into();
        });
        tell(&suite, &patient, participation_revoked(&patient)).await;
        assert_eq!(suite.all().await[0].state(), State::Cancelled);
    }
}

#[tokio::test]
async fn a_patient_hears_that_their_record_was_opened_in_an_emergency_whatever_they_revoke() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let patient = suite.patients.add(|_| {});
        let access = format!("{patient}/emergencyAccesses/{}", Uuid::now_v7());
        let granted = EmergencyAccessGranted {
            emergency_access: access.clone(),
            patient: patient.clone(),
            subject: "bob".to_owned(),
            ..Default::default()
        };
        tell(&suite, &access, granted).await;
        tell(&suite, &patient, participation_revoked(&patient)).await;
        assert_eq!(suite.all().await[0].state(), State::Scheduled, "it is night");
        suite.until("2026-01-06T14:00:00Z").await;
        assert_eq!(suite.all().await[0].state(), State::Sent);
        let subject = suite.smtp.mails()[0].header("Subject").unwrap();
        assert_eq!(subject, "Somebody opened your record in an emergency");
    }
}

#[tokio::test]
async fn what_is_not_allowed_any_more_is_stopped_at_once_and_the_rest_keeps_its_time() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        suite.until("2026-01-06T02:30:00Z").await;
        let later = Some((suite.process.clock.now() + time::Duration::days(3)).into());
        let mut waiting = vec![];
        for _ in 0..4 {
            let patient = suite.patients.add(|_| {});
            let to = || Who::Patient(patient.clone());
            let held = suite.told(to(), &[Channel::Email]).await;
            assert_eq!(held.state(), State::Scheduled, "it is night");
            let with = |message: &mut pb::Message| {
                message.due_time = later;
                message.expire_time = None;
                message.purpose = "visit".to_owned();
            };
            let planned = suite.send_with(to(), &[Channel::Email], with).await;
            waiting.push((patient, [held.name, planned.name]));
        }
        let [silent, revoked, dead, other] = &waiting[..] else { panic!("four patients") };

        let opt_out = patient::Channel::Email.into();
        suite.patients.change(&silent.0, |known| known.preference.opted_out_channels.push(opt_out));
        let preference = PreferenceUpdated {
            patient: silent.0.clone(),
            changed_fields: vec!["opted_out_channels".to_owned()],
            ..Default::default()
        };
        tell(&suite, &silent.0, preference.clone()).await;
        suite.patients.change(&revoked.0, |known| known.consents.clear());
        let consent = ConsentRevoked {
            patient: revoked.0.clone(),
            r#type: consent::Type::Messaging.into(),
            ..Default::default()
        };
        tell(&suite, &revoked.0, consent).await;
        suite.patients.change(&dead.0, |known| known.patient.deceased = true);
        let died = PatientUpdated {
            patient: dead.0.clone(),
            changed_fields: vec!["deceased".to_owned()],
            ..Default::default()
        };
        tell(&suite, &dead.0, died).await;
        let preference = PreferenceUpdated { patient: other.0.clone(), ..preference };
        tell(&suite, &other.0, preference).await;

        for ((_, names), why) in [
            (silent, Suppression::OptedOut),
            (revoked, Suppression::NoConsent),
            (dead, Suppression::Deceased),
        ] {
            for name in names {
                let message = suite.get(name).await;
                assert_eq!(
                    (message.state(), message.suppression()),
                    (State::Suppressed, why),
                    "nobody waits until its time to stop it"
                );
            }
        }
        let [held, planned] = &other.1;
        assert_eq!(suite.get(held).await.state(), State::Scheduled);
        assert_eq!(suite.get(planned).await.state(), State::Drafted);
        assert!(suite.smtp.mails().is_empty(), "looking again disturbs nobody");
        suite.until("2026-01-06T13:00:00Z").await;
        assert_eq!((suite.get(held).await.state(), suite.smtp.mails().len()), (State::Sent, 1));
        assert_eq!(suite.get(planned).await.state(), State::Drafted);
    }
}

#[tokio::test]
async fn whoever_is_related_sees_messages_and_sends_them() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let patient = suite.patients.add(|_| {});
        let sent = suite.told(Who::Patient(patient.clone()), &[]).await;
        let get =
            pb::GetMessageRequest { name: sent.name.clone(), view: pb::MessageView::Full.into() };
        let bob = "bob/case_manager";
        let hidden = suite.messages().get_message(suite.by(bob, get.clone())).await.unwrap_err();
        assert_eq!(hidden.code(), Code::NotFound);
        let ask = |template: String| pb::SendMessageRequest {
            message: Some(pb::Message {
                recipient: Some(pb::Recipient { who: Some(Who::Patient(patient.clone())) }),
                purpose: "hello".to_owned(),
                template,
                ..Default::default()
            }),
            ..Default::default()
        };
        let template = suite.template("check-your-plan").await.name;
        let refused = suite.messages().send_message(suite.by(bob, ask(template.clone()))).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);

        let related = RelationChanged {
            subject: "bob".to_owned(),
            patient: patient.clone(),
            basis: Basis::Team.into(),
            revision: 1,
            source: format!("{}/members/{}", case(), Uuid::now_v7()),
            ..Default::default()
        };
        tell(&suite, &patient, related).await;
        let seen = suite.messages().get_message(suite.by(bob, get)).await.unwrap().into_inner();
        assert_eq!(seen.content.unwrap().subject, "A look at your plan");
        suite.messages().send_message(suite.by(bob, ask(template))).await.unwrap();
    }
}
