//! What cases are made of, led through every state over the API: what the model lists happens, and anything else is
//! refused with the states that are allowed from there.
use caseward_api::careplan::v1 as pb;
use time::Duration;
use tonic::{Code, Status};

use crate::{
    assessment::answers,
    plan::activate,
    world::{Caller, World, worlds},
};

/// A resource, as far as a walk looks at it.
#[derive(Clone, Debug, PartialEq)]
struct At {
    name: String,
    etag: String,
    state: String,
}

macro_rules! at {
    ($row:expr) => {{
        let row = $row;
        let state = row.state().as_str_name().trim_start_matches("STATE_").to_owned();
        At { name: row.name, etag: row.etag, state }
    }};
}

/// Calls an RPC with the name and the etag of what is walked, and whatever else it wants.
macro_rules! ask {
    ($client:expr, $rpc:ident, $request:ident, $at:ident $(, $field:ident: $value:expr)*) => {{
        let request = pb::$request {
            name: $at.name.clone(),
            etag: $at.etag.clone(),
            $($field: $value,)*
            ..Default::default()
        };
        $client.$rpc(request).await.map(|done| at!(done.into_inner()))
    }};
}

/// One machine of the model.
trait Machine {
    const VERBS: &'static [&'static str];
    /// Each state, the verbs that lead to it, and what a refusal there names.
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)];
    /// From, verb, to.
    const STEPS: &'static [(&'static str, &'static str, &'static str)];

    async fn make(callers: &mut Callers<'_>) -> At;
    /// Does `verb` with everything that it needs, where it is possible from there.
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status>;
    async fn read(callers: &mut Callers<'_>, at: &At) -> At;
}

struct Callers<'a> {
    world: &'a World,
    /// Writes.
    ana: Caller,
    /// Does the rest; a supervisor may.
    sam: Caller,
}

async fn walk<M: Machine>() {
    for world in worlds().await {
        let (ana, sam) = (world.caller("ana", "case_manager"), world.caller("sam", "supervisor"));
        let mut callers = Callers { world: &world, ana, sam };
        for (from, way, allowed) in M::STATES {
            let reached = lead::<M>(&mut callers, way).await;
            assert_eq!(reached.state, *from);
            for verb in M::VERBS {
                let Some((.., to)) =
                    M::STEPS.iter().find(|step| (step.0, step.1) == (*from, *verb))
                else {
                    let refused = M::does(&mut callers, verb, &reached).await.unwrap_err();
                    let said = refused.message();
                    assert_eq!(
                        refused.code(),
                        Code::FailedPrecondition,
                        "{verb} from {from}: {said}"
                    );
                    let named = format!("from there it can become: {allowed}");
                    assert!(said.ends_with(&named), "{verb} from {from}: {said}");
                    continue;
                };
                let there = lead::<M>(&mut callers, way).await;
                let moved = M::does(&mut callers, verb, &there).await;
                let moved = moved.unwrap_or_else(|refused| panic!("{verb} from {from}: {refused}"));
                assert_eq!(moved.state, *to, "{verb} from {from}");
            }
            let after = M::read(&mut callers, &reached).await;
            assert_eq!(after, reached, "a refused step changes nothing");
        }
        for (from, verb, _) in M::STEPS {
            assert!(M::VERBS.contains(verb) && M::STATES.iter().any(|state| state.0 == *from));
        }
    }
}

/// A new one, led by the verbs of `way`.
async fn lead<M: Machine>(callers: &mut Callers<'_>, way: &[&str]) -> At {
    let mut at = M::make(callers).await;
    for verb in way {
        at = M::does(callers, verb, &at).await.unwrap();
    }
    at
}

fn why() -> String {
    "as it must be".to_owned()
}

const ERROR: &str = "ENTERED_IN_ERROR";

struct Handoff;

impl Machine for Handoff {
    const VERBS: &'static [&'static str] = &["accept", "decline", "withdraw"];
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("PROPOSED", &[], "ACCEPTED, DECLINED, WITHDRAWN, EXPIRED"),
        ("ACCEPTED", &["accept"], ""),
        ("DECLINED", &["decline"], ""),
        ("WITHDRAWN", &["withdraw"], ""),
        ("EXPIRED", &["wait"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("PROPOSED", "accept", "ACCEPTED"),
        ("PROPOSED", "decline", "DECLINED"),
        ("PROPOSED", "withdraw", "WITHDRAWN"),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        let case = callers.ana.enrolled().await;
        at!(callers.ana.offers(&case, "sam").await.unwrap())
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let cases = &mut callers.sam.cases;
        match verb {
            "accept" => ask!(cases, accept_handoff, AcceptHandoffRequest, at),
            "decline" => ask!(cases, decline_handoff, DeclineHandoffRequest, at, reason: why()),
            "withdraw" => ask!(cases, withdraw_handoff, WithdrawHandoffRequest, at),
            _ => {
                callers.world.advance(Duration::days(3)).await;
                Ok(Self::read(callers, at).await)
            }
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetHandoffRequest { name: at.name.clone() };
        at!(callers.sam.cases.get_handoff(request).await.unwrap().into_inner())
    }
}

struct Assessment;

impl Machine for Assessment {
    const VERBS: &'static [&'static str] = &["start", "save", "complete", "amend", "stop", "err"];
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("SCHEDULED", &[], "IN_PROGRESS, ENTERED_IN_ERROR"),
        ("IN_PROGRESS", &["start"], "IN_PROGRESS, COMPLETED, STOPPED, ENTERED_IN_ERROR"),
        ("COMPLETED", &["start", "complete"], "AMENDED, ENTERED_IN_ERROR"),
        ("AMENDED", &["start", "complete", "amend"], "AMENDED, ENTERED_IN_ERROR"),
        ("STOPPED", &["start", "stop"], ERROR),
        (ERROR, &["err"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("SCHEDULED", "start", "IN_PROGRESS"),
        ("IN_PROGRESS", "save", "IN_PROGRESS"),
        ("IN_PROGRESS", "complete", "COMPLETED"),
        ("COMPLETED", "amend", "AMENDED"),
        ("AMENDED", "amend", "AMENDED"),
        ("IN_PROGRESS", "stop", "STOPPED"),
        ("SCHEDULED", "err", ERROR),
        ("IN_PROGRESS", "err", ERROR),
        ("COMPLETED", "err", ERROR),
        ("AMENDED", "err", ERROR),
        ("STOPPED", "err", ERROR),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        let case = callers.ana.enrolled().await;
        let form = callers.ana.form("GAD-7").await;
        let assessment = pb::Assessment { questionnaire: form.name, ..Default::default() };
        let request = pb::CreateAssessmentRequest {
            parent: case.name,
            assessment: Some(assessment),
            ..Default::default()
        };
        at!(callers.ana.assessments.create_assessment(request).await.unwrap().into_inner())
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let forms = &mut callers.sam.assessments;
        let json = answers(&[1; 7]);
        match verb {
            "start" => ask!(forms, start_assessment, StartAssessmentRequest, at),
            "save" => ask!(forms, save_answers, SaveAnswersRequest, at, json: json),
            "complete" => {
                ask!(forms, complete_assessment, CompleteAssessmentRequest, at, json: json)
            }
            "amend" => {
                ask!(forms, amend_assessment, AmendAssessmentRequest, at, json: json, reason: why())
            }
            "stop" => ask!(forms, stop_assessment, StopAssessmentRequest, at, reason: why()),
            _ => ask!(
                forms,
                mark_assessment_entered_in_error,
                MarkAssessmentEnteredInErrorRequest,
                at,
                reason: why()
            ),
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetAssessmentRequest { name: at.name.clone() };
        at!(callers.sam.assessments.get_assessment(request).await.unwrap().into_inner())
    }
}

struct CarePlan;

impl Machine for CarePlan {
    const VERBS: &'static [&'static str] = &[
        "submit", "return", "approve", "activate", "hold", "release", "complete", "revoke", "err",
    ];
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("DRAFT", &[], "IN_REVIEW, REVOKED, ENTERED_IN_ERROR"),
        ("IN_REVIEW", &["submit"], "DRAFT, APPROVED, ENTERED_IN_ERROR"),
        ("APPROVED", &["submit", "approve"], "ACTIVE, REVOKED, ENTERED_IN_ERROR"),
        (
            "ACTIVE",
            &["submit", "approve", "activate"],
            "ON_HOLD, COMPLETED, REVOKED, ENTERED_IN_ERROR",
        ),
        (
            "ON_HOLD",
            &["submit", "approve", "activate", "hold"],
            "ACTIVE, COMPLETED, REVOKED, ENTERED_IN_ERROR",
        ),
        ("COMPLETED", &["submit", "approve", "activate", "complete"], ERROR),
        ("REVOKED", &["revoke"], ERROR),
        (ERROR, &["err"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("DRAFT", "submit", "IN_REVIEW"),
        ("IN_REVIEW", "return", "DRAFT"),
        ("IN_REVIEW", "approve", "APPROVED"),
        ("APPROVED", "activate", "ACTIVE"),
        ("ACTIVE", "hold", "ON_HOLD"),
        ("ON_HOLD", "release", "ACTIVE"),
        ("ACTIVE", "complete", "COMPLETED"),
        ("ON_HOLD", "complete", "COMPLETED"),
        ("DRAFT", "revoke", "REVOKED"),
        ("APPROVED", "revoke", "REVOKED"),
        ("ACTIVE", "revoke", "REVOKED"),
        ("ON_HOLD", "revoke", "REVOKED"),
        ("DRAFT", "err", ERROR),
        ("IN_REVIEW", "err", ERROR),
        ("APPROVED", "err", ERROR),
        ("ACTIVE", "err", ERROR),
        ("ON_HOLD", "err", ERROR),
        ("COMPLETED", "err", ERROR),
        ("REVOKED", "err", ERROR),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        let case = callers.ana.enrolled().await;
        let plan = callers.ana.plan(&case).await;
        callers.ana.goal(&plan, "sleep").await;
        at!(plan)
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let ready = match (verb, at.state.as_str()) {
            ("activate", "APPROVED") => agreed(callers, at).await,
            ("complete", "ACTIVE" | "ON_HOLD") => ended(callers, at).await,
            _ => at.clone(),
        };
        let (at, plans) = (&ready, &mut callers.sam.plans);
        match verb {
            "submit" => ask!(plans, submit_care_plan, SubmitCarePlanRequest, at),
            "return" => ask!(plans, return_care_plan, ReturnCarePlanRequest, at, comments: why()),
            "approve" => ask!(plans, approve_care_plan, ApproveCarePlanRequest, at),
            "activate" => ask!(plans, activate_care_plan, ActivateCarePlanRequest, at),
            "hold" => ask!(plans, hold_care_plan, HoldCarePlanRequest, at, reason: why()),
            "release" => ask!(plans, release_care_plan, ReleaseCarePlanRequest, at),
            "complete" => ask!(plans, complete_care_plan, CompleteCarePlanRequest, at),
            "revoke" => ask!(plans, revoke_care_plan, RevokeCarePlanRequest, at, reason: why()),
            _ => ask!(
                plans,
                mark_care_plan_entered_in_error,
                MarkCarePlanEnteredInErrorRequest,
                at,
                reason: why()
            ),
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetCarePlanRequest { name: at.name.clone() };
        at!(callers.sam.plans.get_care_plan(request).await.unwrap().into_inner())
    }
}

/// The patient says yes to an approved plan.
async fn agreed(callers: &mut Callers<'_>, at: &At) -> At {
    let request = pb::GetCarePlanRequest { name: at.name.clone() };
    let plan = callers.sam.plans.get_care_plan(request).await.unwrap().into_inner();
    at!(crate::plan::agreed(&mut callers.sam, &plan).await.unwrap())
}

/// The goals of a plan end, and it is evaluated.
async fn ended(callers: &mut Callers<'_>, at: &At) -> At {
    let list = pb::ListGoalsRequest { parent: at.name.clone(), ..Default::default() };
    for goal in callers.sam.plans.list_goals(list).await.unwrap().into_inner().goals {
        let request =
            pb::RejectGoalRequest { name: goal.name, etag: goal.etag, ..Default::default() };
        callers.sam.plans.reject_goal(request).await.unwrap();
    }
    let evaluation = pb::Evaluation {
        care_plan: at.name.clone(),
        summary: "goes well".to_owned(),
        decision: pb::evaluation::Decision::Close.into(),
        ..Default::default()
    };
    let parent = at.name.split("/carePlans").next().unwrap().to_owned();
    let request =
        pb::CreateEvaluationRequest { parent, evaluation: Some(evaluation), ..Default::default() };
    callers.sam.notes.create_evaluation(request).await.unwrap();
    at.clone()
}

/// A plan that is carried out, with a goal and an activity.
async fn running(callers: &mut Callers<'_>) -> (pb::Goal, pb::Activity) {
    let case = callers.ana.enrolled().await;
    let plan = callers.ana.plan(&case).await;
    let goal = callers.ana.goal(&plan, "sleep").await;
    let activity = callers.ana.activity(&plan, "walk").await;
    activate(callers.world, &mut callers.ana, plan).await;
    (goal, activity)
}

struct Goal;

impl Machine for Goal {
    const VERBS: &'static [&'static str] =
        &["accept", "reject", "plan", "start", "hold", "release", "complete", "cancel", "err"];
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("PROPOSED", &[], "ACCEPTED, REJECTED, ENTERED_IN_ERROR"),
        ("ACCEPTED", &["accept"], "PLANNED, ENTERED_IN_ERROR"),
        ("PLANNED", &["accept", "plan"], "ACTIVE, ENTERED_IN_ERROR"),
        ("ACTIVE", &["accept", "plan", "start"], "ON_HOLD, COMPLETED, CANCELLED, ENTERED_IN_ERROR"),
        (
            "ON_HOLD",
            &["accept", "plan", "start", "hold"],
            "ACTIVE, COMPLETED, CANCELLED, ENTERED_IN_ERROR",
        ),
        ("COMPLETED", &["accept", "plan", "start", "complete"], ERROR),
        ("CANCELLED", &["accept", "plan", "start", "cancel"], ERROR),
        ("REJECTED", &["reject"], ERROR),
        (ERROR, &["err"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("PROPOSED", "accept", "ACCEPTED"),
        ("PROPOSED", "reject", "REJECTED"),
        ("ACCEPTED", "plan", "PLANNED"),
        ("PLANNED", "start", "ACTIVE"),
        ("ACTIVE", "hold", "ON_HOLD"),
        ("ON_HOLD", "release", "ACTIVE"),
        ("ACTIVE", "complete", "COMPLETED"),
        ("ON_HOLD", "complete", "COMPLETED"),
        ("ACTIVE", "cancel", "CANCELLED"),
        ("ON_HOLD", "cancel", "CANCELLED"),
        ("PROPOSED", "err", ERROR),
        ("ACCEPTED", "err", ERROR),
        ("PLANNED", "err", ERROR),
        ("ACTIVE", "err", ERROR),
        ("ON_HOLD", "err", ERROR),
        ("COMPLETED", "err", ERROR),
        ("CANCELLED", "err", ERROR),
        ("REJECTED", "err", ERROR),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        at!(running(callers).await.0)
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let plans = &mut callers.sam.plans;
        let ready = match (verb, at.state.as_str()) {
            ("complete", "ACTIVE" | "ON_HOLD") => {
                let progress = pb::GoalProgress {
                    achievement: pb::goal::Achievement::Achieved.into(),
                    ..Default::default()
                };
                ask!(
                    plans,
                    record_goal_progress,
                    RecordGoalProgressRequest,
                    at,
                    progress: Some(progress)
                )?
            }
            _ => at.clone(),
        };
        let at = &ready;
        match verb {
            "accept" => ask!(plans, accept_goal, AcceptGoalRequest, at),
            "reject" => ask!(plans, reject_goal, RejectGoalRequest, at),
            "plan" => ask!(plans, plan_goal, PlanGoalRequest, at),
            "start" => ask!(plans, start_goal, StartGoalRequest, at),
            "hold" => ask!(plans, hold_goal, HoldGoalRequest, at),
            "release" => ask!(plans, release_goal, ReleaseGoalRequest, at),
            "complete" => ask!(plans, complete_goal, CompleteGoalRequest, at),
            "cancel" => ask!(plans, cancel_goal, CancelGoalRequest, at, reason: why()),
            _ => ask!(
                plans,
                mark_goal_entered_in_error,
                MarkGoalEnteredInErrorRequest,
                at,
                reason: why()
            ),
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetGoalRequest { name: at.name.clone() };
        at!(callers.sam.plans.get_goal(request).await.unwrap().into_inner())
    }
}

struct Activity;

impl Machine for Activity {
    const VERBS: &'static [&'static str] =
        &["schedule", "start", "hold", "release", "complete", "cancel", "stop", "err"];
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("NOT_STARTED", &[], "SCHEDULED, CANCELLED, ENTERED_IN_ERROR"),
        ("SCHEDULED", &["schedule"], "IN_PROGRESS, ON_HOLD, CANCELLED, ENTERED_IN_ERROR"),
        ("IN_PROGRESS", &["schedule", "start"], "ON_HOLD, COMPLETED, STOPPED, ENTERED_IN_ERROR"),
        ("ON_HOLD", &["schedule", "start", "hold"], "SCHEDULED, IN_PROGRESS, ENTERED_IN_ERROR"),
        ("COMPLETED", &["schedule", "start", "complete"], ERROR),
        ("CANCELLED", &["schedule", "cancel"], ERROR),
        ("STOPPED", &["schedule", "start", "stop"], ERROR),
        (ERROR, &["err"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("NOT_STARTED", "schedule", "SCHEDULED"),
        ("SCHEDULED", "start", "IN_PROGRESS"),
        ("SCHEDULED", "hold", "ON_HOLD"),
        ("IN_PROGRESS", "hold", "ON_HOLD"),
        ("ON_HOLD", "release", "IN_PROGRESS"),
        ("IN_PROGRESS", "complete", "COMPLETED"),
        ("NOT_STARTED", "cancel", "CANCELLED"),
        ("SCHEDULED", "cancel", "CANCELLED"),
        ("IN_PROGRESS", "stop", "STOPPED"),
        ("NOT_STARTED", "err", ERROR),
        ("SCHEDULED", "err", ERROR),
        ("IN_PROGRESS", "err", ERROR),
        ("ON_HOLD", "err", ERROR),
        ("COMPLETED", "err", ERROR),
        ("CANCELLED", "err", ERROR),
        ("STOPPED", "err", ERROR),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        at!(running(callers).await.1)
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let plans = &mut callers.sam.plans;
        match verb {
            "schedule" => {
                let schedule =
                    pb::Schedule { text: "every Monday".to_owned(), ..Default::default() };
                ask!(plans, schedule_activity, ScheduleActivityRequest, at, schedule: Some(schedule))
            }
            "start" => ask!(plans, start_activity, StartActivityRequest, at),
            "hold" => ask!(plans, hold_activity, HoldActivityRequest, at),
            "release" => ask!(plans, release_activity, ReleaseActivityRequest, at),
            "complete" => {
                let evidence = pb::Evidence {
                    kind: pb::evidence::Kind::Patient.into(),
                    text: "she walks".to_owned(),
                    ..Default::default()
                };
                ask!(plans, complete_activity, CompleteActivityRequest, at, evidence: Some(evidence))
            }
            "cancel" => ask!(plans, cancel_activity, CancelActivityRequest, at, reason: why()),
            "stop" => ask!(plans, stop_activity, StopActivityRequest, at, reason: why()),
            _ => ask!(
                plans,
                mark_activity_entered_in_error,
                MarkActivityEnteredInErrorRequest,
                at,
                reason: why()
            ),
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetActivityRequest { name: at.name.clone() };
        at!(callers.sam.plans.get_activity(request).await.unwrap().into_inner())
    }
}

struct Task;

impl Machine for Task {
    const VERBS: &'static [&'static str] = &[
        "offer", "assign", "claim", "accept", "reject", "start", "hold", "release", "complete",
        "fail", "cancel", "err",
    ];
    /// A task that somebody said no to is in the pool at once, so none is found REJECTED.
    const STATES: &'static [(&'static str, &'static [&'static str], &'static str)] = &[
        ("DRAFT", &[], "READY, REQUESTED, CANCELLED, ENTERED_IN_ERROR"),
        ("READY", &["offer"], "REQUESTED, ACCEPTED, CANCELLED, ENTERED_IN_ERROR"),
        ("REQUESTED", &["assign"], "REQUESTED, ACCEPTED, REJECTED, CANCELLED, ENTERED_IN_ERROR"),
        ("ACCEPTED", &["assign", "accept"], "REQUESTED, IN_PROGRESS, CANCELLED, ENTERED_IN_ERROR"),
        (
            "IN_PROGRESS",
            &["assign", "accept", "start"],
            "ON_HOLD, COMPLETED, FAILED, CANCELLED, ENTERED_IN_ERROR",
        ),
        (
            "ON_HOLD",
            &["assign", "accept", "start", "hold"],
            "IN_PROGRESS, CANCELLED, ENTERED_IN_ERROR",
        ),
        ("COMPLETED", &["assign", "accept", "start", "complete"], ERROR),
        ("FAILED", &["assign", "accept", "start", "fail"], ERROR),
        ("CANCELLED", &["cancel"], ERROR),
        (ERROR, &["err"], ""),
    ];
    const STEPS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("DRAFT", "offer", "READY"),
        ("DRAFT", "assign", "REQUESTED"),
        ("READY", "assign", "REQUESTED"),
        ("REQUESTED", "assign", "REQUESTED"),
        ("ACCEPTED", "assign", "REQUESTED"),
        ("READY", "claim", "ACCEPTED"),
        ("REQUESTED", "accept", "ACCEPTED"),
        ("REQUESTED", "reject", "READY"),
        ("ACCEPTED", "start", "IN_PROGRESS"),
        ("IN_PROGRESS", "hold", "ON_HOLD"),
        ("ON_HOLD", "release", "IN_PROGRESS"),
        ("IN_PROGRESS", "complete", "COMPLETED"),
        ("IN_PROGRESS", "fail", "FAILED"),
        ("DRAFT", "cancel", "CANCELLED"),
        ("READY", "cancel", "CANCELLED"),
        ("REQUESTED", "cancel", "CANCELLED"),
        ("ACCEPTED", "cancel", "CANCELLED"),
        ("IN_PROGRESS", "cancel", "CANCELLED"),
        ("ON_HOLD", "cancel", "CANCELLED"),
        ("DRAFT", "err", ERROR),
        ("READY", "err", ERROR),
        ("REQUESTED", "err", ERROR),
        ("ACCEPTED", "err", ERROR),
        ("IN_PROGRESS", "err", ERROR),
        ("ON_HOLD", "err", ERROR),
        ("COMPLETED", "err", ERROR),
        ("FAILED", "err", ERROR),
        ("CANCELLED", "err", ERROR),
    ];

    async fn make(callers: &mut Callers<'_>) -> At {
        let case = callers.ana.enrolled().await;
        let task = pb::Task { title: "call".to_owned(), ..Default::default() };
        let request = pb::CreateTaskRequest {
            parent: case.name,
            task: Some(task),
            draft: true,
            ..Default::default()
        };
        at!(callers.ana.tasks.create_task(request).await.unwrap().into_inner())
    }
    async fn does(callers: &mut Callers<'_>, verb: &str, at: &At) -> Result<At, Status> {
        let tasks = &mut callers.sam.tasks;
        match verb {
            "offer" => ask!(tasks, offer_task, OfferTaskRequest, at),
            "assign" => ask!(tasks, assign_task, AssignTaskRequest, at, owner: "sam".to_owned()),
            "claim" => ask!(tasks, claim_task, ClaimTaskRequest, at),
            "accept" => ask!(tasks, accept_task, AcceptTaskRequest, at),
            "reject" => ask!(tasks, reject_task, RejectTaskRequest, at, reason: why()),
            "start" => ask!(tasks, start_task, StartTaskRequest, at),
            "hold" => ask!(tasks, hold_task, HoldTaskRequest, at),
            "release" => ask!(tasks, release_task, ReleaseTaskRequest, at),
            "complete" => ask!(tasks, complete_task, CompleteTaskRequest, at),
            "fail" => ask!(tasks, fail_task, FailTaskRequest, at, reason: why()),
            "cancel" => ask!(tasks, cancel_task, CancelTaskRequest, at, reason: why()),
            _ => ask!(
                tasks,
                mark_task_entered_in_error,
                MarkTaskEnteredInErrorRequest,
                at,
                reason: why()
            ),
        }
    }
    async fn read(callers: &mut Callers<'_>, at: &At) -> At {
        let request = pb::GetTaskRequest { name: at.name.clone() };
        at!(callers.sam.tasks.get_task(request).await.unwrap().into_inner())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_goes_the_ways_of_the_model_and_no_other() {
    walk::<Handoff>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assessment_goes_the_ways_of_the_model_and_no_other() {
    walk::<Assessment>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_the_ways_of_the_model_and_no_other() {
    walk::<CarePlan>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goal_goes_the_ways_of_the_model_and_no_other() {
    walk::<Goal>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_goes_the_ways_of_the_model_and_no_other() {
    walk::<Activity>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_the_ways_of_the_model_and_no_other() {
    walk::<Task>().await;
}
