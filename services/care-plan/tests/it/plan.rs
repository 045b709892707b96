//! Plans are approved by another, agreed to word by word, revised without forgetting, and end with what hangs on them.
use caseward_api::{
    careplan::v1::{self as pb, care_plan::State, plan_change::Action},
    patient::v1::{CaregiverScope, RelatedPerson, caregiver_scope::LegalBasis},
    types::v1::Period,
};
use time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{Caller, World, concept, patient, worlds};

/// A plan with two goals and an activity, as far as active.
async fn active(world: &World, ana: &mut Caller) -> (pb::Case, pb::CarePlan) {
    let case = ana.enrolled().await;
    let plan = ana.plan(&case).await;
    ana.goal(&plan, "walk to the park").await;
    ana.goal(&plan, "weigh every morning").await;
    ana.activity(&plan, "bring a scale").await;
    (case, activate(world, ana, plan).await)
}

pub async fn activate(world: &World, ana: &mut Caller, plan: pb::CarePlan) -> pb::CarePlan {
    let plan = approved(world, ana, plan).await;
    let plan = agreed(ana, &plan).await.unwrap();
    activated(ana, &plan).await.unwrap()
}

/// `plan`, submitted and approved by another.
async fn approved(world: &World, ana: &mut Caller, plan: pb::CarePlan) -> pb::CarePlan {
    let mut sam = world.caller("sam", "supervisor");
    let request =
        pb::SubmitCarePlanRequest { name: plan.name, etag: plan.etag, ..Default::default() };
    let plan = ana.plans.submit_care_plan(request).await.unwrap().into_inner();
    let request =
        pb::ApproveCarePlanRequest { name: plan.name, etag: plan.etag, ..Default::default() };
    sam.plans.approve_care_plan(request).await.unwrap().into_inner()
}

/// The patient says yes to `plan` as it was approved.
pub async fn agreed(ana: &mut Caller, plan: &pb::CarePlan) -> Result<pb::CarePlan, Status> {
    let agreement = pb::Agreement {
        party: pb::agreement::Party::Patient.into(),
        method: pb::agreement::Method::Verbal.into(),
        content_hash: plan.content_hash.clone(),
        ..Default::default()
    };
    says(ana, plan, agreement).await
}

async fn says(
    ana: &mut Caller,
    plan: &pb::CarePlan,
    agreement: pb::Agreement,
) -> Result<pb::CarePlan, Status> {
    let request = pb::RecordAgreementRequest {
        name: plan.name.clone(),
        etag: plan.etag.clone(),
        agreement: Some(agreement),
        ..Default::default()
    };
    ana.plans.record_agreement(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_carried_out_after_another_approved_it_and_the_patient_agreed() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (_, plan) = active(&world, &mut ana).await;
        assert_eq!(plan.state(), State::Active);
        assert_eq!(plan.approval.unwrap().approver, "sam");
        assert_eq!(plan.content_hash.len(), 64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_approves_their_own_plan() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let plan = sam.plan(&case).await;
        sam.goal(&plan, "sleep").await;
        let request =
            pb::SubmitCarePlanRequest { name: plan.name, etag: plan.etag, ..Default::default() };
        let plan = sam.plans.submit_care_plan(request).await.unwrap().into_inner();
        let request =
            pb::ApproveCarePlanRequest { name: plan.name, etag: plan.etag, ..Default::default() };
        let refused = sam.plans.approve_care_plan(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_says_what_it_changed_and_ends_the_plan_it_replaces() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (case, old) = active(&world, &mut ana).await;
        let request = pb::ReviseCarePlanRequest {
            name: old.name.clone(),
            etag: old.etag.clone(),
            reason: "a new goal".to_owned(),
            ..Default::default()
        };
        let draft = ana.plans.revise_care_plan(request).await.unwrap().into_inner();
        assert_eq!((draft.plan_revision, draft.replaces.as_str()), (2, old.name.as_str()));
        ana.goal(&draft, "cook twice a week").await;
        let diff = pb::DiffRevisionsRequest { name: draft.name.clone(), base: String::new() };
        let diff = ana.plans.diff_revisions(diff).await.unwrap().into_inner();
        let changes: Vec<_> =
            diff.changes.iter().map(|one| (one.action(), one.description.as_str())).collect();
        assert_eq!(changes, [(Action::Added, "cook twice a week")]);
        let revised = activate(&world, &mut ana, draft).await;
        assert_eq!(revised.state(), State::Active);
        let old = ana
            .plans
            .get_care_plan(pb::GetCarePlanRequest { name: old.name })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((old.state(), old.replaced_by), (State::Completed, revised.name));
        let list = pb::ListCarePlansRequest { parent: case.name, ..Default::default() };
        assert_eq!(ana.plans.list_care_plans(list).await.unwrap().into_inner().care_plans.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_plan_takes_its_open_activities_and_their_tasks_with_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (case, plan) = active(&world, &mut ana).await;
        let list = pb::ListActivitiesRequest { parent: plan.name.clone(), ..Default::default() };
        let activity = ana
            .plans
            .list_activities(list.clone())
            .await
            .unwrap()
            .into_inner()
            .activities
            .remove(0);
        let task = about(&mut ana, &case, &activity.name).await;
        let request = pb::RevokeCarePlanRequest {
            name: plan.name,
            etag: plan.etag,
            reason: "moves away".to_owned(),
            ..Default::default()
        };
        let plan = ana.plans.revoke_care_plan(request).await.unwrap().into_inner();
        assert_eq!(plan.state(), State::Revoked);
        let activity =
            ana.plans.list_activities(list).await.unwrap().into_inner().activities.remove(0);
        assert_eq!(activity.state(), pb::activity::State::Cancelled);
        let task =
            ana.tasks.get_task(pb::GetTaskRequest { name: task.name }).await.unwrap().into_inner();
        assert_eq!(task.state(), pb::task::State::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_to_other_words_is_aborted() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "sleep").await;
        let plan = approved(&world, &mut ana, plan).await;
        let agreement = pb::Agreement {
            party: pb::agreement::Party::Patient.into(),
            method: pb::agreement::Method::Signature.into(),
            content_hash: "0".repeat(64),
            ..Default::default()
        };
        let refused = says(&mut ana, &plan, agreement).await.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whom_law_or_a_proxy_lets_speak_for_the_patient_agrees_in_their_place() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "sleep").await;
        let plan = approved(&world, &mut ana, plan).await;
        let (yesterday, now) = (world.now() - Duration::days(1), world.now());
        let scope = |basis: LegalBasis| CaregiverScope {
            legal_basis: basis.into(),
            period: Some(Period { start: Some(yesterday.into()), end: None }),
            ..Default::default()
        };
        let daughter = |scope| RelatedPerson { scope, ..Default::default() };
        let over = Some(Period { start: None, end: Some((now - Duration::hours(1)).into()) });
        let silent = [
            None,
            Some(scope(LegalBasis::PatientPermission)),
            Some(CaregiverScope {
                revoke_time: Some(now.into()),
                ..scope(LegalBasis::HealthCareProxy)
            }),
            Some(CaregiverScope { period: over, ..scope(LegalBasis::Guardian) }),
        ];
        let speaks = |name: &str| pb::Agreement {
            party: pb::agreement::Party::Representative.into(),
            related_person: name.to_owned(),
            method: pb::agreement::Method::Signature.into(),
            content_hash: plan.content_hash.clone(),
            ..Default::default()
        };
        for scope in silent {
            let name = world.knows(&case.patient, daughter(scope));
            let refused = says(&mut ana, &plan, speaks(&name)).await.unwrap_err();
            assert_eq!(reason(&refused), "NOT_REPRESENTATIVE");
        }
        let proxy = daughter(Some(scope(LegalBasis::HealthCareProxy)));
        let of_another = world.knows(&patient(), proxy.clone());
        let nobody = format!("{}/relatedPersons/{}", case.patient, uuid::Uuid::now_v7());
        for name in [of_another, nobody] {
            let refused = says(&mut ana, &plan, speaks(&name)).await.unwrap_err();
            let named = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(named[0].field, "agreement.related_person");
        }
        let name = world.knows(&case.patient, proxy);
        let early = (yesterday - Duration::days(1)).into();
        let early = pb::Agreement { agree_time: Some(early), ..speaks(&name) };
        let refused = says(&mut ana, &plan, early).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_REPRESENTATIVE");
        let plan = says(&mut ana, &plan, speaks(&name)).await.unwrap();
        assert_eq!(plan.agreement.unwrap().related_person, name);
    }
}

/// `activity`, scheduled and begun.
pub async fn begun(ana: &mut Caller, activity: pb::Activity) -> pb::Activity {
    begins(ana, &activity).await.unwrap()
}

async fn begins(ana: &mut Caller, activity: &pb::Activity) -> Result<pb::Activity, Status> {
    let request = pb::ScheduleActivityRequest {
        name: activity.name.clone(),
        etag: activity.etag.clone(),
        schedule: Some(pb::Schedule { text: "every Monday".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let activity = ana.plans.schedule_activity(request).await?.into_inner();
    let (name, etag) = (activity.name, activity.etag);
    let request = pb::StartActivityRequest { name, etag, ..Default::default() };
    ana.plans.start_activity(request).await.map(tonic::Response::into_inner)
}

pub async fn completed(ana: &mut Caller, activity: pb::Activity) -> pb::Activity {
    let evidence = pb::Evidence {
        kind: pb::evidence::Kind::Patient.into(),
        text: "she has it".to_owned(),
        ..Default::default()
    };
    let request = pb::CompleteActivityRequest {
        name: activity.name,
        etag: activity.etag,
        evidence: Some(evidence),
        ..Default::default()
    };
    ana.plans.complete_activity(request).await.unwrap().into_inner()
}

async fn activities(ana: &mut Caller, plan: &pb::CarePlan) -> Vec<pb::Activity> {
    let list = pb::ListActivitiesRequest { parent: plan.name.clone(), ..Default::default() };
    ana.plans.list_activities(list).await.unwrap().into_inner().activities
}

async fn goals(ana: &mut Caller, plan: &pb::CarePlan) -> Vec<pb::Goal> {
    let list = pb::ListGoalsRequest { parent: plan.name.clone(), ..Default::default() };
    ana.plans.list_goals(list).await.unwrap().into_inner().goals
}

async fn accepted(ana: &mut Caller, goal: &pb::Goal) -> pb::Goal {
    let (name, etag) = (goal.name.clone(), goal.etag.clone());
    let request = pb::AcceptGoalRequest { name, etag, ..Default::default() };
    ana.plans.accept_goal(request).await.unwrap().into_inner()
}

/// `goal`, accepted, planned and begun.
async fn pursued(ana: &mut Caller, goal: &pb::Goal) -> pb::Goal {
    let goal = accepted(ana, goal).await;
    let request = pb::PlanGoalRequest { name: goal.name, etag: goal.etag, ..Default::default() };
    let goal = ana.plans.plan_goal(request).await.unwrap().into_inner();
    let request = pb::StartGoalRequest { name: goal.name, etag: goal.etag, ..Default::default() };
    ana.plans.start_goal(request).await.unwrap().into_inner()
}

async fn cancelled(ana: &mut Caller, activity: &pb::Activity) -> Result<pb::Activity, Status> {
    let request = pb::CancelActivityRequest {
        name: activity.name.clone(),
        etag: activity.etag.clone(),
        reason: "too far".to_owned(),
        ..Default::default()
    };
    ana.plans.cancel_activity(request).await.map(tonic::Response::into_inner)
}

async fn in_error(ana: &mut Caller, goal: &pb::Goal) {
    let request = pb::MarkGoalEnteredInErrorRequest {
        name: goal.name.clone(),
        etag: goal.etag.clone(),
        reason: "another patient's".to_owned(),
        ..Default::default()
    };
    ana.plans.mark_goal_entered_in_error(request).await.unwrap();
}

async fn activated(ana: &mut Caller, plan: &pb::CarePlan) -> Result<pb::CarePlan, Status> {
    let (name, etag) = (plan.name.clone(), plan.etag.clone());
    let request = pb::ActivateCarePlanRequest { name, etag, ..Default::default() };
    ana.plans.activate_care_plan(request).await.map(tonic::Response::into_inner)
}

async fn about(ana: &mut Caller, case: &pb::Case, focus: &str) -> pb::Task {
    let task =
        pb::Task { title: "see to it".to_owned(), focus: focus.to_owned(), ..Default::default() };
    let parent = case.name.clone();
    let request = pb::CreateTaskRequest { parent, task: Some(task), ..Default::default() };
    ana.tasks.create_task(request).await.unwrap().into_inner()
}

fn reason(refused: &Status) -> String {
    refused.get_details_error_info().unwrap().reason
}

async fn revised(ana: &mut Caller, plan: &pb::CarePlan) -> pb::CarePlan {
    let request = pb::ReviseCarePlanRequest {
        name: plan.name.clone(),
        etag: plan.etag.clone(),
        reason: "time has passed".to_owned(),
        ..Default::default()
    };
    ana.plans.revise_care_plan(request).await.unwrap().into_inner()
}

async fn diff(ana: &mut Caller, plan: &pb::CarePlan, base: &pb::CarePlan) -> Vec<(Action, String)> {
    let request = pb::DiffRevisionsRequest { name: plan.name.clone(), base: base.name.clone() };
    let diff = ana.plans.diff_revisions(request).await.unwrap().into_inner();
    diff.changes.into_iter().map(|one| (one.action(), one.description)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_no_change_and_what_stopped_is_over_any_number_of_revisions() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let first = ana.plan(&case).await;
        ana.goal(&first, "walk to the park").await;
        for what in ["bring a scale", "cook together", "visit the gym", "see a friend"] {
            ana.activity(&first, what).await;
        }
        let first = activate(&world, &mut ana, first).await;
        let [scale, cook, ..] = &activities(&mut ana, &first).await[..] else { panic!("four") };
        let scale = begun(&mut ana, scale.clone()).await;
        completed(&mut ana, scale).await;
        let cook = begun(&mut ana, cook.clone()).await;

        let second = revised(&mut ana, &first).await;
        assert_eq!(diff(&mut ana, &second, &first).await, [], "nothing changed yet");
        let carried = activities(&mut ana, &second).await;
        let names: Vec<_> = carried.iter().map(|one| one.description.as_str()).collect();
        assert_eq!(names, ["cook together", "visit the gym", "see a friend"]);
        assert_eq!(carried[0].carried_from, cook.name);
        cancelled(&mut ana, &carried[1]).await.unwrap();
        let second = activate(&world, &mut ana, second).await;
        let carried = activities(&mut ana, &second).await;
        completed(&mut ana, carried[0].clone()).await;

        let third = revised(&mut ana, &second).await;
        ana.activity(&third, "join the choir").await;
        let added = (Action::Added, "join the choir".to_owned());
        let stopped = (Action::Stopped, "visit the gym".to_owned());
        assert_eq!(diff(&mut ana, &second, &first).await, std::slice::from_ref(&stopped));
        assert_eq!(diff(&mut ana, &third, &second).await, [added.clone(), stopped.clone()]);
        assert_eq!(diff(&mut ana, &third, &first).await, [added, stopped]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_in_a_plan_takes_its_own_tasks_with_it() {
    use pb::task::State as Task;
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        for goal in ["sleep", "walk"] {
            ana.goal(&plan, goal).await;
        }
        for what in ["cook together", "visit the gym"] {
            ana.activity(&plan, what).await;
        }
        let plan = activate(&world, &mut ana, plan).await;
        let [cook, gym] = &activities(&mut ana, &plan).await[..] else { panic!("two") };
        let [sleep, walk] = &goals(&mut ana, &plan).await[..] else { panic!("two") };
        let mut tasks = vec![];
        for one in [&cook.name, &gym.name, &sleep.name, &walk.name] {
            tasks.push(about(&mut ana, &case, one).await.name);
        }
        cancelled(&mut ana, gym).await.unwrap();
        in_error(&mut ana, walk).await;
        let mut states = vec![];
        for name in tasks {
            let task = ana.tasks.get_task(pb::GetTaskRequest { name }).await.unwrap();
            states.push(task.into_inner().state());
        }
        assert_eq!(states, [Task::Ready, Task::Cancelled, Task::Ready, Task::Cancelled]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goals_end_with_the_plan_that_is_given_up_however_far_they_are() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (case, plan) = active(&world, &mut ana).await;
        let [begun, agreed] = &goals(&mut ana, &plan).await[..] else { panic!("two goals") };
        pursued(&mut ana, begun).await;
        accepted(&mut ana, agreed).await;
        let task = about(&mut ana, &case, &begun.name).await;
        let request = pb::RevokeCarePlanRequest {
            name: plan.name.clone(),
            etag: plan.etag.clone(),
            reason: "moves away".to_owned(),
            ..Default::default()
        };
        ana.plans.revoke_care_plan(request).await.unwrap();
        for goal in goals(&mut ana, &plan).await {
            let ended = (goal.state(), goal.state_reason.as_str());
            assert_eq!(ended, (pb::goal::State::Cancelled, "moves away"));
        }
        assert_eq!(ana.again(&task).await.state(), pb::task::State::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_completed_only_when_all_of_it_came_to_an_end() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (case, plan) = active(&world, &mut ana).await;
        let complete = pb::CompleteCarePlanRequest {
            name: plan.name.clone(),
            etag: plan.etag.clone(),
            ..Default::default()
        };
        let mut asks = ana.clone();
        let mut refusal = async || {
            let refused = asks.plans.complete_care_plan(complete.clone()).await.unwrap_err();
            let broken = refused.get_details_precondition_failure().unwrap().violations;
            let subjects: Vec<String> = broken.into_iter().map(|one| one.subject).collect();
            (reason(&refused), subjects)
        };
        let (reason, open) = refusal().await;
        assert_eq!((reason.as_str(), open.len()), ("OPEN_GOALS", 2));
        for goal in goals(&mut ana, &plan).await {
            let request = pb::RejectGoalRequest {
                name: goal.name,
                etag: goal.etag,
                reason: "not hers".to_owned(),
                ..Default::default()
            };
            ana.plans.reject_goal(request).await.unwrap();
        }
        let activity = activities(&mut ana, &plan).await.remove(0);
        assert_eq!(refusal().await, ("OPEN_ACTIVITIES".to_owned(), vec![activity.name.clone()]));
        let activity = begun(&mut ana, activity).await;
        completed(&mut ana, activity).await;
        assert_eq!(refusal().await.0, "NO_EVALUATION");
        let evaluation = pb::Evaluation {
            care_plan: plan.name.clone(),
            summary: "goes well".to_owned(),
            decision: pb::evaluation::Decision::Close.into(),
            ..Default::default()
        };
        let request = pb::CreateEvaluationRequest {
            parent: case.name,
            evaluation: Some(evaluation),
            ..Default::default()
        };
        ana.notes.create_evaluation(request).await.unwrap();
        let done = ana.plans.complete_care_plan(complete.clone()).await.unwrap().into_inner();
        assert_eq!(done.state(), State::Completed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_goes_on_with_what_is_under_way_and_ends_the_tasks_of_what_it_stopped() {
    use pb::{activity::State as Activity, goal::Achievement, task::State as Task};
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let first = ana.plan(&case).await;
        ana.goal(&first, "walk to the park").await;
        for what in ["cook together", "visit the gym", "bring a scale"] {
            ana.activity(&first, what).await;
        }
        let first = activate(&world, &mut ana, first).await;
        let walk = goals(&mut ana, &first).await.remove(0);
        let walk = pursued(&mut ana, &walk).await;
        let [cook, gym, scale] = &activities(&mut ana, &first).await[..] else { panic!("three") };
        let cooking = about(&mut ana, &case, &cook.name).await;
        let training = about(&mut ana, &case, &gym.name).await;
        let walking = about(&mut ana, &case, &walk.name).await;
        let whole = about(&mut ana, &case, &first.name).await;

        let second = revised(&mut ana, &first).await;
        let carried = activities(&mut ana, &second).await;
        cancelled(&mut ana, &carried[1]).await.unwrap();
        let early = begins(&mut ana, &carried[0]).await.unwrap_err();
        assert_eq!(reason(&early), "PLAN_NOT_ACTIVE", "work goes on in the plan that is active");
        let cook = begun(&mut ana, cook.clone()).await;
        let scale = begun(&mut ana, scale.clone()).await;
        completed(&mut ana, scale).await;
        let progress = pb::GoalProgress {
            achievement: Achievement::Improving.into(),
            note: "twice a week".to_owned(),
            ..Default::default()
        };
        let request = pb::RecordGoalProgressRequest {
            name: walk.name.clone(),
            etag: walk.etag,
            progress: Some(progress),
            ..Default::default()
        };
        let walk = ana.plans.record_goal_progress(request).await.unwrap().into_inner();
        let second = activate(&world, &mut ana, second).await;

        let on = activities(&mut ana, &second).await;
        let stand: Vec<_> = on.iter().map(|one| (&one.description[..], one.state())).collect();
        assert_eq!(
            stand,
            [
                ("cook together", Activity::InProgress),
                ("visit the gym", Activity::Cancelled),
                ("bring a scale", Activity::Completed),
            ]
        );
        assert_eq!((on[0].start_time, &on[0].schedule), (cook.start_time, &cook.schedule));
        assert!(on[2].evidence.is_some());
        let goal = goals(&mut ana, &second).await.remove(0);
        assert_eq!((goal.state(), goal.achievement()), (walk.state(), Achievement::Improving));
        assert_eq!(goal.progress, walk.progress);

        let onward = [(&cooking, &on[0].name), (&walking, &goal.name), (&whole, &second.name)];
        for (task, focus) in onward {
            let now = ana.again(task).await;
            assert_eq!((&now.focus, now.state()), (focus, task.state()));
        }
        let ended = ana.again(&training).await;
        assert_eq!((ended.state(), ended.state_reason.as_str()), (Task::Cancelled, "too far"));
        let request = pb::ListTasksRequest { parent: case.name, ..Default::default() };
        let tasks = ana.tasks.list_tasks(request).await.unwrap().into_inner().tasks;
        assert_eq!(tasks.len(), 4, "and none came to them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_is_not_edited_and_what_was_stopped_is_sealed_too() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sam = world.caller("sam", "supervisor");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        let goal = ana.goal(&plan, "sleep").await;
        ana.activity(&plan, "walk").await;
        let gym = ana.activity(&plan, "visit the gym").await;
        let request =
            pb::SubmitCarePlanRequest { name: plan.name, etag: plan.etag, ..Default::default() };
        let plan = ana.plans.submit_care_plan(request).await.unwrap().into_inner();
        let with_gym = plan.content_hash.clone();
        assert_eq!(reason(&cancelled(&mut ana, &gym).await.unwrap_err()), "PLAN_SEALED");
        let request = pb::ReturnCarePlanRequest {
            name: plan.name,
            etag: plan.etag,
            comments: "the gym is too far".to_owned(),
            ..Default::default()
        };
        let plan = sam.plans.return_care_plan(request).await.unwrap().into_inner();
        cancelled(&mut ana, &gym).await.unwrap();
        let plan = approved(&world, &mut ana, plan).await;
        assert_ne!(plan.content_hash, with_gym, "they agree to go without the gym");

        let request = pb::RejectGoalRequest {
            name: goal.name.clone(),
            etag: goal.etag.clone(),
            ..Default::default()
        };
        let refused = ana.plans.reject_goal(request).await.unwrap_err();
        assert_eq!(reason(&refused), "PLAN_SEALED");
        let mask = Some(prost_types::FieldMask { paths: vec!["statement".to_owned()] });
        let request = pb::UpdateGoalRequest {
            goal: Some(pb::Goal { statement: "all night".to_owned(), ..goal.clone() }),
            update_mask: mask,
            ..Default::default()
        };
        let refused = ana.plans.update_goal(request).await.unwrap_err();
        assert_eq!(reason(&refused), "PLAN_SEALED");
        let walk = activities(&mut ana, &plan).await.remove(0);
        let request = pb::ScheduleActivityRequest {
            name: walk.name,
            etag: walk.etag,
            schedule: Some(pb::Schedule { text: "at night".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let refused = ana.plans.schedule_activity(request).await.unwrap_err();
        assert_eq!(reason(&refused), "PLAN_SEALED");
        let plan = agreed(&mut ana, &plan).await.unwrap();
        activated(&mut ana, &plan).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_no_longer_what_was_said_yes_to_is_not_carried_out() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        for agrees_first in [false, true] {
            let case = ana.enrolled().await;
            let plan = ana.plan(&case).await;
            ana.goal(&plan, "sleep").await;
            let wrong = ana.goal(&plan, "fly").await;
            let plan = approved(&world, &mut ana, plan).await;
            let refused = if agrees_first {
                let plan = agreed(&mut ana, &plan).await.unwrap();
                in_error(&mut ana, &wrong).await;
                activated(&mut ana, &plan).await.unwrap_err()
            } else {
                in_error(&mut ana, &wrong).await;
                agreed(&mut ana, &plan).await.unwrap_err()
            };
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert_eq!(reason(&refused), "PLAN_CHANGED");
        }

        let (_, first) = active(&world, &mut ana).await;
        let second = revised(&mut ana, &first).await;
        let second = approved(&world, &mut ana, second).await;
        let second = agreed(&mut ana, &second).await.unwrap();
        let scale = activities(&mut ana, &first).await.remove(0);
        cancelled(&mut ana, &scale).await.unwrap();
        let refused = activated(&mut ana, &second).await.unwrap_err();
        assert_eq!(reason(&refused), "PLAN_CHANGED", "they agreed to the scale");
        let broken = refused.get_details_precondition_failure().unwrap().violations;
        assert_eq!(broken[0].subject, scale.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_of_a_plan_that_ended_meanwhile_brings_nothing_back() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (_, first) = active(&world, &mut ana).await;
        let draft = revised(&mut ana, &first).await;
        let late = approved(&world, &mut ana, draft).await;
        let late = agreed(&mut ana, &late).await.unwrap();
        let request = pb::RevokeCarePlanRequest {
            name: first.name.clone(),
            etag: first.etag,
            reason: "she moved".to_owned(),
            ..Default::default()
        };
        ana.plans.revoke_care_plan(request).await.unwrap();
        let refused = activated(&mut ana, &late).await.unwrap_err();
        assert_eq!(reason(&refused), "PLAN_CHANGED");
        let broken = refused.get_details_precondition_failure().unwrap().violations;
        assert_eq!(broken[0].subject, first.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_revise_a_plan_at_once_one_writes_the_revision() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        for _ in 0..8 {
            let (_, plan) = active(&world, &mut ana).await;
            let revise = async |mut caller: Caller| {
                let request = pb::ReviseCarePlanRequest {
                    name: plan.name.clone(),
                    etag: plan.etag.clone(),
                    reason: "a new goal".to_owned(),
                    ..Default::default()
                };
                caller.plans.revise_care_plan(request).await
            };
            let (one, other) = tokio::join!(revise(ana.clone()), revise(ana.clone()));
            let refused = one.and(other).unwrap_err();
            assert_eq!(reason(&refused), "REVISION_OPEN");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_measured_is_what_a_target_of_the_goal_measures() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        let target = pb::Target {
            measure: concept("steps a day"),
            detail: "more".to_owned(),
            ..Default::default()
        };
        let goal =
            pb::Goal { description: concept("walk"), targets: vec![target], ..Default::default() };
        let parent = plan.name.clone();
        let request = pb::CreateGoalRequest { parent, goal: Some(goal), ..Default::default() };
        ana.plans.create_goal(request).await.unwrap();
        let plan = activate(&world, &mut ana, plan).await;
        let walk = goals(&mut ana, &plan).await.remove(0);
        let walk = pursued(&mut ana, &walk).await;
        let recorded = |measure| pb::RecordGoalProgressRequest {
            name: walk.name.clone(),
            etag: walk.etag.clone(),
            progress: Some(pb::GoalProgress {
                achievement: pb::goal::Achievement::Improving.into(),
                measure,
                ..Default::default()
            }),
            ..Default::default()
        };
        let refused =
            ana.plans.record_goal_progress(recorded(concept("weight"))).await.unwrap_err();
        let bad = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(bad[0].field, "progress.measure");
        ana.plans.record_goal_progress(recorded(concept("steps a day"))).await.unwrap();
    }
}
