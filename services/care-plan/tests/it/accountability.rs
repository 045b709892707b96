//! Exactly one person is accountable for an open case, at every instant.
use caseward_api::careplan::v1 as pb;
use sea_orm::ConnectionTrait;
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    walk::Verb,
    world::{Caller, World, worlds},
};

async fn accountable(world: &World, case: &pb::Case, ago: Duration) -> Result<String, Code> {
    let mut sam = world.caller("sam", "supervisor");
    let time = Some((world.now() - ago).into());
    let request = pb::GetAccountableRequest { name: case.name.clone(), time };
    sam.cases
        .get_accountable(request)
        .await
        .map(|got| got.into_inner().person)
        .map_err(|error| error.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_moves_accountability_only_when_the_receiver_accepts() {
    for world in worlds().await {
        let (mut ana, mut ben) =
            (world.caller("ana", "case_manager"), world.caller("ben", "case_manager"));
        let case = ana.enrolled().await;
        world.advance(Duration::days(1)).await;
        let handoff = ana.offers(&case, "ben").await.unwrap();
        assert_eq!(accountable(&world, &case, Duration::ZERO).await.unwrap(), "ana");
        let accept = pb::AcceptHandoffRequest {
            name: handoff.name,
            etag: handoff.etag,
            ..Default::default()
        };
        let refused = ana.cases.accept_handoff(accept.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "only the receiver accepts");
        ben.cases.accept_handoff(accept).await.unwrap();
        assert_eq!(accountable(&world, &case, Duration::ZERO).await.unwrap(), "ben");
        assert_eq!(accountable(&world, &case, Duration::hours(3)).await.unwrap(), "ana");
        assert_eq!(accountable(&world, &case, Duration::days(2)).await, Err(Code::NotFound));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_handoff_expires_and_moves_nothing() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "case_manager");
        let case = ana.enrolled().await;
        let handoff = ana.offers(&case, "ben").await.unwrap();
        let get = pb::GetHandoffRequest { name: handoff.name.clone() };
        ben.cases
            .get_handoff(get.clone())
            .await
            .expect("the receiver sees what they would take over");
        world.advance(Duration::days(3)).await;
        let expired = ana.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(expired.state(), pb::handoff::State::Expired);
        assert_eq!(ben.cases.get_handoff(get).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(accountable(&world, &case, Duration::ZERO).await.unwrap(), "ana");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_that_lapsed_is_not_accepted_though_nothing_has_marked_it_yet() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "case_manager");
        let case = ana.enrolled().await;
        let handoff = ana.offers(&case, "ben").await.unwrap();
        // As where whoever has the timer is frozen.
        let timers = "DELETE FROM timer WHERE kind = 'handoff.expiry'";
        let gone = world.aside().await.execute_unprepared(timers).await.unwrap();
        assert_eq!(gone.rows_affected(), 1);
        world.advance(Duration::days(3)).await;
        let accept = pb::AcceptHandoffRequest {
            name: handoff.name,
            etag: handoff.etag,
            ..Default::default()
        };
        let refused = ben.cases.accept_handoff(accept).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "HANDOFF_EXPIRED");
        assert_eq!(accountable(&world, &case, Duration::ZERO).await.unwrap(), "ana");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_reassigns_at_once_and_the_ledger_has_no_gap() {
    for world in worlds().await {
        let (mut ana, mut sam) =
            (world.caller("ana", "case_manager"), world.caller("sam", "supervisor"));
        let case = ana.enrolled().await;
        for person in ["ben", "cleo", "ana"] {
            world.advance(Duration::hours(5)).await;
            let case = sam.read(&case).await;
            let request = pb::ReassignCaseRequest {
                name: case.name,
                etag: case.etag,
                accountable: person.to_owned(),
                reason: "sudden illness".to_owned(),
                ..Default::default()
            };
            sam.cases.reassign_case(request).await.unwrap();
        }
        let list =
            pb::ListAccountabilitiesRequest { parent: case.name.clone(), ..Default::default() };
        let ledger =
            sam.cases.list_accountabilities(list).await.unwrap().into_inner().accountabilities;
        assert_eq!(ledger.len(), 4);
        for pair in ledger.windows(2) {
            let (before, after) = (pair[0].period.unwrap(), pair[1].period.unwrap());
            assert_eq!(before.end, after.start, "one ends where the next begins");
        }
        assert!(ledger[3].period.unwrap().end.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_reassign_at_once_one_wins() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let mut racing = tokio::task::JoinSet::new();
        for person in ["ben", "cleo", "dan", "eli"] {
            let mut sam = world.caller("sam", "supervisor");
            let request = pb::ReassignCaseRequest {
                name: case.name.clone(),
                etag: case.etag.clone(),
                accountable: person.to_owned(),
                reason: "race".to_owned(),
                ..Default::default()
            };
            racing.spawn(async move {
                sam.cases.reassign_case(request).await.map(|_| ()).map_err(|e| e.code())
            });
        }
        let outcomes = racing.join_all().await;
        assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1, "{outcomes:?}");
        assert!(
            outcomes.iter().flat_map(|one| one.as_ref().err()).all(|code| *code == Code::Aborted),
            "{outcomes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_that_a_reassignment_overtook_moves_nothing_any_more() {
    for world in worlds().await {
        let (mut ana, mut sam) =
            (world.caller("ana", "case_manager"), world.caller("sam", "supervisor"));
        let mut ben = world.caller("ben", "case_manager");
        let case = ana.enrolled().await;
        let handoff = ana.offers(&case, "ben").await.unwrap();
        let patience = handoff.expire_time.unwrap().seconds - handoff.create_time.unwrap().seconds;
        assert_eq!(patience, 72 * 3600);
        let request = pb::ReassignCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            accountable: "cleo".to_owned(),
            reason: "sudden illness".to_owned(),
            ..Default::default()
        };
        sam.cases.reassign_case(request).await.unwrap();
        let get = pb::GetHandoffRequest { name: handoff.name.clone() };
        let handoff = sam.cases.get_handoff(get).await.unwrap().into_inner();
        assert_eq!(handoff.state(), pb::handoff::State::Withdrawn);
        let accept = pb::AcceptHandoffRequest {
            name: handoff.name,
            etag: handoff.etag,
            ..Default::default()
        };
        let refused = ben.cases.accept_handoff(accept).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "nor does the receiver see the case any more");
        assert_eq!(accountable(&world, &case, Duration::ZERO).await.unwrap(), "cleo");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_supervisor_reassigns() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let request = pb::ReassignCaseRequest {
            name: case.name,
            etag: case.etag,
            accountable: "ben".to_owned(),
            reason: "tired".to_owned(),
            ..Default::default()
        };
        let refused = ana.cases.reassign_case(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

impl Caller {
    /// A task of `case`, given to `owner` where that is not empty.
    pub async fn task(&mut self, case: &pb::Case, title: &str, owner: &str) -> pb::Task {
        let task =
            pb::Task { title: title.to_owned(), owner: owner.to_owned(), ..Default::default() };
        let request = pb::CreateTaskRequest {
            parent: case.name.clone(),
            task: Some(task),
            ..Default::default()
        };
        self.tasks.create_task(request).await.unwrap().into_inner()
    }

    pub async fn again(&mut self, task: &pb::Task) -> pb::Task {
        let request = pb::GetTaskRequest { name: task.name.clone() };
        self.tasks.get_task(request).await.unwrap().into_inner()
    }

    /// `task`, accepted and begun by its owner.
    pub async fn starts(&mut self, task: &pb::Task) -> pb::Task {
        let (name, etag) = (task.name.clone(), task.etag.clone());
        let request = pb::AcceptTaskRequest { name, etag, ..Default::default() };
        let task = self.tasks.accept_task(request).await.unwrap().into_inner();
        let request =
            pb::StartTaskRequest { name: task.name, etag: task.etag, ..Default::default() };
        self.tasks.start_task(request).await.unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_done_goes_to_whoever_becomes_accountable_and_what_others_have_stays() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "case_manager");
        let case = ana.enrolled().await;
        let call = ana.task(&case, "call", "ana").await;
        let visit = ana.task(&case, "visit", "ana").await;
        let visit = ana.starts(&visit).await;
        let scale = ana.task(&case, "bring a scale", "nora").await;
        let pool = ana.task(&case, "find a ride", "").await;
        let request = pb::CancelTaskRequest {
            name: pool.name.clone(),
            etag: pool.etag.clone(),
            reason: "found".to_owned(),
            ..Default::default()
        };
        let pool = ana.tasks.cancel_task(request).await.unwrap().into_inner();

        let handoff = ana.offers(&case, "ben").await.unwrap();
        assert_eq!(sam.again(&call).await, call, "a proposal moves nothing");
        let request = pb::AcceptHandoffRequest {
            name: handoff.name,
            etag: handoff.etag,
            ..Default::default()
        };
        ben.cases.accept_handoff(request).await.unwrap();
        let (now, begun) = (sam.again(&call).await, sam.again(&visit).await);
        assert_eq!((now.owner.as_str(), now.state()), ("ben", call.state()));
        assert_eq!((begun.owner.as_str(), begun.state()), ("ben", visit.state()));
        assert_eq!((sam.again(&scale).await, sam.again(&pool).await), (scale.clone(), pool));
        let list = pb::ListTimelineRequest { parent: case.name.clone(), ..Default::default() };
        let told = sam.cases.list_timeline(list).await.unwrap().into_inner().timeline;
        let passed = told.iter().filter(|one| one.event == "TASK_PASSED_ON");
        let passed: Vec<_> = passed.map(|one| (&one.resource[..], &one.reason[..])).collect();
        assert_eq!(passed, [(&call.name[..], "leave"), (&visit.name[..], "leave")]);

        let now = sam.read(&case).await;
        let request = pb::ReassignCaseRequest {
            name: now.name,
            etag: now.etag,
            accountable: "cleo".to_owned(),
            reason: "ben is ill".to_owned(),
            ..Default::default()
        };
        sam.cases.reassign_case(request).await.unwrap();
        assert_eq!(sam.again(&visit).await.owner, "cleo");

        let now = sam.read(&case).await;
        let waiting = sam.does(&world, Verb::Waitlist, &now).await.unwrap();
        assert_eq!(sam.again(&visit).await.owner, "cleo", "until somebody else is");
        sam.does(&world, Verb::Return, &waiting).await.unwrap();
        assert_eq!(sam.again(&visit).await.owner, "sam");
        assert_eq!(sam.again(&scale).await.owner, "nora");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_handoff_stands_while_its_case_is_paused() {
    use caseward_api::careplan::v1::{case::State, handoff::State as Handoff};
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, State::Active).await;
        let handoff =
            pb::Handoff { to: "ben".to_owned(), reason: "leave".to_owned(), ..Default::default() };
        let propose = pb::ProposeHandoffRequest {
            parent: case.name.clone(),
            handoff: Some(handoff),
            ..Default::default()
        };
        let handoff = sam.cases.propose_handoff(propose.clone()).await.unwrap().into_inner();
        let get = pb::GetHandoffRequest { name: handoff.name.clone() };
        world.advance(Duration::days(1)).await;
        let paused = sam.does(&world, Verb::Pause, &case).await.unwrap();
        world.advance(Duration::days(10)).await;
        let waits = sam.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(waits.state(), Handoff::Proposed);
        let case = sam.does(&world, Verb::Resume, &paused).await.unwrap();
        let seconds = |handoff: &pb::Handoff| handoff.expire_time.unwrap().seconds;
        let waits = sam.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(seconds(&waits) - seconds(&handoff), 10 * 86_400);
        world.advance(Duration::hours(47)).await;
        let waits = sam.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(waits.state(), Handoff::Proposed);
        world.advance(Duration::hours(1)).await;
        let lapsed = sam.cases.get_handoff(get).await.unwrap().into_inner();
        assert_eq!(lapsed.state(), Handoff::Expired);

        let paused = sam.does(&world, Verb::Pause, &case).await.unwrap();
        let made = sam.cases.propose_handoff(propose).await.unwrap().into_inner();
        let get = pb::GetHandoffRequest { name: made.name.clone() };
        world.advance(Duration::days(4)).await;
        sam.does(&world, Verb::Resume, &paused).await.unwrap();
        world.advance(Duration::hours(71)).await;
        let waits = sam.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(waits.state(), Handoff::Proposed, "one made in the pause has all of its time");
        world.advance(Duration::hours(1)).await;
        let lapsed = sam.cases.get_handoff(get).await.unwrap().into_inner();
        assert_eq!(lapsed.state(), Handoff::Expired);
    }
}
