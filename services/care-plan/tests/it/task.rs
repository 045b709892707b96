//! Tasks are claimed once, come due, and wait while their case is paused.
use caseward_api::{
    careplan::v1::{self as pb, case::State as Case, evaluation::Decision, task::State},
    notification::v1::MessageHardFailed,
};
use prost_types::Timestamp;
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    walk::Verb,
    world::{Caller, patient, worlds},
};

fn task(title: &str) -> Option<pb::Task> {
    Some(pb::Task { title: title.to_owned(), ..Default::default() })
}

/// Makes a task of Ana's own.
async fn own(ana: &mut Caller, case: &pb::Case, title: &str, due_time: Option<Timestamp>) {
    let (title, owner) = (title.to_owned(), "ana".to_owned());
    let task = Some(pb::Task { title, owner, due_time, ..Default::default() });
    let parent = case.name.clone();
    let request = pb::CreateTaskRequest { parent, task, ..Default::default() };
    ana.tasks.create_task(request).await.unwrap();
}

/// The titles of the whole worklist, read page by page.
async fn worklist(ana: &mut Caller, page_size: i32) -> Vec<String> {
    let mut titles = vec![];
    let mut request = pb::ListWorklistRequest { page_size, ..Default::default() };
    loop {
        let page = ana.tasks.list_worklist(request.clone()).await.unwrap().into_inner();
        titles.extend(page.items.into_iter().map(|item| item.task.unwrap().title));
        if page.next_page_token.is_empty() {
            return titles;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_claim_a_task_one_gets_it() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let request =
            pb::CreateTaskRequest { parent: case.name, task: task("call"), ..Default::default() };
        let task = sam.tasks.create_task(request).await.unwrap().into_inner();
        assert_eq!(task.state(), State::Ready);
        let mut racing = tokio::task::JoinSet::new();
        for subject in ["sam", "sue", "sid"] {
            let mut caller = world.caller(subject, "supervisor");
            let (name, etag) = (task.name.clone(), task.etag.clone());
            let request = pb::ClaimTaskRequest { name, etag, ..Default::default() };
            racing
                .spawn(async move { caller.tasks.claim_task(request).await.map_err(|e| e.code()) });
        }
        let outcomes = racing.join_all().await;
        assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1);
        assert!(
            outcomes.iter().flat_map(|one| one.as_ref().err()).all(|code| *code == Code::Aborted)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worklist_shows_what_is_due_first_and_pages_without_loss() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        for (title, days) in [("third", 9), ("first", 1), ("second", 4)] {
            let due_time = Some((world.now() + Duration::days(days)).into());
            own(&mut ana, &case, title, due_time).await;
        }
        assert_eq!(worklist(&mut ana, 2).await, ["first", "second", "third"]);
        world.advance(Duration::days(2)).await;
        let overdue = pb::ListWorklistRequest { overdue_only: true, ..Default::default() };
        let overdue = ana.tasks.list_worklist(overdue).await.unwrap().into_inner().items;
        assert_eq!(overdue.len(), 1);
        assert!(overdue[0].task.as_ref().unwrap().overdue);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_of_a_task_is_told_in_4000_characters_or_the_task_is_not_done() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let parent = ana.enrolled().await.name;
        let task = Some(pb::Task { owner: "ana".to_owned(), ..task("call").unwrap() });
        let request = pb::CreateTaskRequest { parent, task, ..Default::default() };
        let pb::Task { name, etag, .. } =
            ana.tasks.create_task(request).await.unwrap().into_inner();
        let request = pb::AcceptTaskRequest { name, etag, ..Default::default() };
        let pb::Task { name, etag, .. } =
            ana.tasks.accept_task(request).await.unwrap().into_inner();
        let request = pb::StartTaskRequest { name, etag, ..Default::default() };
        let pb::Task { name, etag, .. } = ana.tasks.start_task(request).await.unwrap().into_inner();
        let complete = |characters| pb::CompleteTaskRequest {
            name: name.clone(),
            etag: etag.clone(),
            output: "ä".repeat(characters),
            ..Default::default()
        };
        let refused = ana.tasks.complete_task(complete(4_001)).await.unwrap_err();
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.iter().map(|it| &*it.field).collect::<Vec<_>>(), ["output"]);
        let done = ana.tasks.complete_task(complete(4_000)).await.unwrap().into_inner();
        assert_eq!((done.state(), done.output.chars().count()), (State::Completed, 4_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_task_stands_while_its_case_is_paused() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, Case::Active).await;
        let due = |days| Some((world.now() + Duration::days(days)).into());
        let parent = case.name.clone();
        let create = |task: pb::Task| pb::CreateTaskRequest {
            parent: parent.clone(),
            task: Some(pb::Task { owner: "sam".to_owned(), ..task }),
            ..Default::default()
        };
        let call = pb::Task { title: "call".to_owned(), due_time: due(2), ..Default::default() };
        let call = sam.tasks.create_task(create(call)).await.unwrap().into_inner();
        world.advance(Duration::days(1)).await;
        let case = sam.does(&world, Verb::Pause, &case).await.unwrap();
        world.advance(Duration::days(6)).await;
        let visit = pb::Task { title: "visit".to_owned(), due_time: due(3), ..Default::default() };
        let visit = sam.tasks.create_task(create(visit)).await.unwrap().into_inner();
        world.advance(Duration::days(4)).await;

        let mut read = async |name: &str| {
            let request = pb::GetTaskRequest { name: name.to_owned() };
            sam.tasks.get_task(request).await.unwrap().into_inner()
        };
        assert!(!read(&call.name).await.overdue && !read(&visit.name).await.overdue);
        let mut other = world.caller("sam", "supervisor");
        let late = pb::ListWorklistRequest { overdue_only: true, ..Default::default() };
        let items = other.tasks.list_worklist(late).await.unwrap().into_inner().items;
        assert!(items.is_empty(), "nothing is overdue while the clocks stand");

        other.does(&world, Verb::Resume, &case).await.unwrap();
        let seconds = |task: &pb::Task| task.due_time.unwrap().seconds;
        assert_eq!(seconds(&read(&call.name).await) - seconds(&call), 10 * 86_400);
        assert_eq!(seconds(&read(&visit.name).await) - seconds(&visit), 4 * 86_400);
        world.advance(Duration::days(2)).await;
        assert!(read(&call.name).await.overdue && !read(&visit.name).await.overdue);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_somebody_said_no_to_waits_in_the_pool_with_the_reason() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let given = Some(pb::Task {
            title: "call".to_owned(),
            owner: "sam".to_owned(),
            ..Default::default()
        });
        let request =
            pb::CreateTaskRequest { parent: case.name.clone(), task: given, ..Default::default() };
        let task = sam.tasks.create_task(request).await.unwrap().into_inner();
        let request = pb::RejectTaskRequest {
            name: task.name.clone(),
            etag: task.etag,
            reason: "on leave".to_owned(),
            ..Default::default()
        };
        let task = sam.tasks.reject_task(request).await.unwrap().into_inner();
        assert_eq!(
            (task.state(), &task.owner[..], &task.state_reason[..]),
            (State::Ready, "", "on leave")
        );
        let pool = pb::ListWorklistRequest { include_pool: true, ..Default::default() };
        let items = sam.tasks.list_worklist(pool).await.unwrap().into_inner().items;
        assert_eq!(items[0].task, Some(task.clone()));
        let history = pb::ListTransitionsRequest {
            parent: case.name,
            resource: task.name,
            ..Default::default()
        };
        let history = sam.cases.list_transitions(history).await.unwrap().into_inner().transitions;
        let states: Vec<_> = history.iter().map(|one| one.to_state.as_str()).collect();
        assert_eq!(states, ["REQUESTED", "REJECTED", "READY"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_is_there_for_waits_for_a_supervisor_and_is_told() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let evaluation = pb::Evaluation {
            summary: "it is beyond me".to_owned(),
            decision: Decision::Escalate.into(),
            next_review_time: Some((world.now() + Duration::days(7)).into()),
            ..Default::default()
        };
        let parent = case.name.clone();
        let request = pb::CreateEvaluationRequest {
            parent,
            evaluation: Some(evaluation),
            ..Default::default()
        };
        let escalated =
            ana.notes.create_evaluation(request).await.unwrap().into_inner().raised_task;

        let outreach = ana.outreach().await;
        let failed = MessageHardFailed {
            message: format!("messages/{}", Uuid::now_v7()),
            patient: outreach.patient.clone(),
            ..Default::default()
        };
        world.tell(failed).await;
        let request = pb::ListTasksRequest { parent: outreach.name, ..Default::default() };
        let unreached = ana.tasks.list_tasks(request).await.unwrap().into_inner().tasks;

        for name in [&escalated, &unreached[0].name] {
            let request = pb::GetTaskRequest { name: name.clone() };
            let task = ana.tasks.get_task(request).await.unwrap().into_inner();
            assert_eq!(
                (task.state(), task.owner.as_str(), task.candidate_role.as_str()),
                (State::Ready, "", "supervisor")
            );
            let [told] = &world.heard::<pb::TaskOffered>(name).await[..] else { panic!("told") };
            assert_eq!(told.candidate_role, "supervisor");
            assert_eq!((told.priority(), told.due_time), (task.priority(), task.due_time));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_reached_nobody_has_somebody_make_contact_in_person_the_next_day() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let failed = |patient: &str, case: &str| MessageHardFailed {
            message: format!("messages/{}", Uuid::now_v7()),
            patient: patient.to_owned(),
            case: case.to_owned(),
            purpose: "plan-activated".to_owned(),
            ..Default::default()
        };
        let of_case = failed(&case.patient, &case.name);
        let of_none = failed(&case.patient, "");
        let of_stranger = failed(&patient(), "");
        for event in [of_stranger, of_case.clone(), of_none.clone()] {
            world.tell(event).await;
        }
        let request = pb::ListTasksRequest { parent: case.name, ..Default::default() };
        let tasks = ana.tasks.list_tasks(request).await.unwrap().into_inner().tasks;
        let causes: Vec<&str> = tasks.iter().map(|task| task.cause.as_str()).collect();
        assert_eq!(
            causes,
            [&of_case.message, &of_none.message],
            "and none for whom nobody looks after"
        );
        for task in &tasks {
            assert_eq!((task.owner.as_str(), task.state()), ("ana", State::Accepted));
            assert_eq!(task.due_time, Some((world.now() + Duration::days(1)).into()));
            assert!(task.description.contains("plan-activated"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_for_a_role_is_offered_to_claimed_and_accepted_by_nobody_without_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sam = world.caller("sam", "supervisor");
        let case = ana.enrolled().await;
        let for_managers = |owner: &str| pb::CreateTaskRequest {
            parent: case.name.clone(),
            task: Some(pb::Task {
                title: "call".to_owned(),
                owner: owner.to_owned(),
                candidate_role: "case_manager".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let pool = ana.tasks.create_task(for_managers("")).await.unwrap().into_inner();
        let given = ana.tasks.create_task(for_managers("sam")).await.unwrap().into_inner();
        let claim = pb::ClaimTaskRequest {
            name: pool.name.clone(),
            etag: pool.etag.clone(),
            ..Default::default()
        };
        let refused = sam.tasks.claim_task(claim.clone()).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_CANDIDATE");
        let (name, etag) = (given.name.clone(), given.etag.clone());
        let accept = pb::AcceptTaskRequest { name, etag, ..Default::default() };
        let refused = sam.tasks.accept_task(accept).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_CANDIDATE");

        let list = pb::ListWorklistRequest { include_pool: true, ..Default::default() };
        let offered = async |caller: &mut Caller| {
            let page = caller.tasks.list_worklist(list.clone()).await.unwrap().into_inner();
            let names = page.items.into_iter().map(|item| item.task.unwrap().name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(offered(&mut sam).await, [given.name], "what was given is shown all the same");
        assert_eq!(offered(&mut ana).await, std::slice::from_ref(&pool.name));
        let claimed = ana.tasks.claim_task(claim).await.unwrap().into_inner();
        assert_eq!((claimed.state(), claimed.owner.as_str()), (State::Accepted, "ana"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_told_to_be_overdue_once_for_each_time_that_it_is_due() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, Case::Active).await;
        let due = |days: i64| Some((world.now() + Duration::days(days)).into());
        let task = Some(pb::Task {
            title: "call".to_owned(),
            owner: "sam".to_owned(),
            due_time: due(1),
            ..Default::default()
        });
        let request =
            pb::CreateTaskRequest { parent: case.name.clone(), task, ..Default::default() };
        let task = sam.tasks.create_task(request).await.unwrap().into_inner();
        let told = async || world.heard::<pb::TaskOverdue>(&task.name).await.len();
        let set = |task: &pb::Task, field: &str| pb::UpdateTaskRequest {
            task: Some(task.clone()),
            update_mask: Some(prost_types::FieldMask { paths: vec![field.to_owned()] }),
            ..Default::default()
        };
        world.advance(Duration::hours(23)).await;
        assert_eq!(told().await, 0);
        world.advance(Duration::days(2)).await;
        assert_eq!(told().await, 1);

        let begun = sam.starts(&task).await;
        let request = pb::HoldTaskRequest {
            name: begun.name.clone(),
            etag: begun.etag.clone(),
            ..Default::default()
        };
        let held = sam.tasks.hold_task(request).await.unwrap().into_inner();
        let better = pb::Task { title: "call twice".to_owned(), ..held };
        let task_now = sam.tasks.update_task(set(&better, "title")).await.unwrap().into_inner();
        world.advance(Duration::days(1)).await;
        let paused = sam.does(&world, Verb::Pause, &case).await.unwrap();
        world.advance(Duration::days(1)).await;
        sam.does(&world, Verb::Resume, &paused).await.unwrap();
        world.advance(Duration::days(1)).await;
        assert!(sam.again(&task_now).await.overdue);
        assert_eq!(told().await, 1, "whatever is done to it meanwhile");

        let later = pb::Task { due_time: due(1), ..sam.again(&task_now).await };
        sam.tasks.update_task(set(&later, "due_time")).await.unwrap();
        assert_eq!(told().await, 1);
        world.advance(Duration::days(2)).await;
        assert_eq!(told().await, 2, "it was due anew");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worklist_goes_by_risk_then_by_due_time_then_by_age_also_from_page_to_page() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let steady = ana.enrolled().await;
        let risky = ana.enrolled().await;
        let inputs =
            pb::LaceInputs { length_of_stay_days: 30, acute_admission: true, ..Default::default() };
        let request = pb::ScoreLaceRequest {
            parent: risky.name.clone(),
            inputs: Some(inputs),
            ..Default::default()
        };
        ana.assessments.score_lace(request).await.unwrap();
        assert!(ana.read(&risky).await.risk.unwrap().rank > 0);
        let (soon, later) = (Some(1), Some(2));
        // In the order in which they are made; the list has them in another.
        let tasks = [
            (&steady, later, 7),
            (&risky, None, 3),
            (&steady, soon, 5),
            (&risky, later, 1),
            (&steady, None, 8),
            (&steady, soon, 6),
            (&risky, later, 2),
            (&risky, None, 4),
        ];
        for (case, due, place) in tasks {
            let due_time = due.map(|days| (world.now() + Duration::days(days)).into());
            own(&mut ana, case, &format!("{place}"), due_time).await;
        }
        for page_size in 1..=4 {
            let titles = worklist(&mut ana, page_size).await;
            assert_eq!(titles, ["1", "2", "3", "4", "5", "6", "7", "8"], "{page_size} a page");
        }
    }
}
