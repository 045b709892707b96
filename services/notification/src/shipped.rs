//! The templates that the product ships, in every organization from its first use on.
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use caseward_core::{Ctx, Result, data::Json};
use caseward_store::{Store, Tx};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, sea_query::OnConflict};
use uuid::Uuid;

use crate::{
    channel::Channel,
    template::{self, ActiveModel, Entity, Model, State, TemplateId, Variant},
};

mod texts;

/// Tells a patient who looks after them now.
pub(crate) const CASE_ENROLLED: &str = "case-enrolled";
/// Tells a patient that somebody else looks after them now.
pub(crate) const ACCOUNTABILITY_MOVED: &str = "accountability-moved";
/// Tells a case manager that a case is theirs.
pub(crate) const CASE_ASSIGNED: &str = "case-assigned";
/// Tells a case manager that somebody else is accountable now.
pub(crate) const CASE_TAKEN_OVER: &str = "case-taken-over";
/// Tells a case manager that a case is offered to them.
pub(crate) const HANDOFF_PROPOSED: &str = "handoff-proposed";
/// Tells whoever offered a case that it was not taken, and is theirs still.
pub(crate) const HANDOFF_DECLINED: &str = "handoff-declined";
/// Tells whoever offered a case that nobody answered, and it is theirs still.
pub(crate) const HANDOFF_EXPIRED: &str = "handoff-expired";
/// Tells supervisors that nobody answered the offer of a case.
pub(crate) const HANDOFF_UNANSWERED: &str = "handoff-unanswered";
/// Tells staff that a task of theirs is late.
pub(crate) const TASK_OVERDUE: &str = "task-overdue";
/// Tells staff that a task is theirs.
pub(crate) const TASK_ASSIGNED: &str = "task-assigned";
/// Tells supervisors that a task waits for one of them.
pub(crate) const TASK_OFFERED: &str = "task-offered";
/// Tells supervisors that a task is late that nobody took.
pub(crate) const TASK_UNCLAIMED: &str = "task-unclaimed";
/// Tells staff of an answer that cannot wait.
pub(crate) const CRITICAL_ITEM: &str = "critical-item-raised";
/// Tells a patient that a copy of the plan is there.
pub(crate) const PLAN_ACTIVATED: &str = "plan-activated";
/// Tells the care team that a copy of the plan is there.
pub(crate) const PLAN_COPY: &str = "plan-copy";
/// Tells supervisors that a plan waits for approval.
pub(crate) const PLAN_SUBMITTED: &str = "plan-submitted";
/// Tells whoever wrote a plan that it came back.
pub(crate) const PLAN_RETURNED: &str = "plan-returned";
/// Tells whoever wrote a plan that it was approved.
pub(crate) const PLAN_APPROVED: &str = "plan-approved";
/// Tells a patient that the work pauses.
pub(crate) const CASE_PAUSED: &str = "case-paused";
/// Tells the care team that the work pauses.
pub(crate) const CASE_PAUSED_TEAM: &str = "case-paused-team";
/// Tells a patient that the work goes on.
pub(crate) const CASE_RESUMED: &str = "case-resumed";
/// Tells the care team that the work goes on.
pub(crate) const CASE_RESUMED_TEAM: &str = "case-resumed-team";
/// Tells supervisors that a closure waits for their word.
pub(crate) const CLOSURE_PROPOSED: &str = "closure-proposed";
/// Tells a case manager that a proposed closure came back.
pub(crate) const CLOSURE_RETURNED: &str = "closure-returned";
/// Tells a patient that the case is closed.
pub(crate) const CASE_CLOSED: &str = "case-closed";
/// Tells a patient that somebody sees the record because of an emergency.
pub(crate) const EMERGENCY_ACCESS: &str = "emergency-access";
/// Reminds a patient to look at the plan.
pub(crate) const CHECK_PLAN: &str = "check-your-plan";

/// One shipped template: for patients, by email and inbox, or for staff, by inbox.
struct Shipped {
    key: &'static str,
    display_name: &'static str,
    channels: &'static [Channel],
    /// Language, subject, body.
    texts: [(&'static str, &'static str, &'static str); 2],
}

/// The organizations that have them.
#[derive(Debug, Default)]
pub(crate) struct Installed(Mutex<HashSet<Uuid>>);

impl Installed {
    /// Sees to it that the organization of `ctx` has them.
    pub(crate) async fn ensure(&self, store: &Store, ctx: &Ctx) -> Result<()> {
        let organization = ctx.organization();
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&organization) {
            return Ok(());
        }
        let task = Ctx::task(crate::NAME, "templates", organization, ctx.clock.clone());
        store.task(&task, install).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(organization);
        Ok(())
    }
}

/// The version of a shipped template that is in use; none where somebody retired them all.
pub(crate) async fn in_use(tx: &Tx, key: &str) -> Result<Option<Model>> {
    if let Some(found) = template::in_use(tx, key).await? {
        return Ok(Some(found));
    }
    install(tx.clone()).await?;
    template::in_use(tx, key).await
}

async fn install(tx: Tx) -> Result<()> {
    let known = OnConflict::new().do_nothing().to_owned();
    for shipped in texts::ALL {
        let row = shipped.row(&tx.ctx).into_active_model().reset_all();
        let insert = Entity::insert::<ActiveModel>(row).on_conflict(known.clone());
        match insert.exec_without_returning(&tx.db).await {
            Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Shipped {
    fn row(&self, ctx: &Ctx) -> Model {
        let mut variants = vec![];
        for channel in self.channels {
            for (language, subject, body) in self.texts {
                variants.push(Variant {
                    language: language.to_owned(),
                    channel: *channel,
                    subject: subject.to_owned(),
                    body: body.to_owned(),
                });
            }
        }
        let now = ctx.now();
        Model {
            id: TemplateId::generate(),
            organization: ctx.organization(),
            key: self.key.to_owned(),
            version: 1,
            display_name: self.display_name.to_owned(),
            variables: Json::default(),
            variants: Json(variants),
            state: State::Approved,
            approver: ctx.subject().to_owned(),
            approved_at: Some(now),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }
}
