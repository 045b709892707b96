//! What an evaluation decides is work for somebody, and says when to look again unless the case is to close.
use caseward_api::careplan::v1::{
    self as pb,
    evaluation::Decision,
    task::{Priority, State},
};
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::worlds;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_looked_at_again_unless_it_closes_the_case_and_asks_somebody_for_what_follows()
 {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let review = world.now() + Duration::days(30);
        let judge = |decision: Decision, again: bool| pb::CreateEvaluationRequest {
            parent: case.name.clone(),
            evaluation: Some(pb::Evaluation {
                summary: "goes well".to_owned(),
                decision: decision.into(),
                next_review_time: again.then(|| review.into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let asked = [
            (Decision::Continue, None),
            (Decision::Adjust, Some(("ana", State::Accepted, Priority::Routine, Some(review)))),
            (
                Decision::Escalate,
                Some(("", State::Ready, Priority::Urgent, Some(world.now() + Duration::days(1)))),
            ),
            (Decision::Close, Some(("ana", State::Accepted, Priority::Routine, None))),
        ];
        for (decision, follows) in asked {
            let open_ended = ana.notes.create_evaluation(judge(decision, false)).await;
            if decision != Decision::Close {
                let refused = open_ended.unwrap_err();
                assert_eq!(refused.code(), Code::InvalidArgument, "{decision:?}");
                let named = refused.get_details_bad_request().unwrap().field_violations;
                let named: Vec<_> = named.iter().map(|one| one.field.as_str()).collect();
                assert_eq!(named, ["evaluation.next_review_time"], "{decision:?}");
            }
            let made = ana.notes.create_evaluation(judge(decision, true)).await.unwrap();
            let made = made.into_inner();
            let Some(follows) = follows else {
                assert_eq!(made.raised_task, "", "{decision:?}");
                continue;
            };
            let name = made.raised_task.clone();
            let task = ana.again(&pb::Task { name, ..Default::default() }).await;
            let due = follows.3.map(Into::into);
            assert_eq!(
                (&task.owner[..], task.state(), task.priority(), task.due_time, task.cause),
                (follows.0, follows.1, follows.2, due, made.name),
                "{decision:?}"
            );
        }
    }
}
