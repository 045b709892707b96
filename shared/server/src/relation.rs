//! The relations that other services grant, kept as they tell them: in events, or when asked.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis as Wire},
    careplan::v1::{
        CheckRelationRequest, Relation, relation_service_client::RelationServiceClient,
    },
    types::v1 as types,
};
use caseward_core::{Ctx, Error, Reach, Record, Result, Time, check, data::Period};
use caseward_events::Consumer;
use caseward_store::{
    Basis, Store, Tx,
    relation::{self, Topic},
};
use prost::Name;
use tokio::sync::Semaphore;
use tracing::warn;
use uuid::Uuid;

use crate::{OwnPeer, Process};

/// How many misses of one service ask at once; one more is answered by what is known here.
const ASKING: usize = 32;

/// How long care-plan may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks care-plan, which owns the teams, who is related to whom before its event about it has come.
#[derive(Clone, Debug)]
pub struct Relations {
    store: Store,
    care_plan: OwnPeer,
    service: &'static str,
    asking: Arc<Semaphore>,
}

impl Relations {
    /// For `service`, whose relations are in `store`.
    pub fn new(store: Store, process: &Process, service: &'static str) -> Self {
        let (care_plan, asking) = (process.own_peer("care_plan"), Arc::new(Semaphore::new(ASKING)));
        Relations { store, care_plan, service, asking }
    }

    /// What `read` finds of `patient`; where it finds nothing, what it finds once care-plan was asked.
    ///
    /// Care-plan is asked alike about patients that are there and that are not, at most once a miss, and where it
    /// does not answer, the miss stands.
    pub async fn or_ask<T, F, Fut>(&self, ctx: &Ctx, patient: Uuid, read: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        match read().await {
            Err(Error::NotFound(_)) if self.learn(ctx, patient).await => read().await,
            done => done,
        }
    }

    /// Makes sure that a relation of the caller to `patient` is known here, if there is one.
    pub async fn ensure(&self, ctx: &Ctx, patient: Uuid) -> Result<()> {
        let related = || async {
            let known = relation::between(&self.store.read(ctx), ctx.subject(), patient).await?;
            if known.is_empty() { Err(Error::NotFound(String::new())) } else { Ok(()) }
        };
        match self.or_ask(ctx, patient, related).await {
            Err(Error::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    /// Asks, and keeps the answer; whether anything was learned.
    async fn learn(&self, ctx: &Ctx, patient: Uuid) -> bool {
        if ctx.caller.reach == Reach::Organization {
            return false;
        }
        let Ok(_permit) = self.asking.try_acquire() else { return false };
        match self.ask(ctx, patient).await {
            Ok(learned) => learned,
            Err(cause) => {
                warn!(%cause, "care-plan was not there to be asked; a read is answered by what is known");
                false
            }
        }
    }

    async fn ask(&self, ctx: &Ctx, patient: Uuid) -> Result<bool> {
        let asked = Ctx::task(self.service, "relation", ctx.organization(), ctx.clock.clone());
        let record = Arc::new(Record::open("relation").traced(ctx.record.trace().to_owned()));
        let deadline = ctx.deadline.min(Instant::now() + PATIENCE);
        let asked = Ctx { record, deadline, ..asked };
        let mut care_plan = RelationServiceClient::new(self.care_plan.in_task(&asked)?);
        let (subject, patient) = (ctx.subject().to_owned(), format!("patients/{patient}"));
        let request = CheckRelationRequest { subject, patient };
        let answer = tokio::time::timeout_at(deadline.into(), care_plan.check_relation(request));
        let answer = answer.await.map_err(|_late| Error::Unavailable("care-plan is late"))?;
        let Relation { subject, patient, bases, .. } = answer?.into_inner();
        if bases.is_empty() {
            return Ok(false);
        }
        let said = bases.into_iter().map(|basis| RelationChanged {
            subject: subject.clone(),
            patient: patient.clone(),
            basis: basis.basis,
            period: basis.period,
            revision: basis.revision,
            source: basis.source,
            topics: basis.topics,
        });
        let said: Vec<RelationChanged> = said.collect();
        let keep_all = move |tx: Tx| {
            let said = said.clone();
            async move {
                for said in said {
                    // It holds as this is asked.
                    keep(&tx, said, tx.ctx.now()).await?;
                }
                Ok(())
            }
        };
        self.store.task(&asked, keep_all).await?;
        Ok(true)
    }
}

/// Keeps every relation that the services tell of, in the database of `service`. What the service granted itself
/// comes back to it at the revision it has and changes nothing.
pub fn consumer(name: &'static str, service: &'static str) -> Consumer {
    Consumer::new(name, service, [RelationChanged::full_name()], |event, tx| async move {
        match event.decode::<RelationChanged>()? {
            Some(said) => keep(&tx, said, event.occurred_at).await,
            None => Ok(()),
        }
    })
}

/// Keeps what a service said at `at`, unless something newer is known of the same relation.
pub async fn keep(tx: &Tx, said: RelationChanged, at: Time) -> Result<()> {
    let basis = basis(said.basis).ok_or_else(unreadable)?;
    let source = id(&said.source).ok_or_else(unreadable)?;
    // A relation may have ended in the instant in which it began.
    let period = said.period.unwrap_or_default();
    let starts_at = check::moment(&period.start).map_err(|_| unreadable())?;
    let ends_at = check::moment(&period.end).map_err(|_| unreadable())?;
    let row = relation::Model {
        source: relation::key(source, basis),
        organization: tx.ctx.organization(),
        subject: said.subject,
        patient: id(&said.patient).ok_or_else(unreadable)?,
        basis,
        starts_at: starts_at.unwrap_or(tx.ctx.now()),
        ends_at,
        revision: said.revision,
        // A topic of a later version is not known here, so nothing is shown because of it.
        topics: relation::set(said.topics.into_iter().filter_map(|n| Topic::try_from(n).ok())),
        narrowed_at: None,
    };
    relation::put(tx, row, at).await
}

/// What a service says of a relation that `source`, a resource name, grants.
pub fn told(row: &relation::Model, patient: String, source: String) -> RelationChanged {
    let period = Period { start: Some(row.starts_at), end: row.ends_at };
    RelationChanged {
        subject: row.subject.clone(),
        patient,
        basis: wire(row.basis).into(),
        period: Some(types::Period::from(period)),
        revision: row.revision,
        source,
        topics: topics(row),
    }
}

/// The topics of a relation as the contracts name them.
pub fn topics(row: &relation::Model) -> Vec<i32> {
    relation::topics(row.topics).into_iter().map(Into::into).collect()
}

/// A basis as the contracts name it.
pub fn wire(basis: Basis) -> Wire {
    match basis {
        Basis::Team => Wire::Team,
        Basis::Registrar => Wire::Registrar,
        Basis::Patient => Wire::Self_,
        Basis::Caregiver => Wire::Caregiver,
        Basis::Emergency => Wire::Emergency,
    }
}

fn basis(number: i32) -> Option<Basis> {
    match check::known::<Wire>(number).ok()? {
        Wire::Unspecified => None,
        Wire::Team => Some(Basis::Team),
        Wire::Registrar => Some(Basis::Registrar),
        Wire::Self_ => Some(Basis::Patient),
        Wire::Caregiver => Some(Basis::Caregiver),
        Wire::Emergency => Some(Basis::Emergency),
    }
}

/// The id at the end of a resource name.
fn id(name: &str) -> Option<Uuid> {
    name.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok())
}

fn unreadable() -> Error {
    Error::internal("a relation that does not read")
}
