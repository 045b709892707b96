//! What the service does when others speak: it tells people, and keeps who may see whom.
use caseward_core::{Name as _, Result};
use caseward_events::{Consumer, Event};
use caseward_server::relation;
use caseward_store::{Resource, Tx};
use sea_orm::{Condition, entity::prelude::*};

use crate::{
    NAME,
    message::{self, Column, Entity, Model},
    notice::{self, Notice, Told, Waiting},
    recipient::Patients,
    shipped,
    team::Teams,
};

/// Tells people what happened.
pub(crate) fn notices(patients: Patients, teams: Teams) -> Consumer {
    Consumer::asking(
        "notification.notices",
        NAME,
        notice::subjects(),
        move |ctx, event| {
            let (patients, teams) = (patients.clone(), teams.clone());
            async move { notice::read(&patients, &teams, &ctx, &event).await }
        },
        raise,
    )
}

/// Drafts a message to each recipient. One event tells one person one thing once, however often it comes.
async fn raise(event: Event, notice: Notice, tx: Tx) -> Result<()> {
    see_to(&tx, &event, &notice).await?;
    for Told { key, recipients } in &notice.told {
        let Some(template) = shipped::in_use(&tx, key).await? else { continue };
        for recipient in recipients {
            let event_key = format!("{}/{recipient}/{key}", event.id);
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
                about: event.aggregate.clone(),
                event_key: Some(event_key),
                ..drafted
            };
            message::insert(&tx, row).await?;
        }
    }
    Ok(())
}

async fn see_to(tx: &Tx, event: &Event, notice: &Notice) -> Result<()> {
    let to_patient = || {
        Condition::any()
            .add(Column::Recipient.eq(&notice.patient))
            .add(Column::Recipient.starts_with(format!("{}/", notice.patient)))
    };
    let (which, reason) = match notice.waiting {
        None => return Ok(()),
        Some(Waiting::Reconsider) => return message::look_again(tx, to_patient()).await,
        Some(Waiting::ParticipationEnded) => {
            // That their record was opened is told to whoever takes part in nothing, too.
            let other = Column::TemplateKey.ne(shipped::EMERGENCY_ACCESS);
            (Condition::all().add(to_patient()).add(other), "CONSENT_REVOKED")
        }
        Some(Waiting::CaseEnded(why)) => {
            let case = message::CaseName::parse("case", &notice.case)?;
            (Condition::all().add(Column::CaseId.eq(case)), why)
        }
        Some(Waiting::PlanEnded(why)) => {
            (Condition::all().add(Column::About.eq(&event.aggregate)), why)
        }
    };
    for row in message::waiting(tx, which).await? {
        message::end(tx, row, reason).await?;
    }
    Ok(())
}

/// Keeps who is related to whom, as other services tell.
pub(crate) fn relations() -> Consumer {
    relation::consumer("notification.relations", NAME)
}
