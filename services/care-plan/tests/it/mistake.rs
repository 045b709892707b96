//! What never should have been is marked by whoever wrote it or by a supervisor, also after the case ended.
use caseward_api::careplan::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    walk::Verb,
    world::{Caller, concept, worlds},
};

/// One of everything that can be marked, made by the caller.
pub struct Made {
    note: pb::Note,
    assessment: pb::Assessment,
    task: pb::Task,
    problem: pb::Problem,
    goal: pb::Goal,
    activity: pb::Activity,
    plan: pb::CarePlan,
}

impl Caller {
    pub async fn one_of_each(&mut self, case: &pb::Case) -> Made {
        let note = self.writes(case, pb::note::Class::Progress).await;
        let note = self.signs(note).await;
        let request = pb::ListQuestionnairesRequest::default();
        let forms = self.assessments.list_questionnaires(request).await.unwrap().into_inner();
        let assessment = pb::Assessment {
            questionnaire: forms.questionnaires[0].name.clone(),
            assessor: "nora".to_owned(),
            ..Default::default()
        };
        let request = pb::CreateAssessmentRequest {
            parent: case.name.clone(),
            assessment: Some(assessment),
            ..Default::default()
        };
        let assessment = self.assessments.create_assessment(request).await.unwrap().into_inner();
        let problem = pb::Problem { code: concept("falls"), ..Default::default() };
        let request = pb::CreateProblemRequest {
            parent: case.name.clone(),
            problem: Some(problem),
            ..Default::default()
        };
        let problem = self.plans.create_problem(request).await.unwrap().into_inner();
        let plan = self.plan(case).await;
        let goal = self.goal(&plan, "sleep").await;
        let activity = self.activity(&plan, "walk").await;
        let task = self.task(case, "call", "").await;
        Made { note, assessment, task, problem, goal, activity, plan }
    }

    /// Says of everything in `made` that it never should have been; answers how each was taken.
    pub async fn retracts(&mut self, made: &Made) -> [Result<(), tonic::Status>; 7] {
        macro_rules! mark {
            ($client:ident.$rpc:ident, $request:ident, $row:ident) => {{
                let request = pb::$request {
                    name: made.$row.name.clone(),
                    etag: made.$row.etag.clone(),
                    reason: "another patient's".to_owned(),
                    ..Default::default()
                };
                self.$client.$rpc(request).await.map(|_| ())
            }};
        }
        [
            mark!(notes.mark_note_entered_in_error, MarkNoteEnteredInErrorRequest, note),
            mark!(
                assessments.mark_assessment_entered_in_error,
                MarkAssessmentEnteredInErrorRequest,
                assessment
            ),
            mark!(tasks.mark_task_entered_in_error, MarkTaskEnteredInErrorRequest, task),
            mark!(plans.mark_problem_entered_in_error, MarkProblemEnteredInErrorRequest, problem),
            mark!(plans.mark_goal_entered_in_error, MarkGoalEnteredInErrorRequest, goal),
            mark!(
                plans.mark_activity_entered_in_error,
                MarkActivityEnteredInErrorRequest,
                activity
            ),
            mark!(plans.mark_care_plan_entered_in_error, MarkCarePlanEnteredInErrorRequest, plan),
        ]
    }

    async fn joins(&mut self, case: &pb::Case, person: &str) {
        let member =
            pb::Member { person: person.to_owned(), role: concept("Nurse"), ..Default::default() };
        let request = pb::AddMemberRequest {
            parent: case.name.clone(),
            member: Some(member),
            ..Default::default()
        };
        self.cases.add_member(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_author_or_a_supervisor_says_that_something_never_should_have_been() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "case_manager");
        let mut sam = world.caller("sam", "supervisor");
        let case = ana.enrolled().await;
        ana.joins(&case, "ben").await;
        let first = ana.one_of_each(&case).await;
        for refused in ben.retracts(&first).await {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_AUTHOR");
        }
        for done in ana.retracts(&first).await {
            done.unwrap();
        }
        let second = ana.one_of_each(&case).await;
        for done in sam.retracts(&second).await {
            done.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_put_right_after_the_case_ended() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let pb::Task { name, .. } = sam.task(&case, "call", "").await;
        sam.evaluates(&case).await;
        let case = sam.read(&case).await;
        let case = sam.does(&world, Verb::ProposeClosure, &case).await.unwrap();
        sam.does(&world, Verb::Close, &case).await.unwrap();
        let task = sam.again(&pb::Task { name, ..Default::default() }).await;
        assert_eq!(task.state(), pb::task::State::Cancelled);
        let request = pb::MarkTaskEnteredInErrorRequest {
            name: task.name,
            etag: task.etag,
            reason: "another patient's".to_owned(),
            ..Default::default()
        };
        let task = sam.tasks.mark_task_entered_in_error(request).await.unwrap().into_inner();
        assert_eq!(task.state(), pb::task::State::EnteredInError);
    }
}
