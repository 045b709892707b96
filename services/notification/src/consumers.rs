//! What the service does when others speak: it tells people, and keeps who may see whom.
use std::sync::Arc;

use caseward_api::access::v1::{RelationChanged, relation_changed};
use caseward_core::{Error, Name as _, Result, Time, check, data};
use caseward_events::{Consumer, Event};
use caseward_store::{Basis, Resource, Tx, relation};
use prost::Name as _;
use sea_orm::{Condition, entity::prelude::*};

use crate::{
    NAME,
    delivery::Delivery,
    message::{self, Column, Entity, Model},
    notice::{self, Cancels, Notice},
    shipped,
};

/// Tells people what happened.
pub(crate) fn notices(delivery: Arc<Delivery>) -> Consumer {
    Consumer::asking(
        "notification.notices",
        NAME,
        notice::subjects(),
        move |ctx, event| {
            let delivery = delivery.clone();
            async move { notice::read(&delivery.patients, &ctx, &event).await }
        },
        raise,
    )
}

/// Drafts a message to each recipient. One event tells one person one thing once, however often it comes.
async fn raise(event: Event, notice: Notice, tx: Tx) -> Result<()> {
    cancel(&tx, &notice).await?;
    if notice.key.is_empty() || notice.recipients.is_empty() {
        return Ok(());
    }
    let Some(template) = shipped::in_use(&tx, notice.key).await? else { return Ok(()) };
    for recipient in &notice.recipients {
        let event_key = format!("{}/{recipient}/{}", event.id, notice.key);
        let known = Entity::of(&tx.ctx).filter(Column::EventKey.eq(&event_key));
        if known.count(&tx.db).await? > 0 {
            continue;
        }
        let drafted = Model::draft(&tx.ctx, &template, recipient);
        let row = Model {
            patient: drafted
                .patient
                .or_else(|| message::PatientName::parse("", &notice.patient).ok()),
            case_id: message::CaseName::parse("", &notice.case).ok(),
            cause: event.id.to_string(),
            event_key: Some(event_key),
            ..drafted
        };
        message::insert(&tx, row).await?;
    }
    Ok(())
}

async fn cancel(tx: &Tx, notice: &Notice) -> Result<()> {
    let (which, reason) = match notice.cancels {
        None => return Ok(()),
        Some(Cancels::Case) => {
            let case = message::CaseName::parse("case", &notice.case)?;
            (Condition::all().add(Column::CaseId.eq(case)), "CASE_CLOSED")
        }
        Some(Cancels::Patient) => {
            let named = Condition::any()
                .add(Column::Recipient.eq(&notice.patient))
                .add(Column::Recipient.starts_with(format!("{}/", notice.patient)));
            (Condition::all().add(named), "CONSENT_REVOKED")
        }
    };
    for row in message::waiting(tx, which).await? {
        message::withdraw(tx, row, reason).await?;
    }
    Ok(())
}

/// Keeps who is related to whom, as other services tell.
pub(crate) fn relations() -> Consumer {
    Consumer::new(
        "notification.relations",
        NAME,
        [RelationChanged::full_name()],
        |event, tx| async move {
            match event.decode::<RelationChanged>()? {
                Some(changed) => relate(&tx, event.occurred_at, changed).await,
                None => Ok(()),
            }
        },
    )
}

async fn relate(tx: &Tx, occurred_at: Time, changed: RelationChanged) -> Result<()> {
    let unreadable = || Error::internal("a relation that does not read");
    let source = changed.source.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok());
    let period = data::period(&changed.period).map_err(|_| unreadable())?;
    let basis = match check::known(changed.basis).map_err(|_| unreadable())? {
        relation_changed::Basis::Unspecified => return Err(unreadable()),
        relation_changed::Basis::Team => Basis::Team,
        relation_changed::Basis::Registrar => Basis::Registrar,
        relation_changed::Basis::Self_ => Basis::Patient,
        relation_changed::Basis::Caregiver => Basis::Caregiver,
        relation_changed::Basis::Emergency => Basis::Emergency,
    };
    let row = relation::Model {
        // One source may grant a relation of each basis.
        source: Uuid::from_u128(source.ok_or_else(unreadable)?.as_u128() ^ (basis as u128 + 1)),
        organization: tx.ctx.organization(),
        subject: changed.subject,
        patient: message::PatientName::parse("patient", &changed.patient)?.uuid(),
        basis,
        starts_at: period.start.unwrap_or(occurred_at),
        ends_at: period.end,
        revision: changed.revision,
    };
    relation::put(tx, row).await
}
