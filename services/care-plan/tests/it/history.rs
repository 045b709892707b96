//! The timeline tells of every change of state what the log of transitions has: what was left, what was entered, why.
use caseward_api::careplan::v1 as pb;
use time::Duration;

use crate::{plan::activate, walk::Verb, world::worlds};

/// Resource, from, to, reason.
type Change = (String, String, String, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_says_from_where_to_where_and_why() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.enrolled().await;
        let mut ana = world.caller("ana", "case_manager");
        let handoff = pb::Handoff {
            to: "ana".to_owned(),
            reason: "her district".to_owned(),
            ..Default::default()
        };
        let parent = case.name.clone();
        let request =
            pb::ProposeHandoffRequest { parent, handoff: Some(handoff), ..Default::default() };
        let handoff = sam.cases.propose_handoff(request).await.unwrap().into_inner();
        let request = pb::AcceptHandoffRequest {
            name: handoff.name,
            etag: handoff.etag,
            ..Default::default()
        };
        ana.cases.accept_handoff(request).await.unwrap();
        let made = ana.one_of_each(&case).await;
        for done in ana.retracts(&made).await {
            done.unwrap();
        }
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "sleep").await;
        ana.activity(&plan, "walk").await;
        let plan = activate(&world, &mut ana, plan).await;
        let task = ana.task(&case, "call", "ana").await;
        let request = pb::RejectTaskRequest {
            name: task.name,
            etag: task.etag,
            reason: "on leave".to_owned(),
            ..Default::default()
        };
        ana.tasks.reject_task(request).await.unwrap();
        let request = pb::HoldCarePlanRequest {
            name: plan.name.clone(),
            etag: plan.etag,
            reason: "in hospital".to_owned(),
            ..Default::default()
        };
        ana.plans.hold_care_plan(request).await.unwrap();
        world.advance(Duration::hours(1)).await;
        sam.evaluates(&case).await;
        let now = sam.read(&case).await;
        let closing = sam.does(&world, Verb::ProposeClosure, &now).await.unwrap();
        sam.does(&world, Verb::Close, &closing).await.unwrap();

        let request = pb::ListTransitionsRequest {
            parent: case.name.clone(),
            page_size: 1000,
            ..Default::default()
        };
        let log = sam.cases.list_transitions(request).await.unwrap().into_inner().transitions;
        let log: Vec<Change> = log
            .into_iter()
            .map(|one| (one.resource, one.from_state, one.to_state, one.reason))
            .collect();
        let request = pb::ListTimelineRequest {
            parent: case.name.clone(),
            page_size: 1000,
            ..Default::default()
        };
        let told = sam.cases.list_timeline(request).await.unwrap().into_inner().timeline;
        let told: Vec<Change> = told
            .into_iter()
            .filter(|one| !one.to_state.is_empty())
            .map(|one| (one.resource, one.from_state, one.to_state, one.reason))
            .collect();
        let sorted = |mut changes: Vec<Change>| {
            changes.sort();
            changes
        };
        assert_eq!(sorted(told.clone()), sorted(log));
        let of_plan: Vec<_> = told
            .iter()
            .filter(|one| one.0 == plan.name)
            .map(|one| (&one.1[..], &one.2[..], &one.3[..]))
            .collect();
        assert_eq!(
            of_plan,
            [
                ("", "DRAFT", ""),
                ("DRAFT", "IN_REVIEW", ""),
                ("IN_REVIEW", "APPROVED", ""),
                ("APPROVED", "ACTIVE", ""),
                ("ACTIVE", "ON_HOLD", "in hospital"),
                ("ON_HOLD", "REVOKED", "as it must be"),
            ]
        );
    }
}
