//! A person who does not agree any more to take part is asked by somebody.
use caseward_api::{
    careplan::v1::{self as pb, task::Priority},
    patient::v1::{Consent, ConsentChanged, ConsentExpired, ConsentRevoked, consent},
};
use time::Duration;
use uuid::Uuid;

use crate::{
    walk::Verb,
    world::{Caller, World, worlds},
};

fn consent(patient: &str) -> Consent {
    Consent {
        name: format!("{patient}/consents/{}", Uuid::now_v7()),
        r#type: consent::Type::Participation.into(),
        decision: consent::Decision::Permit.into(),
        state: consent::State::Active.into(),
        ..Default::default()
    }
}

impl Caller {
    /// A case that a consent on record enrolled.
    async fn enrolled_by_consent(&mut self, world: &World) -> (pb::Case, Consent) {
        let pb::Case { name, etag, patient, .. } = self.outreach().await;
        let given = consent(&patient);
        *world.consents.lock().unwrap() = vec![given.clone()];
        let consent = given.name.clone();
        let ask = pb::EnrolCaseRequest { name, etag, consent, ..Default::default() };
        (self.cases.enrol_case(ask).await.unwrap().into_inner(), given)
    }

    pub async fn tasks_in(&mut self, case: &pb::Case) -> Vec<pb::Task> {
        let ask = pb::ListTasksRequest { parent: case.name.clone(), ..Default::default() };
        self.tasks.list_tasks(ask).await.unwrap().into_inner().tasks
    }
}

fn revoked(case: &pb::Case, consent: &Consent) -> ConsentRevoked {
    ConsentRevoked {
        consent: consent.name.clone(),
        patient: case.patient.clone(),
        r#type: consent.r#type,
        ..Default::default()
    }
}

fn expired(case: &pb::Case, consent: &Consent) -> ConsentExpired {
    ConsentExpired {
        consent: consent.name.clone(),
        patient: case.patient.clone(),
        r#type: consent.r#type,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_consent_to_take_part_ends_whoever_is_accountable_settles_it_once() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        for end in [consent::State::Inactive, consent::State::EnteredInError] {
            let (case, given) = ana.enrolled_by_consent(&world).await;
            world.consents.lock().unwrap().clear();
            world.tell(expired(&case, &given)).await;
            let changed = ConsentChanged {
                consent: given.name.clone(),
                patient: case.patient.clone(),
                r#type: given.r#type,
                state: end.into(),
                ..Default::default()
            };
            world.tell(changed).await;
            world.tell(revoked(&case, &given)).await;
            let tasks = ana.tasks_in(&case).await;
            let [task] = &tasks[..] else { panic!("one task: {tasks:?}") };
            assert_eq!((task.owner.as_str(), task.priority()), ("ana", Priority::Urgent));
            assert_eq!(task.cause, given.name);
            assert_eq!(task.due_time, Some((world.now() + Duration::days(1)).into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_enrolled_is_taken_back_with_a_consent_but_does_not_expire_with_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let given = consent(&case.patient);
        world.tell(expired(&case, &given)).await;
        assert!(ana.tasks_in(&case).await.is_empty());
        world.tell(revoked(&case, &given)).await;
        assert_eq!(ana.tasks_in(&case).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_ends_troubles_nobody_where_another_holds_or_nothing_rests_on_it() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let (renewed, old) = sam.enrolled_by_consent(&world).await;
        *world.consents.lock().unwrap() = vec![consent(&renewed.patient)];
        world.tell(expired(&renewed, &old)).await;
        world.tell(revoked(&renewed, &old)).await;
        assert!(sam.tasks_in(&renewed).await.is_empty(), "it was renewed");
        let new = world.consents.lock().unwrap().drain(..).next().unwrap();
        world.tell(expired(&renewed, &new)).await;
        assert_eq!(sam.tasks_in(&renewed).await.len(), 1, "nor does the new one hold any more");

        let (other, given) = sam.enrolled_by_consent(&world).await;
        world.consents.lock().unwrap().clear();
        let messaging = consent::Type::Messaging.into();
        world.tell(revoked(&other, &Consent { r#type: messaging, ..given })).await;
        assert!(sam.tasks_in(&other).await.is_empty(), "it is about something else");

        let asked = sam.outreach().await;
        world.tell(revoked(&asked, &consent(&asked.patient))).await;
        assert!(sam.tasks_in(&asked).await.is_empty(), "nobody enrolled them yet");

        let (ended, given) = sam.enrolled_by_consent(&world).await;
        let ended = sam.does(&world, Verb::EnterInError, &ended).await.unwrap();
        world.consents.lock().unwrap().clear();
        world.tell(revoked(&ended, &given)).await;
        assert!(sam.tasks_in(&ended).await.is_empty(), "the case ended");
    }
}
