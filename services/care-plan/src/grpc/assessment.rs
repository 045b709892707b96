//! The RPC surface of questionnaires and assessments: open the request, do the work, answer.
use caseward_api::{
    Verb,
    careplan::v1::{self as pb, assessment_service_server::AssessmentService},
};
use caseward_core::{Ctx, Name, Page, check};
use caseward_store::Store;
use tonic::{Request, Response, Status};

use crate::{
    assessment::{self, Step},
    assessment_step::{self, Along},
    form,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Assessments {
    pub store: Store,
}

impl Assessments {
    async fn step<Q: Verb>(
        &self,
        req: Request<Q>,
        step: Step,
        more: impl FnOnce(&Q) -> Along,
    ) -> Reply<pb::Assessment> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let along = Along { reason: req.reason().to_owned(), ..more(&req) };
        let etag = req.etag().to_owned();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                assessment_step::step(tx, name, step, etag.clone(), along.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl AssessmentService for Assessments {
    async fn get_questionnaire(
        &self,
        req: Request<pb::GetQuestionnaireRequest>,
    ) -> Reply<pb::Questionnaire> {
        let (ctx, req) = Ctx::open(req)?;
        let row = form::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_questionnaires(
        &self,
        req: Request<pb::ListQuestionnairesRequest>,
    ) -> Reply<pb::ListQuestionnairesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, url, states, identifier) = check::all((
            Page::open(&ctx, &req),
            check::wanted("url", &req.url, form::URL),
            check::choices("states", &req.states, form::State::known),
            check::identifier("identifier", &req.identifier),
        ))?;
        form::provide(&self.store, &ctx).await?;
        let (rows, next_page_token) =
            form::list(&self.store.read(&ctx), url, states, identifier, &page).await?;
        let questionnaires = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListQuestionnairesResponse { questionnaires, next_page_token }))
    }

    async fn create_questionnaire(
        &self,
        req: Request<pb::CreateQuestionnaireRequest>,
    ) -> Reply<pb::Questionnaire> {
        let (ctx, req) = Ctx::open(req)?;
        let from = req.questionnaire.clone().unwrap_or_default();
        let reply = self.store.write(&ctx, &req, move |tx| form::create(tx, from.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn retire_questionnaire(
        &self,
        req: Request<pb::RetireQuestionnaireRequest>,
    ) -> Reply<pb::Questionnaire> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let reply =
            self.store.write(&ctx, &req, move |tx| form::retire(tx, id, etag.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn get_assessment(
        &self,
        req: Request<pb::GetAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        let (ctx, req) = Ctx::open(req)?;
        let row = assessment::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_assessments(
        &self,
        req: Request<pb::ListAssessmentsRequest>,
    ) -> Reply<pb::ListAssessmentsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, form, states) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::name("questionnaire", &req.questionnaire),
            check::choices("states", &req.states, assessment::State::known),
        ))?;
        let (rows, next_page_token) =
            assessment::list(&self.store.read(&ctx), case, form, states, &page).await?;
        let assessments = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListAssessmentsResponse { assessments, next_page_token }))
    }

    async fn create_assessment(
        &self,
        req: Request<pb::CreateAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.assessment.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| assessment::create(tx, case, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn start_assessment(
        &self,
        req: Request<pb::StartAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        self.step(req, Step::Start, |_| Along::default()).await
    }

    async fn save_answers(&self, req: Request<pb::SaveAnswersRequest>) -> Reply<pb::Assessment> {
        let json =
            |req: &pb::SaveAnswersRequest| Along { json: req.json.clone(), ..Along::default() };
        self.step(req, Step::SaveAnswers, json).await
    }

    async fn complete_assessment(
        &self,
        req: Request<pb::CompleteAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        let more = |req: &pb::CompleteAssessmentRequest| Along {
            json: req.json.clone(),
            effective: req.effective_time,
            ..Along::default()
        };
        self.step(req, Step::Complete, more).await
    }

    async fn amend_assessment(
        &self,
        req: Request<pb::AmendAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        let json =
            |req: &pb::AmendAssessmentRequest| Along { json: req.json.clone(), ..Along::default() };
        self.step(req, Step::Amend, json).await
    }

    async fn stop_assessment(
        &self,
        req: Request<pb::StopAssessmentRequest>,
    ) -> Reply<pb::Assessment> {
        self.step(req, Step::Stop, |_| Along::default()).await
    }

    async fn mark_assessment_entered_in_error(
        &self,
        req: Request<pb::MarkAssessmentEnteredInErrorRequest>,
    ) -> Reply<pb::Assessment> {
        self.step(req, Step::EnterInError, |_| Along::default()).await
    }

    async fn score_lace(&self, req: Request<pb::ScoreLaceRequest>) -> Reply<pb::Assessment> {
        let (ctx, req) = Ctx::open(req)?;
        let case = Name::parse("parent", &req.parent)?;
        let (inputs, at) = (req.inputs.clone(), req.effective_time);
        let reply = self
            .store
            .write(&ctx, &req, move |tx| assessment_step::score_lace(tx, case, inputs.clone(), at))
            .await?;
        Ok(Response::new(reply))
    }
}
