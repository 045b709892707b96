//! The RPC surface of cases: open the request, do the work, answer.
use std::pin::Pin;

use caseward_api::{
    Verb,
    careplan::v1::{self as pb, case_service_server::CaseService},
    patient::v1::{
        GetConsentRequest, GetPatientRequest, patient_service_client::PatientServiceClient,
    },
};
use caseward_core::{Ctx, Error, Name, Page, check, consent};
use caseward_server::Transport;
use caseward_store::Store;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    accountability, case,
    case_step::{self, Along, Consented, Wish},
    handoff, kin, member, obligation, timeline, transition, watch,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Cases {
    pub store: Store,
    pub patients: Transport,
    pub stopping: CancellationToken,
}

impl Cases {
    async fn step<Q: Verb>(
        &self,
        req: Request<Q>,
        wish: Wish,
        along: impl FnOnce(&Q) -> Along,
    ) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let along = along(&req);
        self.take(ctx, req, wish, along).await
    }

    async fn take<Q: Verb>(&self, ctx: Ctx, req: Q, wish: Wish, along: Along) -> Reply<pb::Case> {
        let id = Name::parse("name", req.name())?;
        let along = Along { reason: req.reason().to_owned(), ..along };
        let etag = req.etag().to_owned();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| case_step::step(tx, id, wish, etag.clone(), along.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn handoff<Q: Verb>(&self, req: Request<Q>, step: handoff::Step) -> Reply<pb::Handoff> {
        let (ctx, req) = Ctx::open(req)?;
        let name = Name::parse("name", req.name())?;
        let least = usize::from(step == handoff::Step::Decline);
        let reason =
            check::text(req.reason(), least..=1000).map_err(|why| Error::invalid("reason", why))?;
        let etag = req.etag().to_owned();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                handoff::step(tx, name, step, etag.clone(), reason.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    /// What becomes of a consent is for the patient service to say, too. Its word is judged within the change, so that
    /// a repeated request gets its first reply whatever became of the consent since.
    async fn consented(&self, ctx: &Ctx, name: &str) -> Result<Consented, Error> {
        if name.is_empty() {
            return Ok(Consented::Unnamed);
        }
        let mut patients = PatientServiceClient::new(self.patients.for_caller(ctx));
        match patients.get_consent(GetConsentRequest { name: name.to_owned() }).await {
            Ok(found) => {
                let holds = consent::lets_take_part(found.get_ref(), ctx.now());
                Ok(if holds { Consented::InForce } else { Consented::NotInForce })
            }
            Err(status) => match status.code() {
                tonic::Code::NotFound | tonic::Code::InvalidArgument => Ok(Consented::Absent),
                _ => Err(status.into()),
            },
        }
    }

    /// Whether the caller may see the patient is for the patient service to say.
    async fn sees(&self, ctx: &Ctx, patient: String) -> Result<(), Error> {
        let mut patients = PatientServiceClient::new(self.patients.for_caller(ctx));
        match patients.get_patient(GetPatientRequest { name: patient.clone() }).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == tonic::Code::NotFound => Err(Error::NotFound(patient)),
            Err(status) => Err(status.into()),
        }
    }
}

#[tonic::async_trait]
impl CaseService for Cases {
    async fn get_case(&self, req: Request<pb::GetCaseRequest>) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let row = case::read(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_cases(&self, req: Request<pb::ListCasesRequest>) -> Reply<pb::ListCasesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let scope = self.store.read(&ctx);
        let asked = case::asked(&scope, &req).await;
        let (page, select) = check::all((Page::open(&ctx, &req), asked))?;
        let (rows, next_page_token) = case::list(&scope, select, &page).await?;
        let cases = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListCasesResponse { cases, next_page_token }))
    }

    async fn create_case(&self, req: Request<pb::CreateCaseRequest>) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let row = case::Model::draft(&ctx, &req.case.clone().unwrap_or_default())?;
        self.sees(&ctx, row.patient.to_string()).await?;
        let reply = self.store.write(&ctx, &req, move |tx| case::create(tx, row.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_case(&self, req: Request<pb::UpdateCaseRequest>) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let (from, mask) =
            (req.case.clone().unwrap_or_default(), req.update_mask.clone().unwrap_or_default());
        let id = Name::parse("case.name", &from.name)?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| case::update(tx, id, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn start_outreach(&self, req: Request<pb::StartOutreachRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::StartOutreach), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn enrol_case(&self, req: Request<pb::EnrolCaseRequest>) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let along = Along {
            consent: req.consent.clone(),
            consented: self.consented(&ctx, &req.consent).await?,
            consent_statement: req.consent_statement.clone(),
            accountable: req.accountable.clone(),
            effective: req.effective_time,
            ..Along::default()
        };
        self.take(ctx, req, Wish::Step(case::Step::Enrol), along).await
    }

    async fn decline_case(&self, req: Request<pb::DeclineCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Decline), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn mark_unable_to_reach(
        &self,
        req: Request<pb::MarkUnableToReachRequest>,
    ) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::GiveUp), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn waitlist_case(&self, req: Request<pb::WaitlistCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Waitlist), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn return_from_waitlist(
        &self,
        req: Request<pb::ReturnFromWaitlistRequest>,
    ) -> Reply<pb::Case> {
        self.step(req, Wish::ReturnFromWaitlist, |req| Along {
            accountable: req.accountable.clone(),
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn activate_case(&self, req: Request<pb::ActivateCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Activate), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn pause_case(&self, req: Request<pb::PauseCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Pause), |req| Along {
            expected_return: req.expected_return_time,
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn resume_case(&self, req: Request<pb::ResumeCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Resume), |req| Along {
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn propose_closure(&self, req: Request<pb::ProposeClosureRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::ProposeClosure), |req| Along {
            close_reason: req.close_reason,
            ..Along::default()
        })
        .await
    }

    async fn return_closure(&self, req: Request<pb::ReturnClosureRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::ReturnClosure), |_| Along::default()).await
    }

    async fn close_case(&self, req: Request<pb::CloseCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Close), |req| Along {
            close_reason: req.close_reason,
            waiver: req.waiver.clone(),
            effective: req.effective_time,
            ..Along::default()
        })
        .await
    }

    async fn reopen_case(&self, req: Request<pb::ReopenCaseRequest>) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::Reopen), |_| Along::default()).await
    }

    async fn mark_case_entered_in_error(
        &self,
        req: Request<pb::MarkCaseEnteredInErrorRequest>,
    ) -> Reply<pb::Case> {
        self.step(req, Wish::Step(case::Step::EnterInError), |_| Along::default()).await
    }

    async fn record_contact_attempt(
        &self,
        req: Request<pb::RecordContactAttemptRequest>,
    ) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let from = req.attempt.clone().unwrap_or_default();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                case_step::record_attempt(tx, id, etag.clone(), from.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn reassign_case(&self, req: Request<pb::ReassignCaseRequest>) -> Reply<pb::Case> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let (person, reason) = (req.accountable.clone(), req.reason.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| {
                case_step::reassign(tx, id, etag.clone(), person.clone(), reason.clone())
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn get_accountable(
        &self,
        req: Request<pb::GetAccountableRequest>,
    ) -> Reply<pb::Accountability> {
        let (ctx, req) = Ctx::open(req)?;
        let time = check::moment(&req.time)
            .map_err(|why| Error::invalid("time", why))?
            .unwrap_or(ctx.now());
        if time > ctx.now() {
            return Err(Error::invalid("time", "is in the future").into());
        }
        let row = accountability::at(&self.store.read(&ctx), Name::parse("name", &req.name)?, time)
            .await?;
        Ok(Response::new(row.into()))
    }

    async fn watch_case(&self, req: Request<pb::WatchCaseRequest>) -> Reply<Self::WatchCaseStream> {
        let (ctx, req) = Ctx::open(req)?;
        let id = Name::parse("name", &req.name)?;
        let stream =
            watch::case(self.store.clone(), ctx, id, &req.resume_token, self.stopping.clone())
                .await?;
        Ok(Response::new(Box::pin(stream)))
    }

    type WatchCaseStream = Pin<Box<dyn Stream<Item = Result<pb::TimelineEntry, Status>> + Send>>;

    async fn list_accountabilities(
        &self,
        req: Request<pb::ListAccountabilitiesRequest>,
    ) -> Reply<pb::ListAccountabilitiesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let (rows, next_page_token) =
            accountability::list(&self.store.read(&ctx), case, &page).await?;
        let accountabilities = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListAccountabilitiesResponse { accountabilities, next_page_token }))
    }

    async fn list_transitions(
        &self,
        req: Request<pb::ListTransitionsRequest>,
    ) -> Reply<pb::ListTransitionsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, resource) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            transition::asked(&req),
        ))?;
        let (rows, next_page_token) =
            transition::list(&self.store.read(&ctx), case, resource, &page).await?;
        Ok(Response::new(pb::ListTransitionsResponse { transitions: rows, next_page_token }))
    }

    async fn list_timeline(
        &self,
        req: Request<pb::ListTimelineRequest>,
    ) -> Reply<pb::ListTimelineResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let (rows, next_page_token) = timeline::list(&self.store.read(&ctx), case, &page).await?;
        let timeline = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListTimelineResponse { timeline, next_page_token }))
    }

    async fn list_open_obligations(
        &self,
        req: Request<pb::ListOpenObligationsRequest>,
    ) -> Reply<pb::ListOpenObligationsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let (rows, next_page_token) = obligation::list(&self.store.read(&ctx), case, &page).await?;
        Ok(Response::new(pb::ListOpenObligationsResponse {
            open_obligations: rows,
            next_page_token,
        }))
    }

    async fn list_handoffs(
        &self,
        req: Request<pb::ListHandoffsRequest>,
    ) -> Reply<pb::ListHandoffsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page) =
            check::all((Name::parse("parent", &req.parent), Page::open(&ctx, &req)))?;
        let (rows, next_page_token) = handoff::list(&self.store.read(&ctx), case, &page).await?;
        let handoffs = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListHandoffsResponse { handoffs, next_page_token }))
    }

    async fn list_members(
        &self,
        req: Request<pb::ListMembersRequest>,
    ) -> Reply<pb::ListMembersResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, page, at) = check::all((
            Name::parse("parent", &req.parent),
            Page::open(&ctx, &req),
            check::moment(&req.time).map_err(|why| Error::invalid("time", why)),
        ))?;
        let (rows, next_page_token) = member::list(&self.store.read(&ctx), case, at, &page).await?;
        let members = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListMembersResponse { members, next_page_token }))
    }

    async fn get_handoff(&self, req: Request<pb::GetHandoffRequest>) -> Reply<pb::Handoff> {
        let (ctx, req) = Ctx::open(req)?;
        let row = handoff::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn propose_handoff(&self, req: Request<pb::ProposeHandoffRequest>) -> Reply<pb::Handoff> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.handoff.clone().unwrap_or_default());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| handoff::propose(tx, case, from.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn accept_handoff(&self, req: Request<pb::AcceptHandoffRequest>) -> Reply<pb::Handoff> {
        self.handoff(req, handoff::Step::Accept).await
    }

    async fn decline_handoff(&self, req: Request<pb::DeclineHandoffRequest>) -> Reply<pb::Handoff> {
        self.handoff(req, handoff::Step::Decline).await
    }

    async fn withdraw_handoff(
        &self,
        req: Request<pb::WithdrawHandoffRequest>,
    ) -> Reply<pb::Handoff> {
        self.handoff(req, handoff::Step::Withdraw).await
    }

    async fn get_member(&self, req: Request<pb::GetMemberRequest>) -> Reply<pb::Member> {
        let (ctx, req) = Ctx::open(req)?;
        let row = member::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn add_member(&self, req: Request<pb::AddMemberRequest>) -> Reply<pb::Member> {
        let (ctx, req) = Ctx::open(req)?;
        let (case, from) =
            (Name::parse("parent", &req.parent)?, req.member.clone().unwrap_or_default());
        let kin = kin::ask(&self.patients, &ctx, &from.related_person, ctx.now()).await?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| member::add(tx, case, from.clone(), kin))
            .await?;
        Ok(Response::new(reply))
    }

    async fn end_member(&self, req: Request<pb::EndMemberRequest>) -> Reply<pb::Member> {
        let (ctx, req) = Ctx::open(req)?;
        let (name, etag, reason) =
            (Name::parse("name", &req.name)?, req.etag.clone(), req.reason.clone());
        let at = check::moment(&req.end_time).map_err(|why| Error::invalid("end_time", why))?;
        let reply = self
            .store
            .write(&ctx, &req, move |tx| member::end(tx, name, etag.clone(), reason.clone(), at))
            .await?;
        Ok(Response::new(reply))
    }
}
