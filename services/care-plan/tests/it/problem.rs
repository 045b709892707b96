//! Problems: when they were there.
use caseward_api::careplan::v1 as pb;
use time::Duration;
use tonic_types::StatusExt;

use crate::world::{concept, worlds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_ends_neither_before_it_began_nor_later_than_now() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let at = |ago: Duration| Some((world.now() - ago).into());
        let problem = pb::Problem {
            code: concept("falls"),
            onset_time: at(Duration::days(9)),
            ..Default::default()
        };
        let (parent, problem) = (case.name, Some(problem));
        let create = pb::CreateProblemRequest { parent, problem, ..Default::default() };
        let problem = ana.plans.create_problem(create).await.unwrap().into_inner();
        let resolve = |ago: Duration| pb::ResolveProblemRequest {
            name: problem.name.clone(),
            etag: problem.etag.clone(),
            abatement_time: at(ago),
            ..Default::default()
        };
        for wrong in [Duration::days(10), Duration::days(-1)] {
            let refused = ana.plans.resolve_problem(resolve(wrong)).await.unwrap_err();
            let bad = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(bad[0].field, "abatement_time");
        }
        let resolved = ana.plans.resolve_problem(resolve(Duration::days(1))).await.unwrap();
        assert_eq!(resolved.into_inner().abatement_time, at(Duration::days(1)));
    }
}
