//! The RPC surface of tasks: open the request, do the work, answer.
use caseward_api::{
    Verb,
    careplan::v1::{self as pb, task_service_server::TaskService},
};
use caseward_core::{Ctx, Error, Name, Page, check};
use caseward_store::Store;
use tonic::{Request, Response, Status};

use crate::{
    task::{self, Along, Step},
    worklist,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Tasks {
    pub store: Store,
}

impl Tasks {
    async fn step<Q: Verb>(
        &self,
        req: Request<Q>,
        step: Step,
        along: impl FnOnce(&Q) -> Along,
    ) -> Reply<pb::Task> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let demanded =
            matches!(step, Step::Reject | Step::Fail | Step::Cancel | Step::EnterInError);
        let reason = check::text(req.reason(), usize::from(demanded)..=1000)
            .map_err(|why| Error::invalid("reason", why))?;
        let (etag, along, now) = (req.etag().to_owned(), along(&req), ctx.now());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let done = task::step(tx, name, step, etag.clone(), reason.clone(), along.clone());
                async move { Ok(done.await?.wire(now)) }
            })
            .await?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn get_task(&self, req: Request<pb::GetTaskRequest>) -> Reply<pb::Task> {
        let (ctx, req) = Ctx::open(req)?;
        let row = task::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.wire(ctx.now())))
    }

    async fn list_tasks(&self, req: Request<pb::ListTasksRequest>) -> Reply<pb::ListTasksResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, states, owner) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, task::State::known),
            check::wanted("owner", &req.owner, check::SUBJECT),
        ))?;
        let (rows, next_page_token) =
            task::list(&self.store.read(&ctx), case, states, owner, &page).await?;
        let tasks = rows.into_iter().map(|row| row.wire(ctx.now())).collect();
        Ok(Response::new(pb::ListTasksResponse { tasks, next_page_token }))
    }

    async fn create_task(&self, req: Request<pb::CreateTaskRequest>) -> Reply<pb::Task> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.task.clone().unwrap_or_default());
        let (draft, now) = (req.draft, ctx.now());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let done = task::create(tx, case, from.clone(), draft);
                async move { Ok(done.await?.wire(now)) }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn update_task(&self, req: Request<pb::UpdateTaskRequest>) -> Reply<pb::Task> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.task.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let (name, now) = (Name::parse("task.name", &from.name)?, ctx.now());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                let done = task::update(tx, name, from.clone(), mask.clone());
                async move { Ok(done.await?.wire(now)) }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn list_worklist(
        &self,
        req: Request<pb::ListWorklistRequest>,
    ) -> Reply<pb::ListWorklistResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, asked) = check::all((Page::open(&ctx, &req), worklist::asked(&ctx, &req)))?;
        Ok(Response::new(worklist::list(&self.store.read(&ctx), asked, &page).await?))
    }

    async fn offer_task(&self, req: Request<pb::OfferTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Offer, |_| Along::default()).await
    }

    async fn assign_task(&self, req: Request<pb::AssignTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Assign, |req| Along { owner: req.owner.clone(), ..Along::default() })
            .await
    }

    async fn claim_task(&self, req: Request<pb::ClaimTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Claim, |_| Along::default()).await
    }

    async fn accept_task(&self, req: Request<pb::AcceptTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Accept, |_| Along::default()).await
    }

    async fn reject_task(&self, req: Request<pb::RejectTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Reject, |_| Along::default()).await
    }

    async fn start_task(&self, req: Request<pb::StartTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Start, |_| Along::default()).await
    }

    async fn hold_task(&self, req: Request<pb::HoldTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Hold, |_| Along::default()).await
    }

    async fn release_task(&self, req: Request<pb::ReleaseTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Release, |_| Along::default()).await
    }

    async fn complete_task(&self, req: Request<pb::CompleteTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Complete, |req| Along {
            output: req.output.clone(),
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn fail_task(&self, req: Request<pb::FailTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Fail, |_| Along::default()).await
    }

    async fn cancel_task(&self, req: Request<pb::CancelTaskRequest>) -> Reply<pb::Task> {
        self.step(req, Step::Cancel, |_| Along::default()).await
    }

    async fn mark_task_entered_in_error(
        &self,
        req: Request<pb::MarkTaskEnteredInErrorRequest>,
    ) -> Reply<pb::Task> {
        self.step(req, Step::EnterInError, |_| Along::default()).await
    }
}
