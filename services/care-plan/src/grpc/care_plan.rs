//! The RPC surface of plans: open the request, do the work, answer.
use std::ops::RangeInclusive;

use caseward_api::{
    Verb,
    careplan::v1::{self as pb, care_plan_service_server::CarePlanService},
};
use caseward_core::{Ctx, Error, Name, Page, check};
use caseward_server::Transport;
use caseward_store::Store;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{
    activity::{self, Along, Wish},
    care_plan, delivery, goal, kin, plan_content, problem,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct CarePlans {
    pub store: Store,
    pub patients: Transport,
}

/// The reason of a verb: demanded, or welcome.
fn reason(verb: &impl Verb, demanded: bool) -> Result<String, Error> {
    reason_within(verb, usize::from(demanded)..=1000)
}

fn reason_within(verb: &impl Verb, chars: RangeInclusive<usize>) -> Result<String, Error> {
    check::text(verb.reason(), chars).map_err(|why| Error::invalid("reason", why))
}

impl CarePlans {
    async fn problem<Q: Verb>(
        &self,
        req: Request<Q>,
        step: problem::Step,
        abated: impl FnOnce(&Q) -> Option<Timestamp>,
    ) -> Reply<pb::Problem> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let (etag, reason) =
            (req.etag().to_owned(), reason(&req, matches!(step, problem::Step::EnterInError))?);
        let abated =
            check::moment(&abated(&req)).map_err(|why| Error::invalid("abatement_time", why))?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                problem::step(tx, name, step, etag.clone(), reason.clone(), abated)
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn plan<Q: Verb>(
        &self,
        req: Request<Q>,
        step: care_plan::Step,
        effective: impl FnOnce(&Q) -> Option<Timestamp>,
    ) -> Reply<pb::CarePlan> {
        use care_plan::Step::{EnterInError, Hold, Revoke};
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let reason = match step {
            Revoke => reason_within(&req, 1..=2000)?,
            _ => reason(&req, matches!(step, Hold | EnterInError))?,
        };
        let (etag, effective) = (req.etag().to_owned(), effective(&req));
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                care_plan::step(tx, name, step, etag.clone(), reason.clone(), effective)
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn goal<Q: Verb>(&self, req: Request<Q>, step: goal::Step) -> Reply<pb::Goal> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let reason = reason(&req, matches!(step, goal::Step::Cancel | goal::Step::EnterInError))?;
        let etag = req.etag().to_owned();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| goal::step(tx, name, step, etag.clone(), reason.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn activity<Q: Verb>(
        &self,
        req: Request<Q>,
        wish: Wish,
        along: impl FnOnce(&Q) -> Along,
    ) -> Reply<pb::Activity> {
        use activity::Step::{Cancel, EnterInError, Stop};
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let reason = reason(&req, matches!(wish, Wish::Step(Cancel | Stop | EnterInError)))?;
        let (etag, along) = (req.etag().to_owned(), along(&req));
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                activity::step(tx, name, wish, etag.clone(), reason.clone(), along.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl CarePlanService for CarePlans {
    // Problems.

    async fn get_problem(&self, req: Request<pb::GetProblemRequest>) -> Reply<pb::Problem> {
        let (ctx, req) = Ctx::open(req)?;
        let row = problem::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_problems(
        &self,
        req: Request<pb::ListProblemsRequest>,
    ) -> Reply<pb::ListProblemsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, problem::State::known),
        ))?;
        let (rows, next_page_token) =
            problem::list(&self.store.read(&ctx), case, states, &page).await?;
        let problems = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListProblemsResponse { problems, next_page_token }))
    }

    async fn create_problem(&self, req: Request<pb::CreateProblemRequest>) -> Reply<pb::Problem> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.problem.clone().unwrap_or_default());
        let reply =
            self.store.write(&ctx, &req, move |tx| problem::create(tx, case, from.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_problem(&self, req: Request<pb::UpdateProblemRequest>) -> Reply<pb::Problem> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.problem.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("problem.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| problem::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn deactivate_problem(
        &self,
        req: Request<pb::DeactivateProblemRequest>,
    ) -> Reply<pb::Problem> {
        self.problem(req, problem::Step::Deactivate, |_| None).await
    }

    async fn resolve_problem(&self, req: Request<pb::ResolveProblemRequest>) -> Reply<pb::Problem> {
        self.problem(req, problem::Step::Resolve, |req| req.abatement_time).await
    }

    async fn reactivate_problem(
        &self,
        req: Request<pb::ReactivateProblemRequest>,
    ) -> Reply<pb::Problem> {
        self.problem(req, problem::Step::Reactivate, |_| None).await
    }

    async fn mark_problem_entered_in_error(
        &self,
        req: Request<pb::MarkProblemEnteredInErrorRequest>,
    ) -> Reply<pb::Problem> {
        self.problem(req, problem::Step::EnterInError, |_| None).await
    }

    // Plans.

    async fn get_care_plan(&self, req: Request<pb::GetCarePlanRequest>) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let row = care_plan::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_care_plans(
        &self,
        req: Request<pb::ListCarePlansRequest>,
    ) -> Reply<pb::ListCarePlansResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, care_plan::State::known),
        ))?;
        let (rows, next_page_token) =
            care_plan::list(&self.store.read(&ctx), case, states, &page).await?;
        let care_plans = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListCarePlansResponse { care_plans, next_page_token }))
    }

    async fn create_care_plan(
        &self,
        req: Request<pb::CreateCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.care_plan.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| care_plan::create(tx, case, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_care_plan(
        &self,
        req: Request<pb::UpdateCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) = (
            req.care_plan.clone().unwrap_or_default(),
            req.update_mask.clone().unwrap_or_default(),
        );
        let name = Name::parse("care_plan.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| care_plan::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn submit_care_plan(
        &self,
        req: Request<pb::SubmitCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Submit, |_| None).await
    }

    async fn approve_care_plan(
        &self,
        req: Request<pb::ApproveCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Approve, |_| None).await
    }

    async fn activate_care_plan(
        &self,
        req: Request<pb::ActivateCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Activate, |req| req.effective_time).await
    }

    async fn hold_care_plan(&self, req: Request<pb::HoldCarePlanRequest>) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Hold, |_| None).await
    }

    async fn release_care_plan(
        &self,
        req: Request<pb::ReleaseCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Release, |_| None).await
    }

    async fn complete_care_plan(
        &self,
        req: Request<pb::CompleteCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Complete, |req| req.effective_time).await
    }

    async fn revoke_care_plan(
        &self,
        req: Request<pb::RevokeCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::Revoke, |_| None).await
    }

    async fn mark_care_plan_entered_in_error(
        &self,
        req: Request<pb::MarkCarePlanEnteredInErrorRequest>,
    ) -> Reply<pb::CarePlan> {
        self.plan(req, care_plan::Step::EnterInError, |_| None).await
    }

    async fn return_care_plan(
        &self,
        req: Request<pb::ReturnCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", &req.name)?;
        let comments =
            check::text(&req.comments, 1..=4000).map_err(|why| Error::invalid("comments", why))?;
        let (etag, step) = (req.etag.clone(), care_plan::Step::Return);
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                care_plan::step(tx, name, step, etag.clone(), comments.clone(), None)
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn record_agreement(
        &self,
        req: Request<pb::RecordAgreementRequest>,
    ) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let from =
            req.agreement.clone().ok_or_else(|| Error::invalid("agreement", "is required"))?;
        // Whether they may speak is asked of the moment at which they spoke.
        let at = check::moment(&from.agree_time).ok().flatten().unwrap_or(ctx.now());
        let kin = kin::ask(&self.patients, &ctx, &from.related_person, at).await?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                care_plan::record_agreement(tx, name, etag.clone(), from.clone(), kin)
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn revise_care_plan(
        &self,
        req: Request<pb::ReviseCarePlanRequest>,
    ) -> Reply<pb::CarePlan> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag, reason) =
            (Name::parse("name", &req.name)?, req.etag.clone(), req.reason.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| care_plan::revise(tx, name, etag.clone(), reason.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn diff_revisions(&self, req: Request<pb::DiffRevisionsRequest>) -> Reply<pb::PlanDiff> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", &req.name)?;
        Ok(Response::new(plan_content::diff(&self.store.read(&ctx), name, &req.base).await?))
    }

    // Goals.

    async fn get_goal(&self, req: Request<pb::GetGoalRequest>) -> Reply<pb::Goal> {
        let (ctx, req) = Ctx::open(req)?;
        let row = goal::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_goals(&self, req: Request<pb::ListGoalsRequest>) -> Reply<pb::ListGoalsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (plan, page, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, goal::State::known),
        ))?;
        let (rows, next_page_token) =
            goal::list(&self.store.read(&ctx), plan, states, &page).await?;
        let goals = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListGoalsResponse { goals, next_page_token }))
    }

    async fn create_goal(&self, req: Request<pb::CreateGoalRequest>) -> Reply<pb::Goal> {
        let (ctx, req) = Ctx::open(req)?;
        let (plan, from) =
            (Name::parse("parent", &req.parent)?, req.goal.clone().unwrap_or_default());
        let reply =
            self.store.write(&ctx, &req, move |tx| goal::create(tx, plan, from.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_goal(&self, req: Request<pb::UpdateGoalRequest>) -> Reply<pb::Goal> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.goal.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("goal.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| goal::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn accept_goal(&self, req: Request<pb::AcceptGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Accept).await
    }

    async fn reject_goal(&self, req: Request<pb::RejectGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Reject).await
    }

    async fn plan_goal(&self, req: Request<pb::PlanGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Plan).await
    }

    async fn start_goal(&self, req: Request<pb::StartGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Start).await
    }

    async fn hold_goal(&self, req: Request<pb::HoldGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Hold).await
    }

    async fn release_goal(&self, req: Request<pb::ReleaseGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Release).await
    }

    async fn complete_goal(&self, req: Request<pb::CompleteGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Complete).await
    }

    async fn cancel_goal(&self, req: Request<pb::CancelGoalRequest>) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::Cancel).await
    }

    async fn mark_goal_entered_in_error(
        &self,
        req: Request<pb::MarkGoalEnteredInErrorRequest>,
    ) -> Reply<pb::Goal> {
        self.goal(req, goal::Step::EnterInError).await
    }

    async fn record_goal_progress(
        &self,
        req: Request<pb::RecordGoalProgressRequest>,
    ) -> Reply<pb::Goal> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let from = req.progress.clone().unwrap_or_default();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                goal::record_progress(tx, name, etag.clone(), from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    // Activities.

    async fn get_activity(&self, req: Request<pb::GetActivityRequest>) -> Reply<pb::Activity> {
        let (ctx, req) = Ctx::open(req)?;
        let row = activity::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_activities(
        &self,
        req: Request<pb::ListActivitiesRequest>,
    ) -> Reply<pb::ListActivitiesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (plan, page, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, activity::State::known),
        ))?;
        let (rows, next_page_token) =
            activity::list(&self.store.read(&ctx), plan, states, &page).await?;
        let activities = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListActivitiesResponse { activities, next_page_token }))
    }

    async fn create_activity(
        &self,
        req: Request<pb::CreateActivityRequest>,
    ) -> Reply<pb::Activity> {
        let (ctx, req) = Ctx::open(req)?;
        let (plan, from) =
            (Name::parse("parent", &req.parent)?, req.activity.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| activity::create(tx, plan, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_activity(
        &self,
        req: Request<pb::UpdateActivityRequest>,
    ) -> Reply<pb::Activity> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.activity.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("activity.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| activity::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn schedule_activity(
        &self,
        req: Request<pb::ScheduleActivityRequest>,
    ) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Schedule), |req| Along {
            schedule: req.schedule.clone(),
            ..Along::default()
        })
        .await
    }

    async fn start_activity(&self, req: Request<pb::StartActivityRequest>) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Start), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn hold_activity(&self, req: Request<pb::HoldActivityRequest>) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Hold), |_| Along::default()).await
    }

    async fn release_activity(
        &self,
        req: Request<pb::ReleaseActivityRequest>,
    ) -> Reply<pb::Activity> {
        self.activity(req, Wish::Release, |_| Along::default()).await
    }

    async fn complete_activity(
        &self,
        req: Request<pb::CompleteActivityRequest>,
    ) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Complete), |req| Along {
            evidence: req.evidence.clone(),
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn confirm_delivery(
        &self,
        req: Request<pb::ConfirmDeliveryRequest>,
    ) -> Reply<pb::Activity> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", &req.name)?;
        let (etag, said) = (req.etag.clone(), req.confirmation.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| delivery::confirm(tx, name, etag.clone(), said.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn cancel_activity(
        &self,
        req: Request<pb::CancelActivityRequest>,
    ) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Cancel), |_| Along::default()).await
    }

    async fn stop_activity(&self, req: Request<pb::StopActivityRequest>) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::Stop), |_| Along::default()).await
    }

    async fn mark_activity_entered_in_error(
        &self,
        req: Request<pb::MarkActivityEnteredInErrorRequest>,
    ) -> Reply<pb::Activity> {
        self.activity(req, Wish::Step(activity::Step::EnterInError), |_| Along::default()).await
    }
}
