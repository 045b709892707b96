//! Loads: what goes in, what a second load changes, what one bad part costs.
use caseward_api::{
    careplan::v1 as pb,
    types::v1::{Identifier, IngestOutcome, ingest_outcome::Action},
};
use time::Duration;
use tonic::Code;

use crate::world::{concept, patient, worlds};

fn identified(value: &str) -> Vec<Identifier> {
    vec![Identifier { system: "urn:other".to_owned(), value: value.to_owned() }]
}

/// An active plan with two goals, of which one is told to be reached through an activity.
fn bundle() -> pb::CaseBundle {
    let goal = |value: &str| pb::Goal {
        identifiers: identified(value),
        description: concept("Walk every day"),
        problems: vec!["?identifier=urn:other|problem".to_owned()],
        state: pb::goal::State::Active.into(),
        ..Default::default()
    };
    let plan = pb::PlanBundle {
        care_plan: Some(pb::CarePlan {
            identifiers: identified("plan"),
            title: "Heart failure".to_owned(),
            problems: vec!["?identifier=urn:other|problem".to_owned()],
            state: pb::care_plan::State::Active.into(),
            ..Default::default()
        }),
        goals: vec![goal("first"), goal("second")],
        activities: vec![pb::Activity {
            identifiers: identified("activity"),
            description: "Walks with a neighbour".to_owned(),
            goals: vec!["?identifier=urn:other|first".to_owned()],
            state: pb::activity::State::InProgress.into(),
            ..Default::default()
        }],
    };
    pb::CaseBundle {
        case: Some(pb::Case {
            patient: patient(),
            identifiers: identified("plan"),
            title: "Heart failure".to_owned(),
            ..Default::default()
        }),
        members: vec![pb::Member {
            identifiers: identified("member"),
            display: "A nurse".to_owned(),
            role: concept("Nurse"),
            ..Default::default()
        }],
        problems: vec![pb::Problem {
            identifiers: identified("problem"),
            code: concept("Chronic heart failure"),
            state: pb::problem::State::Active.into(),
            ..Default::default()
        }],
        plans: vec![plan],
    }
}

fn request(bundle: &pb::CaseBundle) -> pb::IngestCasesRequest {
    pb::IngestCasesRequest { bundles: vec![bundle.clone()], request_id: String::new() }
}

/// Every outcome of a load: the case, its team, its problems, then each plan with its parts.
fn all(reply: &pb::IngestCasesResponse) -> Vec<&IngestOutcome> {
    let mut all = vec![];
    for of in &reply.outcomes {
        all.extend(&of.case);
        all.extend(&of.members);
        all.extend(&of.problems);
        for plan in &of.plans {
            all.extend(&plan.care_plan);
            all.extend(&plan.goals);
            all.extend(&plan.activities);
        }
    }
    all
}

fn actions(reply: &pb::IngestCasesResponse) -> Vec<Action> {
    all(reply).into_iter().map(IngestOutcome::action).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_load_finds_everything_and_changes_nothing() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let bundle = bundle();
        let first = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        assert_eq!(actions(&first), vec![Action::Created; 7], "{first:?}");
        let second = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        assert_eq!(actions(&second), vec![Action::Unchanged; 7], "{second:?}");
        let names = |reply| -> Vec<String> {
            all(reply).into_iter().map(|outcome| outcome.name.clone()).collect()
        };
        assert_eq!(names(&first), names(&second));

        let name = first.outcomes[0].case.clone().unwrap().name;
        let mut supervisor = world.caller("sam", "supervisor");
        let request = pb::GetCaseRequest { name };
        let case = supervisor.cases.get_case(request).await.unwrap().into_inner();
        assert_eq!(case.state(), pb::case::State::Active);
        assert_eq!(case.accountable, "loader");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_part_is_updated_alone() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut bundle = bundle();
        loader.ingest.ingest_cases(request(&bundle)).await.unwrap();
        let goal = &mut bundle.plans[0].goals[1];
        goal.state = pb::goal::State::Completed.into();
        goal.achievement = pb::goal::Achievement::Achieved.into();
        let reply = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let mut wanted = vec![Action::Unchanged; 7];
        wanted[5] = Action::Updated;
        assert_eq!(actions(&reply), wanted, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_goal_costs_itself_and_what_names_it() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut bundle = bundle();
        bundle.plans[0].goals[0].description = None;
        let reply = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let mut wanted = vec![Action::Created; 7];
        (wanted[4], wanted[6]) = (Action::Failed, Action::Failed);
        assert_eq!(actions(&reply), wanted, "{reply:?}");
        let goal = &reply.outcomes[0].plans[0].goals[0];
        assert_eq!(goal.violations[0].field, "goal.description");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_case_costs_all_of_it_and_leaves_the_next() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let (mut bad, good) = (bundle(), bundle());
        bad.case.as_mut().unwrap().patient = "somebody".to_owned();
        let request = pb::IngestCasesRequest { bundles: vec![bad, good], ..Default::default() };
        let reply = loader.ingest.ingest_cases(request).await.unwrap().into_inner();
        let wanted = [vec![Action::Failed; 7], vec![Action::Created; 7]].concat();
        assert_eq!(actions(&reply), wanted, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plan_of_a_case_runs_at_a_time() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut bundle = bundle();
        let mut other = bundle.plans[0].clone();
        other.care_plan.as_mut().unwrap().identifiers = identified("other plan");
        bundle.plans.push(other);
        let reply = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let wanted = [vec![Action::Created; 7], vec![Action::Failed; 4]].concat();
        assert_eq!(actions(&reply), wanted, "{reply:?}");
        let refused = reply.outcomes[0].plans[1].care_plan.as_ref().unwrap();
        assert_eq!(refused.violations[0].field, "care_plan.state");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_moved_here_stays() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut bundle = bundle();
        bundle.plans.clear();
        let first = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let name = first.outcomes[0].case.clone().unwrap().name;
        let mut sam = world.caller("sam", "supervisor");
        let get = pb::GetCaseRequest { name: name.clone() };
        let etag = sam.cases.get_case(get.clone()).await.unwrap().into_inner().etag;
        let start = pb::StartOutreachRequest { name, etag, ..Default::default() };
        sam.cases.start_outreach(start).await.unwrap();
        loader.ingest.ingest_cases(request(&bundle)).await.unwrap();
        let case = sam.cases.get_case(get).await.unwrap().into_inner();
        assert_eq!(case.state(), pb::case::State::Outreach);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_of_a_form_is_kept_under_one_identifier_and_none_is_rewritten() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut load = async |version: &str, title: &str, state: pb::questionnaire::State| {
            let json = format!(
                r#"{{"resourceType":"Questionnaire","status":"active","url":"https://example.org/steps","version":"{version}",
                "title":"{title}","item":[{{"linkId":"1","type":"integer"}}]}}"#
            );
            let form = pb::Questionnaire {
                json,
                state: state.into(),
                identifiers: identified("steps"),
                ..Default::default()
            };
            let request = pb::IngestQuestionnairesRequest {
                questionnaires: vec![form],
                ..Default::default()
            };
            let reply = loader.ingest.ingest_questionnaires(request).await.unwrap();
            reply.into_inner().outcomes.remove(0)
        };
        use pb::questionnaire::State::{Active, Retired};
        let first = load("1", "Steps", Retired).await;
        let second = load("2", "Steps a day", Active).await;
        assert_eq!((first.action(), second.action()), (Action::Created, Action::Created));
        assert_ne!(first.name, second.name);
        assert_eq!(load("1", "Steps", Retired).await.action(), Action::Unchanged);
        assert_eq!(load("2", "Steps a day", Active).await.action(), Action::Unchanged);
        let rewritten = load("2", "Other words", Active).await;
        assert_eq!(rewritten.action(), Action::Failed);
        assert!(rewritten.violations[0].description.contains("new version"));

        let mut sam = world.caller("sam", "supervisor");
        let get = pb::GetQuestionnaireRequest { name: first.name };
        let form = sam.assessments.get_questionnaire(get).await.unwrap().into_inner();
        assert_eq!((form.state(), &*form.version), (Retired, "1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_alone_goes_to_the_open_case_of_its_patient() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let bundle = bundle();
        let loaded = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let case = loaded.outcomes[0].case.clone().unwrap().name;
        let problem = |patient: &str, value: &str| pb::PatientProblem {
            patient: patient.to_owned(),
            problem: Some(pb::Problem {
                identifiers: identified(value),
                code: concept("Lives alone"),
                ..Default::default()
            }),
        };
        let known = bundle.case.unwrap().patient;
        let problems = vec![
            problem(&known, "alone"),
            problem(&patient(), "alone"),
            problem("patients/nobody", "alone"),
        ];
        let request = pb::IngestProblemsRequest { problems, ..Default::default() };
        let first = loader.ingest.ingest_problems(request.clone()).await.unwrap().into_inner();
        let of = |reply: &pb::IngestProblemsResponse| -> Vec<Action> {
            reply.outcomes.iter().map(IngestOutcome::action).collect()
        };
        assert_eq!(of(&first), [Action::Created, Action::Created, Action::Failed], "{first:?}");
        assert!(first.outcomes[0].name.starts_with(&case));
        assert!(!first.outcomes[1].name.starts_with(&case));
        let second = loader.ingest.ingest_problems(request).await.unwrap().into_inner();
        let wanted = [Action::Unchanged, Action::Unchanged, Action::Failed];
        assert_eq!(of(&second), wanted, "{second:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_manager_may_not_load() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let refused = ana.ingest.ingest_cases(request(&bundle())).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_that_a_load_moves_takes_what_is_in_it_along() {
    use pb::{case::State, handoff, task};
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut sam = world.caller("sam", "supervisor");
        let mut bundle = bundle();
        let mut load = async |state: State| {
            bundle.case.as_mut().unwrap().state = state.into();
            let reply = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
            reply.outcomes[0].case.clone().unwrap().name
        };
        let name = load(State::Active).await;
        let case = sam.read(&pb::Case { name, ..Default::default() }).await;
        let due = (world.now() + Duration::days(2)).into();
        let title = "call".to_owned();
        let task = Some(pb::Task { title, due_time: Some(due), ..Default::default() });
        let parent = case.name.clone();
        let request = pb::CreateTaskRequest { parent, task, ..Default::default() };
        let call = sam.tasks.create_task(request).await.unwrap().into_inner();
        let offer = sam.offers(&case, "ben").await.unwrap();

        load(State::Paused).await;
        world.advance(Duration::days(10)).await;
        assert!(!sam.again(&call).await.overdue, "its clock stands");
        load(State::Active).await;
        let seconds = |task: &pb::Task| task.due_time.unwrap().seconds;
        assert_eq!(seconds(&sam.again(&call).await) - seconds(&call), 10 * 86_400);
        let get = pb::GetHandoffRequest { name: offer.name };
        let waits = sam.cases.get_handoff(get.clone()).await.unwrap().into_inner();
        assert_eq!(waits.state(), handoff::State::Proposed);
        let own = sam.plan(&case).await;

        load(State::Closed).await;
        assert_eq!(sam.again(&call).await.state(), task::State::Cancelled);
        let over = sam.cases.get_handoff(get).await.unwrap().into_inner();
        assert_eq!(over.state(), handoff::State::Withdrawn);
        let list = pb::ListCarePlansRequest { parent: case.name.clone(), ..Default::default() };
        let plans = sam.plans.list_care_plans(list).await.unwrap().into_inner().care_plans;
        let state = |mine: bool| {
            let of = plans.iter().find(|plan| (plan.name == own.name) == mine);
            of.unwrap().state()
        };
        let kept = (state(true), state(false));
        assert_eq!(kept, (pb::care_plan::State::Revoked, pb::care_plan::State::Active));
        let before = sam.read(&case).await;
        load(State::Closed).await;
        assert_eq!(sam.read(&case).await, before, "the same again changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_loaded_on_hold_ends_with_its_plan() {
    for world in worlds().await {
        let mut loader = world.caller("loader", "integration");
        let mut sam = world.caller("sam", "supervisor");
        let mut bundle = bundle();
        bundle.plans[0].activities[0].state = pb::activity::State::OnHold.into();
        let reply = loader.ingest.ingest_cases(request(&bundle)).await.unwrap().into_inner();
        let plan = &reply.outcomes[0].plans[0];
        let name = plan.care_plan.clone().unwrap().name;
        let get = pb::GetCarePlanRequest { name: name.clone() };
        let etag = sam.plans.get_care_plan(get).await.unwrap().into_inner().etag;
        let reason = "she moved".to_owned();
        let revoke = pb::RevokeCarePlanRequest { name, etag, reason, ..Default::default() };
        sam.plans.revoke_care_plan(revoke).await.unwrap();
        let get = pb::GetActivityRequest { name: plan.activities[0].name.clone() };
        let activity = sam.plans.get_activity(get).await.unwrap().into_inner();
        assert_eq!(activity.state(), pb::activity::State::Cancelled);
    }
}
