//! A caregiver sees the parts of a case that they were granted; what they were not is as if it were not there.
use caseward_api::{
    access::v1::{
        RelationChanged,
        relation_changed::{Basis, Topic},
    },
    careplan::v1::{self as pb, note::Class},
};
use tonic::Code;
use uuid::Uuid;

use crate::world::{Caller, World, worlds};

/// Eva, who cares for the patient of `case` and was granted `topics`. Her role may read notes and tasks, so that the
/// scope alone decides.
async fn eva(world: &World, case: &pb::Case, topics: &[Topic]) -> Caller {
    let source = format!("{}/relatedPersons/{}", case.patient, Uuid::now_v7());
    let granted = RelationChanged {
        subject: source.clone(),
        patient: case.patient.clone(),
        basis: Basis::Caregiver.into(),
        revision: 1,
        source: source.clone(),
        topics: topics.iter().map(|topic| i32::from(*topic)).collect(),
        ..Default::default()
    };
    world.tell(granted).await;
    world.caller(&source, "care_team")
}

/// A case with something in each part of it.
async fn full(ana: &mut Caller) -> pb::Case {
    let case = ana.enrolled().await;
    let plan = ana.plan(&case).await;
    ana.goal(&plan, "walk to the park").await;
    ana.activity(&plan, "bring a scale").await;
    for class in [Class::Progress, Class::Supervision] {
        let note = ana.writes(&case, class).await;
        ana.signs(note).await;
    }
    let task = Some(pb::Task { title: "call".to_owned(), ..Default::default() });
    let request = pb::CreateTaskRequest { parent: case.name.clone(), task, ..Default::default() };
    ana.tasks.create_task(request).await.unwrap();
    let inputs =
        pb::LaceInputs { length_of_stay_days: 14, acute_admission: true, ..Default::default() };
    let request = pb::ScoreLaceRequest {
        parent: case.name.clone(),
        inputs: Some(inputs),
        ..Default::default()
    };
    ana.assessments.score_lace(request).await.unwrap();
    ana.read(&case).await
}

/// The kinds of resources below `case` that the timeline tells `who` of, each once; `case` for the case itself.
async fn told(who: &mut Caller, case: &pb::Case) -> Vec<String> {
    let request = pb::ListTimelineRequest {
        parent: case.name.clone(),
        page_size: 1000,
        ..Default::default()
    };
    let entries = who.cases.list_timeline(request).await.unwrap().into_inner().timeline;
    let mut kinds: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.resource.split('/').nth(2).unwrap_or("case").to_owned())
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// How many notes, tasks, assessments and plans of `case` are listed to `who`.
async fn counts(who: &mut Caller, case: &pb::Case) -> [usize; 4] {
    let parent = case.name.clone();
    let notes = pb::ListNotesRequest { parent: parent.clone(), ..Default::default() };
    let tasks = pb::ListTasksRequest { parent: parent.clone(), ..Default::default() };
    let assessments = pb::ListAssessmentsRequest { parent: parent.clone(), ..Default::default() };
    let plans = pb::ListCarePlansRequest { parent, ..Default::default() };
    [
        who.notes.list_notes(notes).await.unwrap().into_inner().notes.len(),
        who.tasks.list_tasks(tasks).await.unwrap().into_inner().tasks.len(),
        who.assessments.list_assessments(assessments).await.unwrap().into_inner().assessments.len(),
        who.plans.list_care_plans(plans).await.unwrap().into_inner().care_plans.len(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_topic_opens_its_part_of_the_case_and_no_other() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = full(&mut ana).await;
        assert_eq!(counts(&mut ana, &case).await, [2, 1, 1, 1]);
        for (topic, listed, timeline) in [
            (Topic::Notes, [1, 0, 0, 0], &["notes"][..]),
            (Topic::Schedule, [0, 1, 0, 0], &["tasks"]),
            (Topic::Assessment, [0, 0, 1, 0], &["assessments"]),
            (Topic::Plan, [0, 0, 0, 1], &["carePlans", "case", "members"]),
        ] {
            let mut eva = eva(&world, &case, &[topic]).await;
            assert_eq!(counts(&mut eva, &case).await, listed, "{topic:?}");
            assert_eq!(told(&mut eva, &case).await, timeline, "{topic:?}");
            let transitions = pb::ListTransitionsRequest {
                parent: case.name.clone(),
                page_size: 1000,
                ..Default::default()
            };
            let transitions = eva.cases.list_transitions(transitions).await.unwrap().into_inner();
            let shown = |name: &str| timeline.contains(&name.split('/').nth(2).unwrap_or("case"));
            assert!(transitions.transitions.iter().all(|one| shown(&one.resource)), "{topic:?}");
            let read = pb::GetCaseRequest { name: case.name.clone() };
            match eva.cases.get_case(read).await {
                Ok(seen) => assert_eq!((topic, seen.into_inner().risk), (Topic::Plan, None)),
                Err(hidden) => {
                    assert_ne!(topic, Topic::Plan);
                    assert_eq!(hidden.code(), Code::NotFound);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caregiver_with_other_topics_finds_no_case_at_all() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = full(&mut ana).await;
        let mut eva = eva(&world, &case, &[Topic::Messages, Topic::Medication]).await;
        let list = pb::ListTimelineRequest { parent: case.name.clone(), ..Default::default() };
        assert_eq!(eva.cases.list_timeline(list).await.unwrap_err().code(), Code::NotFound);
        let watch = pb::WatchCaseRequest { name: case.name.clone(), ..Default::default() };
        assert_eq!(eva.cases.watch_case(watch).await.unwrap_err().code(), Code::NotFound);
        let cases = eva.cases.list_cases(pb::ListCasesRequest::default()).await.unwrap();
        assert!(cases.into_inner().cases.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caregiver_with_plan_and_assessment_sees_the_risk_too() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = full(&mut ana).await;
        let mut eva = eva(&world, &case, &[Topic::Plan, Topic::Assessment]).await;
        let seen = eva.read(&case).await;
        assert_eq!(seen.risk, case.risk);
        assert!(seen.risk.is_some());
        let cases = eva.cases.list_cases(pb::ListCasesRequest::default()).await.unwrap();
        assert_eq!(cases.into_inner().cases, [seen]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_a_caregiver_only_of_their_part_and_goes_on() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = full(&mut ana).await;
        let mut eva = eva(&world, &case, &[Topic::Notes]).await;
        let watch = pb::WatchCaseRequest { name: case.name.clone(), ..Default::default() };
        let mut stream = eva.cases.watch_case(watch).await.unwrap().into_inner();
        let hidden = ana.writes(&case, Class::Supervision).await;
        ana.signs(hidden).await;
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "sleep").await;
        let open = ana.writes(&case, Class::Progress).await;
        ana.signs(open.clone()).await;
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.message());
        let entry = next.await.expect("within time").unwrap().expect("an entry");
        assert_eq!(entry.resource, open.name);
    }
}
