//! Assessments are checked against their form, scored, amended without forgetting, and raise what cannot wait.
use caseward_api::careplan::v1::{
    self as pb, assessment::State, case::State as CaseState, lace_inputs::Comorbidity,
    task::Priority,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    walk::Verb,
    world::{Caller, worlds},
};

const POINTS: [&str; 4] = ["LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9"];

/// Answers to a shipped instrument, by the points of each question in order.
pub fn answers(points: &[usize]) -> String {
    let item = |(n, points): (usize, &usize)| {
        let coding = json!({ "system": "http://loinc.org", "code": POINTS[*points] });
        json!({ "linkId": (n + 1).to_string(), "answer": [{ "valueCoding": coding }] })
    };
    let items: Vec<Value> = points.iter().enumerate().map(item).collect();
    let response = json!({
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "item": [{ "linkId": "problems", "item": items }],
    });
    response.to_string()
}

impl Caller {
    pub async fn form(&mut self, title: &str) -> pb::Questionnaire {
        let request = pb::ListQuestionnairesRequest::default();
        let list = self.assessments.list_questionnaires(request).await.unwrap().into_inner();
        list.questionnaires.into_iter().find(|form| form.title.contains(title)).unwrap()
    }

    async fn scheduled(&mut self, case: &pb::Case, form: &pb::Questionnaire) -> pb::Assessment {
        let assessment = pb::Assessment { questionnaire: form.name.clone(), ..Default::default() };
        let request = pb::CreateAssessmentRequest {
            parent: case.name.clone(),
            assessment: Some(assessment),
            ..Default::default()
        };
        let made = self.assessments.create_assessment(request).await.unwrap().into_inner();
        assert_eq!(made.state(), State::Scheduled);
        made
    }

    async fn begins(&mut self, made: pb::Assessment) -> Result<pb::Assessment, tonic::Status> {
        let request =
            pb::StartAssessmentRequest { name: made.name, etag: made.etag, ..Default::default() };
        self.assessments.start_assessment(request).await.map(tonic::Response::into_inner)
    }

    /// An assessment with a form, begun.
    async fn begun(&mut self, case: &pb::Case, form: &pb::Questionnaire) -> pb::Assessment {
        let made = self.scheduled(case, form).await;
        self.begins(made).await.unwrap()
    }

    async fn complete(
        &mut self,
        assessment: &pb::Assessment,
        json: String,
    ) -> Result<pb::Assessment, tonic::Status> {
        let request = pb::CompleteAssessmentRequest {
            name: assessment.name.clone(),
            etag: assessment.etag.clone(),
            json,
            ..Default::default()
        };
        self.assessments.complete_assessment(request).await.map(tonic::Response::into_inner)
    }

    async fn amends(&mut self, done: pb::Assessment, json: String) -> pb::Assessment {
        let request = pb::AmendAssessmentRequest {
            name: done.name,
            etag: done.etag,
            json,
            reason: "read the wrong sheet".to_owned(),
            ..Default::default()
        };
        self.assessments.amend_assessment(request).await.unwrap().into_inner()
    }

    async fn tasks_of(&mut self, case: &pb::Case) -> Vec<pb::Task> {
        let request = pb::ListTasksRequest { parent: case.name.clone(), ..Default::default() };
        self.tasks.list_tasks(request).await.unwrap().into_inner().tasks
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phq_9_comes_to_its_total_and_band_and_sets_the_risk_of_the_case() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let form = ana.form("PHQ-9").await;
        let begun = ana.begun(&case, &form).await;
        let done = ana.complete(&begun, answers(&[2, 2, 1, 1, 2, 1, 1, 1, 0])).await.unwrap();
        assert_eq!((done.state(), done.instrument.as_str()), (State::Completed, "PHQ-9"));
        let [score] = &done.scores[..] else { panic!("one score") };
        assert_eq!((score.value, score.band.as_str(), score.risk_rank), (11.0, "moderate", 2));
        assert_eq!(score.components.len(), 9);
        assert!(done.critical_findings.is_empty() && ana.tasks_of(&case).await.is_empty());
        let risk = ana.read(&case).await.risk.unwrap();
        assert_eq!((risk.band.as_str(), risk.assessment), ("moderate", done.name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_9_raises_one_task_at_once_whatever_the_total() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let form = ana.form("PHQ-9").await;
        let begun = ana.begun(&case, &form).await;
        let request = pb::SaveAnswersRequest {
            name: begun.name,
            etag: begun.etag,
            json: answers(&[0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ..Default::default()
        };
        let saved = ana.assessments.save_answers(request).await.unwrap().into_inner();
        let done = ana.complete(&saved, String::new()).await.unwrap();
        assert_eq!(done.scores[0].band, "minimal");
        let [task] = &ana.tasks_of(&case).await[..] else { panic!("one task") };
        assert_eq!((task.priority(), task.owner.as_str()), (Priority::Stat, "ana"));
        assert_eq!(task.due_time, Some((world.now() + time::Duration::hours(24)).into()));
        let [found] = &done.critical_findings[..] else { panic!("one finding") };
        assert_eq!((found.link_id.as_str(), found.points, &found.task), ("9", 1.0, &task.name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_wait_is_the_assessors_where_nobody_is_accountable() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        for (case, accountable) in [(ana.outreach().await, ""), (ana.enrolled().await, "ana")] {
            let form = ana.form("PHQ-9").await;
            let begun = ana.begun(&case, &form).await;
            ana.complete(&begun, answers(&[0, 0, 0, 0, 0, 0, 0, 0, 1])).await.unwrap();
            let [task] = &ana.tasks_of(&case).await[..] else { panic!("one task") };
            assert_eq!((task.owner.as_str(), task.candidate_role.as_str()), ("ana", ""));
            let heard = world.heard::<pb::CriticalItemRaised>(&begun.name).await;
            let [told] = &heard[..] else { panic!("told once") };
            assert_eq!((told.owner.as_str(), told.accountable.as_str()), ("ana", accountable));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_says_when_answers_were_given_and_not_when_they_were_typed() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let form = ana.form("GAD-7").await;
        let begun = ana.begun(&case, &form).await;
        world.advance(time::Duration::hours(2)).await;
        let given = world.now() - time::Duration::hours(1);
        let request = pb::CompleteAssessmentRequest {
            name: begun.name.clone(),
            etag: begun.etag.clone(),
            json: answers(&[1; 7]),
            effective_time: Some(given.into()),
            ..Default::default()
        };
        ana.assessments.complete_assessment(request).await.unwrap();
        let list = pb::ListTimelineRequest { parent: case.name, ..Default::default() };
        let told = ana.cases.list_timeline(list).await.unwrap().into_inner().timeline;
        let completed = told.iter().find(|one| one.event == "ASSESSMENT_COMPLETED").unwrap();
        assert_eq!(completed.effective_time, Some(given.into()));
        assert_eq!(completed.record_time, Some(world.now().into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_answer_is_named_and_nothing_is_completed() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let form = ana.form("GAD-7").await;
        let begun = ana.begun(&case, &form).await;
        let refused = ana.complete(&begun, answers(&[1, 1, 1, 1, 1])).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let named = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named.iter().all(|one| one.field.starts_with("json.item[0]")), "{named:?}");
        let done = ana.complete(&begun, answers(&[1; 7])).await.unwrap();
        assert_eq!((done.scores[0].value, done.scores[0].band.as_str()), (7.0, "mild"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_keeps_the_old_score_and_an_error_takes_the_risk_back() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let form = ana.form("GAD-7").await;
        let begun = ana.begun(&case, &form).await;
        let done = ana.complete(&begun, answers(&[0; 7])).await.unwrap();
        let amended = ana.amends(done, answers(&[3; 7])).await;
        assert_eq!((amended.state(), amended.content_revision), (State::Amended, 2));
        let bands: Vec<_> = amended.scores.iter().map(|one| (one.value, &*one.band)).collect();
        assert_eq!(bands, [(21.0, "severe"), (0.0, "minimal")]);
        assert_eq!(ana.read(&case).await.risk.unwrap().rank, 3);
        let request = pb::MarkAssessmentEnteredInErrorRequest {
            name: amended.name,
            etag: amended.etag,
            reason: "another patient".to_owned(),
            ..Default::default()
        };
        ana.assessments.mark_assessment_entered_in_error(request).await.unwrap();
        assert_eq!(ana.read(&case).await.risk, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lace_scores_as_published() {
    use Comorbidity::{
        CongestiveHeartFailure as Heart, Dementia, DiabetesUncomplicated as Diabetes,
        MetastaticTumour as Tumour, MyocardialInfarction as Infarction,
    };
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        type Vector = (i32, bool, &'static [Comorbidity], i32, f64, &'static str);
        let vectors: [Vector; 4] = [
            (3, true, &[Heart, Diabetes], 1, 10.0, "high"),
            (0, false, &[], 0, 0.0, "low"),
            (14, true, &[Tumour], 5, 19.0, "high"),
            (5, false, &[Dementia, Infarction], 2, 11.0, "high"),
        ];
        for (days, acute_admission, comorbidities, emergency_visits, value, band) in vectors {
            let inputs = pb::LaceInputs {
                length_of_stay_days: days,
                acute_admission,
                comorbidities: comorbidities.iter().map(|one| i32::from(*one)).collect(),
                emergency_visits,
            };
            let request = pb::ScoreLaceRequest {
                parent: case.name.clone(),
                inputs: Some(inputs),
                ..Default::default()
            };
            let scored = ana.assessments.score_lace(request).await.unwrap().into_inner();
            assert_eq!((scored.scores[0].value, &*scored.scores[0].band), (value, band));
            assert_eq!(scored.state(), State::Completed);
        }
        let inputs =
            pb::LaceInputs { length_of_stay_days: -1, emergency_visits: 400, ..Default::default() };
        let request =
            pb::ScoreLaceRequest { parent: case.name, inputs: Some(inputs), ..Default::default() };
        let refused = ana.assessments.score_lace(request).await.unwrap_err();
        let named = refused.get_details_bad_request().unwrap().field_violations;
        let named: Vec<_> = named.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(named, ["inputs.length_of_stay_days", "inputs.emergency_visits"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_active_after_an_assessment_and_a_plan() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        ana.plan(&case).await;
        let activate = |case: pb::Case| pb::ActivateCaseRequest {
            name: case.name,
            etag: case.etag,
            ..Default::default()
        };
        let now = ana.read(&case).await;
        let refused = ana.cases.activate_case(activate(now)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let form = ana.form("PHQ-2").await;
        let begun = ana.begun(&case, &form).await;
        ana.complete(&begun, answers(&[1, 2])).await.unwrap();
        let now = ana.read(&case).await;
        let active = ana.cases.activate_case(activate(now)).await.unwrap().into_inner();
        assert_eq!(active.state(), CaseState::Active);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_form_is_kept_byte_for_byte_scored_by_its_rules_and_retired() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let json = "{ \"resourceType\": \"Questionnaire\", \"status\": \"active\", \"title\": \"Falls\",\n \
            \"url\": \"https://example.org/falls\", \"item\": [ \
            { \"linkId\": \"falls\", \"text\": \"How many?\", \"type\": \"integer\" }, \
            { \"linkId\": \"near\", \"text\": \"How many near falls?\", \"type\": \"integer\" } ] }";
        let band = |at_least, display: &str, risk_rank| pb::Band {
            at_least,
            display: display.to_owned(),
            risk_rank,
        };
        let rule = pb::ScoringRule {
            score: "falls".to_owned(),
            method: pb::scoring_rule::Method::Sum.into(),
            missing: pb::scoring_rule::Missing::Zero.into(),
            bands: vec![band(0.0, "steady", 0), band(2.0, "unsteady", 3)],
            ..Default::default()
        };
        let critical = pb::CriticalItem {
            link_id: "falls".to_owned(),
            at_least: 3.0,
            task_title: "Visit the home".to_owned(),
            due_within: None,
        };
        let form = pb::Questionnaire {
            json: json.to_owned(),
            scoring_rules: vec![rule],
            critical_items: vec![critical],
            ..Default::default()
        };
        let request =
            pb::CreateQuestionnaireRequest { questionnaire: Some(form), ..Default::default() };
        let form =
            sam.assessments.create_questionnaire(request.clone()).await.unwrap().into_inner();
        assert_eq!((form.json.as_str(), form.version.as_str()), (json, "1"));
        let again = sam.assessments.create_questionnaire(request).await.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists);

        let begun = sam.begun(&case, &form).await;
        let falls = json!({
            "resourceType": "QuestionnaireResponse",
            "status": "completed",
            "item": [{ "linkId": "falls", "answer": [{ "valueInteger": 4 }] }],
        });
        let done = sam.complete(&begun, falls.to_string()).await.unwrap();
        let score = &done.scores[0];
        assert_eq!((score.value, &*score.band, score.missing_items), (4.0, "unsteady", 1));
        assert_eq!(sam.tasks_of(&case).await[0].title, "Visit the home");

        let waits = sam.scheduled(&case, &form).await;
        let request = pb::RetireQuestionnaireRequest {
            name: form.name,
            etag: form.etag,
            ..Default::default()
        };
        sam.assessments.retire_questionnaire(request).await.unwrap();
        let refused = sam.begins(waits).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "QUESTIONNAIRE_RETIRED");
        let states = vec![pb::questionnaire::State::Active.into()];
        let request = pb::ListQuestionnairesRequest { states, ..Default::default() };
        let active = sam.assessments.list_questionnaires(request).await.unwrap().into_inner();
        assert_eq!(active.questionnaires.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_after_the_case_ended_is_on_record_and_gives_nobody_anything_to_do() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let form = sam.form("PHQ-9").await;
        let begun = sam.begun(&case, &form).await;
        let done = sam.complete(&begun, answers(&[0; 9])).await.unwrap();
        sam.evaluates(&case).await;
        let closing = sam.read(&case).await;
        let closing = sam.does(&world, Verb::ProposeClosure, &closing).await.unwrap();
        let closed = sam.does(&world, Verb::Close, &closing).await.unwrap();
        let before = sam.tasks_of(&case).await;

        let amended = sam.amends(done, answers(&[0, 0, 0, 0, 0, 0, 0, 0, 2])).await;
        assert_eq!((amended.state(), amended.scores[0].value), (State::Amended, 2.0));
        let [found] = &amended.critical_findings[..] else { panic!("one finding") };
        assert_eq!((found.link_id.as_str(), found.task.as_str()), ("9", ""));
        assert_eq!(sam.tasks_of(&case).await, before);

        let closed = sam.read(&closed).await;
        sam.does(&world, Verb::Reopen, &closed).await.unwrap();
        let again = sam.amends(amended, answers(&[0, 0, 0, 0, 0, 0, 0, 0, 3])).await;
        let tasks = sam.tasks_of(&case).await;
        assert_eq!(tasks.len(), before.len() + 1, "where somebody works on it, it is a task");
        assert_eq!(again.critical_findings[0].task, tasks.last().unwrap().name);
    }
}
