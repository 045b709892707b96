//! Cases move as the model allows, and say so where it does not.
use caseward_api::careplan::v1::{self as pb, case::State};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    walk::Verb,
    world::{patient, worlds},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_identified_contacted_and_enrolled() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        assert_eq!(case.state(), State::Assessing);
        assert_eq!(case.accountable, "ana");
        assert!(case.enrolled_time.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_step_names_where_the_case_can_go() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let pb::Case { name, etag, .. } = ana.case().await;
        let request = pb::ActivateCaseRequest { name, etag, ..Default::default() };
        let refused = ana.cases.activate_case(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("OUTREACH"), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_etag_is_aborted_and_a_missing_one_is_named() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.outreach().await;
        let mut request = pb::DeclineCaseRequest {
            name: case.name.clone(),
            etag: "\"1\"".to_owned(),
            reason: "not now".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            ana.cases.decline_case(request.clone()).await.unwrap_err().code(),
            Code::Aborted
        );
        request.etag.clear();
        assert_eq!(
            ana.cases.decline_case(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_violation_of_a_case_is_named_at_once() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = pb::Case {
            patient: patient(),
            programme: "x".repeat(101),
            acuity: 99,
            ..Default::default()
        };
        let request = pb::CreateCaseRequest { case: Some(case), request_id: String::new() };
        let refused = ana.cases.create_case(request).await.unwrap_err();
        for field in ["case.title", "case.programme", "case.acuity"] {
            assert!(refused.message().contains(field), "{field}: {}", refused.message());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_does_not_learn_that_a_case_exists() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut eve = world.caller("eve", "case_manager");
        let case = ana.case().await;
        let hidden =
            eve.cases.get_case(pb::GetCaseRequest { name: case.name.clone() }).await.unwrap_err();
        let absent = format!("cases/{}", uuid::Uuid::now_v7());
        let unknown =
            eve.cases.get_case(pb::GetCaseRequest { name: absent.clone() }).await.unwrap_err();
        assert_eq!((hidden.code(), unknown.code()), (Code::NotFound, Code::NotFound));
        assert_eq!(
            hidden.message().replace(&case.name, ""),
            unknown.message().replace(&absent, "")
        );
        assert!(
            eve.cases
                .list_cases(pb::ListCasesRequest::default())
                .await
                .unwrap()
                .into_inner()
                .cases
                .is_empty()
        );
        let mut sam = world.caller("sam", "supervisor");
        assert_eq!(sam.read(&case).await.name, case.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outreach_ends_without_contact_only_after_three_attempts() {
    use pb::{ContactAttempt, ContactMode, contact_attempt::Outcome};
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut case = ana.outreach().await;
        for attempt in 0..3 {
            let give_up = pb::MarkUnableToReachRequest {
                name: case.name.clone(),
                etag: case.etag.clone(),
                ..Default::default()
            };
            let refused = ana.cases.mark_unable_to_reach(give_up).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "after {attempt} attempts");
            let attempt = ContactAttempt {
                mode: ContactMode::Phone.into(),
                outcome: Outcome::NoAnswer.into(),
                ..Default::default()
            };
            let request = pb::RecordContactAttemptRequest {
                name: case.name.clone(),
                etag: case.etag.clone(),
                attempt: Some(attempt),
                ..Default::default()
            };
            case = ana.cases.record_contact_attempt(request).await.unwrap().into_inner();
        }
        let request = pb::MarkUnableToReachRequest {
            name: case.name.clone(),
            etag: case.etag,
            ..Default::default()
        };
        let case = ana.cases.mark_unable_to_reach(request).await.unwrap().into_inner();
        assert_eq!(case.state(), State::UnableToReach);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_and_a_stream_tell_everything_in_order() {
    use tokio_stream::StreamExt;
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.outreach().await;
        let parent = case.name.clone();
        let list = pb::ListTimelineRequest { parent, page_size: 1, ..Default::default() };
        let first = ana.cases.list_timeline(list.clone()).await.unwrap().into_inner();
        let resume_token = first.timeline[0].resume_token.clone();
        let watch = pb::WatchCaseRequest { name: case.name.clone(), resume_token };
        let mut stream = ana.cases.watch_case(watch).await.unwrap().into_inner();
        let request = pb::DeclineCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            reason: "no time".to_owned(),
            ..Default::default()
        };
        ana.cases.decline_case(request).await.unwrap();
        let mut seen = vec![first.timeline[0].sequence];
        while seen.len() < 4 {
            let entry =
                tokio::time::timeout(std::time::Duration::from_secs(10), stream.next()).await;
            seen.push(entry.unwrap().unwrap().unwrap().sequence);
        }
        assert_eq!(seen, [1, 2, 3, 4], "created, member, outreach, declined");
        let all = pb::ListTimelineRequest { page_size: 0, ..list };
        let all = ana.cases.list_timeline(all).await.unwrap().into_inner().timeline;
        let told: Vec<&str> = all.iter().map(|entry| entry.event.as_str()).collect();
        assert_eq!(told, ["CASE_CREATED", "MEMBER_ADDED", "CASE_MOVED", "CASE_MOVED"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_happened_before_the_one_before_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.outreach().await;
        let mut request = pb::EnrolCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            consent_statement: "said yes".to_owned(),
            effective_time: Some((world.now() - Duration::hours(1)).into()),
            ..Default::default()
        };
        let refused = ana.cases.enrol_case(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("effective_time"), "{}", refused.message());
        world.advance(Duration::hours(5)).await;
        let earlier = world.now() - Duration::hours(1);
        request.effective_time = Some(earlier.into());
        let case = ana.cases.enrol_case(request).await.unwrap().into_inner();
        assert_eq!(case.enrolled_time, Some(earlier.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_sent_twice_is_taken_once() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.outreach().await;
        let request = pb::WaitlistCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            request_id: uuid::Uuid::now_v7().to_string(),
            reason: "no room".to_owned(),
            ..Default::default()
        };
        let first = ana.cases.waitlist_case(request.clone()).await.unwrap().into_inner();
        let again = ana.cases.waitlist_case(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, again);
        let other = pb::WaitlistCaseRequest { reason: "another".to_owned(), ..request };
        let refused = ana.cases.waitlist_case(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_with_open_obligations_closes_only_where_they_are_waived() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, State::Closing).await;
        let task = pb::Task { title: "call".to_owned(), ..Default::default() };
        let request = pb::CreateTaskRequest {
            parent: case.name.clone(),
            task: Some(task),
            ..Default::default()
        };
        let task = sam.tasks.create_task(request).await.unwrap().into_inner();
        let list =
            pb::ListOpenObligationsRequest { parent: case.name.clone(), ..Default::default() };
        let open = sam.cases.list_open_obligations(list).await.unwrap().into_inner();
        assert!(open.open_obligations.iter().any(|one| one.resource == task.name));
        let mut close = pb::CloseCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            ..Default::default()
        };
        let refused = sam.cases.close_case(close.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        close.waiver = "the family calls themselves".to_owned();
        let closed = sam.cases.close_case(close).await.unwrap().into_inner();
        assert_eq!(closed.state(), State::Closed);
        assert_eq!(closed.close_reason(), pb::case::CloseReason::GoalsMet);
        let task = pb::GetTaskRequest { name: task.name };
        let task = sam.tasks.get_task(task).await.unwrap().into_inner();
        assert_eq!(task.state(), pb::task::State::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_hear_who_is_accountable_from_enrolment_to_the_end() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, State::Assessing).await;
        let case = sam.does(&world, Verb::Waitlist, &case).await.unwrap();
        let returned = sam.does(&world, Verb::Return, &case).await.unwrap();
        assert_eq!(returned.state(), State::Assessing);
        let request = pb::ReassignCaseRequest {
            name: case.name.clone(),
            etag: returned.etag,
            accountable: "bob".to_owned(),
            reason: "sam is ill".to_owned(),
            ..Default::default()
        };
        sam.cases.reassign_case(request).await.unwrap();
        let heard: Vec<_> = world.heard::<pb::CaseReturnedFromWaitlist>(&case.name).await;
        assert_eq!(heard.last().unwrap().accountable, "sam");
        let moved = world.heard::<pb::AccountabilityMoved>(&case.name).await;
        assert_eq!((moved.len(), &*moved[0].from, &*moved[0].to), (1, "sam", "bob"));

        let closed = sam.case_in(&world, State::Closed).await;
        for told in [
            world.heard::<pb::CaseEnrolled>(&closed.name).await[0].accountable.clone(),
            world.heard::<pb::CaseClosed>(&closed.name).await[0].accountable.clone(),
        ] {
            assert_eq!(told, "sam");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_opened_again_for_half_a_year_and_then_made_anew() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let (one, other) =
            (sam.case_in(&world, State::Closed).await, sam.case_in(&world, State::Declined).await);
        world.advance(Duration::days(179)).await;
        let opened = sam.does(&world, Verb::Reopen, &one).await.unwrap();
        assert_eq!((opened.state(), opened.reopened_from()), (State::Outreach, State::Closed));
        world.advance(Duration::days(2)).await;
        let refused = sam.does(&world, Verb::Reopen, &other).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("make a new case"), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_enrolled_on_a_consent_that_is_not_in_force_or_is_not_theirs() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.outreach().await;
        // The patient service of this world knows of every consent, and of none that holds.
        let enrol = |of: &str| pb::EnrolCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            consent: format!("{of}/consents/{}", Uuid::now_v7()),
            ..Default::default()
        };
        let refused = ana.cases.enrol_case(enrol(&case.patient)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("PARTICIPATION"), "{}", refused.message());
        let other = patient();
        let refused = ana.cases.enrol_case(enrol(&other)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outreach_that_is_given_up_leaves_nothing_to_do() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        for verb in [Verb::Decline, Verb::GiveUp] {
            let case = sam.case_in(&world, State::Outreach).await;
            let case = sam.attempts(case).await;
            let (call, pool) =
                (sam.task(&case, "call", "sam").await, sam.task(&case, "ask around", "").await);
            let plan = sam.plan(&case).await;
            sam.does(&world, verb, &case).await.unwrap();
            for task in [call, pool] {
                assert_eq!(sam.again(&task).await.state(), pb::task::State::Cancelled);
            }
            let get = pb::GetCarePlanRequest { name: plan.name };
            let plan = sam.plans.get_care_plan(get).await.unwrap().into_inner();
            assert_eq!(plan.state(), pb::care_plan::State::Revoked);
        }
    }
}

/// Over PostgreSQL, where two changes can be under way at once: the first is held up when it has read the case, until the
/// second waits, too.
#[expect(
    clippy::disallowed_methods,
    reason = "a lock is held past the store, so that changes meet"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_begun_beside_a_closing_stands_in_its_way() {
    for world in worlds().await.into_iter().filter(|world| !world.database.is_sqlite()) {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, State::Closing).await;
        for pb::Task { name, etag, .. } in sam.tasks_in(&case).await {
            let reason = "done".to_owned();
            let cancel = pb::CancelTaskRequest { name, etag, reason, ..Default::default() };
            sam.tasks.cancel_task(cancel).await.unwrap();
        }
        let pb::Case { name, etag, .. } = case.clone();
        let close = pb::CloseCaseRequest { name, etag, ..Default::default() };
        let task = Some(pb::Task { title: "call".to_owned(), ..Default::default() });
        let parent = case.name.clone();
        let create = pb::CreateTaskRequest { parent, task, ..Default::default() };
        let aside = world.aside().await;
        let held = aside.begin().await.unwrap();
        held.execute_unprepared("LOCK TABLE timeline_head").await.unwrap();
        let (mut one, mut other) = (sam.clone(), sam.clone());
        let made = tokio::spawn(async move { one.tasks.create_task(create).await });
        waiting(&aside, 1).await;
        let closed = tokio::spawn(async move { other.cases.close_case(close).await });
        waiting(&aside, 2).await;
        held.rollback().await.unwrap();
        made.await.unwrap().unwrap();
        let refused = closed.await.unwrap().unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "OPEN_OBLIGATIONS");
        assert_eq!(sam.read(&case).await.state(), State::Closing);
    }
}

/// Until so many transactions wait for a lock.
async fn waiting(aside: &DatabaseConnection, wanted: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let enough = async {
        loop {
            let row = aside.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
            let waiting: i64 = row.unwrap().unwrap().try_get_by_index(0).unwrap();
            if waiting >= wanted {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(4), enough).await.expect("they wait");
}
