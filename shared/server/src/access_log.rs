//! Who saw or changed a patient's data, in every service: each tells of its own log, one gathers them.
use caseward_api::audit::v1::{
    self as pb, access_log_service_client::AccessLogServiceClient,
    access_log_service_server::AccessLogService,
};
use caseward_core::{Ctx, Error, Result, Time, Violations, check};
use caseward_store::{
    Store,
    audit::{self, Wanted},
};
use futures_util::future::try_join_all;
use tonic::{Code, Request, Response, Status};
use tracing::warn;
use uuid::Uuid;

use crate::{Transport, identity::Identity, settings, transport::Peers};

/// The log of one service. It is served wherever there is a log, without a word of the service's own.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog(pub(crate) Store);

#[tonic::async_trait]
impl AccessLogService for AccessLog {
    async fn list_patient_accesses(
        &self,
        req: Request<pb::ListPatientAccessesRequest>,
    ) -> Result<Response<pb::ListPatientAccessesResponse>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        let wanted = wanted(ctx.organization(), &req)?;
        Ok(Response::new(pb::ListPatientAccessesResponse { accesses: self.list(wanted).await? }))
    }
}

impl AccessLog {
    async fn list(&self, wanted: Wanted) -> Result<Vec<pb::Access>> {
        let rows = audit::accesses(&self.0, wanted).await?;
        Ok(rows.into_iter().map(wire).collect())
    }
}

/// The logs of every service of the deployment.
#[derive(Clone, Debug)]
pub struct AccessLogs {
    pub(crate) name: &'static str,
    pub(crate) own: AccessLog,
    pub(crate) peers: Peers,
    pub(crate) identity: Identity,
}

impl AccessLogs {
    /// The accesses that are `wanted`, latest first. Where one log does not answer there is no answer: a list that
    /// lacks some would say that they never were.
    pub async fn list(&self, ctx: &Ctx, wanted: Wanted) -> Result<Vec<pb::Access>> {
        let task = Ctx::task(self.name, "accesses", ctx.organization(), ctx.clock.clone());
        let task = Ctx { deadline: ctx.deadline, ..task };
        let task = self.identity.sign(&task)?;
        let asked = settings::logs()
            .filter(|name| *name != self.name)
            .filter_map(|name| Some((name, self.peers.bound(name)?)))
            .map(|(name, peer)| ask(name, peer, &task, &wanted));
        let (own, others) = tokio::try_join!(self.own.list(wanted.clone()), try_join_all(asked))?;
        let mut all: Vec<_> = own.into_iter().chain(others.into_iter().flatten()).collect();
        all.sort_by(|a, b| b.call.cmp(&a.call));
        all.truncate(usize::try_from(wanted.most).unwrap_or(usize::MAX));
        Ok(all)
    }
}

async fn ask(
    name: &'static str,
    peer: Transport,
    ctx: &Ctx,
    wanted: &Wanted,
) -> Result<Vec<pb::Access>> {
    let request = pb::ListPatientAccessesRequest {
        patient: format!("patients/{}", wanted.patient),
        actor: wanted.actor.clone(),
        from: wanted.from.map(Into::into),
        until: wanted.until.map(Into::into),
        before_call: wanted.before.map(|call| call.to_string()).unwrap_or_default(),
        most: i32::try_from(wanted.most).unwrap_or(i32::MAX),
    };
    let mut client = AccessLogServiceClient::new(peer.for_caller(ctx));
    match client.list_patient_accesses(request).await {
        Ok(reply) => Ok(reply.into_inner().accesses),
        Err(status) => {
            warn!(service = name, code = ?status.code(), "a service does not tell of its audit log");
            Err(match status.code() {
                Code::Unavailable | Code::DeadlineExceeded => {
                    Error::Unavailable("the audit log of a service does not answer; try again")
                }
                _ => Error::internal("a service refuses to tell of its audit log"),
            })
        }
    }
}

fn wanted(organization: Uuid, req: &pb::ListPatientAccessesRequest) -> Result<Wanted> {
    let mut bad = Violations::default();
    let id = |text: &str| Uuid::try_parse(text).map_err(|_| "wants a UUID".to_owned());
    let patient = req.patient.strip_prefix("patients/").unwrap_or_default();
    let patient =
        bad.take("patient", id(patient).map_err(|_| "wants `patients/{uuid}`".to_owned()));
    let actor = bad.take("actor", check::text(&req.actor, 0..=300));
    let from = bad.take("from", check::moment(&req.from)).flatten();
    let until = bad.take("until", check::moment(&req.until)).flatten();
    let before = match req.before_call.as_str() {
        "" => None,
        call => bad.take("before_call", id(call)),
    };
    let most = bad.take("most", check::within(req.most, 1..=1001));
    bad.finish()?;
    Ok(Wanted {
        organization,
        patient: patient.unwrap_or_default(),
        actor: actor.unwrap_or_default(),
        from,
        until,
        before,
        most: most.map_or(1, |most| most.unsigned_abs().into()),
    })
}

fn wire(row: audit::Model) -> pb::Access {
    pb::Access {
        call: row.record.to_string(),
        access_time: Some(Time::from_micros(row.at.micros()).into()),
        actor: row.subject,
        roles: row.roles,
        method: row.method,
        purpose: row.purpose,
        outcome: row.outcome,
    }
}
