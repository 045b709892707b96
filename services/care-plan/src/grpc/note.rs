//! The RPC surface of notes and evaluations: open the request, do the work, answer.
use caseward_api::{
    Verb,
    careplan::v1::{self as pb, note_service_server::NoteService},
};
use caseward_core::{Ctx, Name, Page, check};
use caseward_store::Store;
use tonic::{Request, Response, Status};

use crate::{
    evaluation,
    note::{self, Along, Step},
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Notes {
    pub store: Store,
}

impl Notes {
    async fn step<Q: Verb>(
        &self,
        req: Request<Q>,
        step: Step,
        text: impl FnOnce(&Q) -> String,
    ) -> Reply<pb::Note> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let along = Along { text: text(&req), reason: req.reason().to_owned() };
        let etag = req.etag().to_owned();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| note::step(tx, name, step, etag.clone(), along.clone()))
            .await?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl NoteService for Notes {
    async fn get_note(&self, req: Request<pb::GetNoteRequest>) -> Reply<pb::Note> {
        let (ctx, req) = Ctx::open(req)?;
        let row = note::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_notes(&self, req: Request<pb::ListNotesRequest>) -> Reply<pb::ListNotesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, states, class) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::choices("states", &req.states, note::State::known),
            check::choice::<pb::note::Class>("class", req.class),
        ))?;
        let (rows, next_page_token) =
            note::list(&self.store.read(&ctx), case, class, states, &page).await?;
        let notes = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListNotesResponse { notes, next_page_token }))
    }

    async fn create_note(&self, req: Request<pb::CreateNoteRequest>) -> Reply<pb::Note> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.note.clone().unwrap_or_default());
        let reply =
            self.store.write(&ctx, &req, move |tx| note::create(tx, case, from.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_note(&self, req: Request<pb::UpdateNoteRequest>) -> Reply<pb::Note> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.note.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let name = Name::parse("note.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| note::update(tx, name, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn sign_note(&self, req: Request<pb::SignNoteRequest>) -> Reply<pb::Note> {
        self.step(req, Step::Sign, |_| String::new()).await
    }

    async fn amend_note(&self, req: Request<pb::AmendNoteRequest>) -> Reply<pb::Note> {
        self.step(req, Step::Amend, |req| req.text.clone()).await
    }

    async fn mark_note_entered_in_error(
        &self,
        req: Request<pb::MarkNoteEnteredInErrorRequest>,
    ) -> Reply<pb::Note> {
        self.step(req, Step::EnterInError, |_| String::new()).await
    }

    async fn get_evaluation(
        &self,
        req: Request<pb::GetEvaluationRequest>,
    ) -> Reply<pb::Evaluation> {
        let (ctx, req) = Ctx::open(req)?;
        let row = evaluation::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_evaluations(
        &self,
        req: Request<pb::ListEvaluationsRequest>,
    ) -> Reply<pb::ListEvaluationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let (rows, next_page_token) = evaluation::list(&self.store.read(&ctx), case, &page).await?;
        let evaluations = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListEvaluationsResponse { evaluations, next_page_token }))
    }

    async fn create_evaluation(
        &self,
        req: Request<pb::CreateEvaluationRequest>,
    ) -> Reply<pb::Evaluation> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.evaluation.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| evaluation::create(tx, case, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }
}
