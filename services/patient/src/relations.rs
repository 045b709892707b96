//! Who may see a patient because of what this service keeps, and because of what others told it.
use caseward_api::access::v1::{RelationChanged, relation_changed};
use caseward_core::{Error, Name, Result, check, data::Period};
use caseward_events::Event;
use caseward_store::{Basis, Tx, relation};
use uuid::Uuid;

use crate::patient::PatientId;

/// Lets `subject` see `patient` for a time, here at once and elsewhere by event. `source` is the resource that says
/// so; it grants each basis once, and what it said before is replaced.
pub async fn grant(
    tx: &Tx,
    patient: PatientId,
    subject: &str,
    basis: Basis,
    source: Uuid,
    name: String,
    period: Period,
) -> Result<()> {
    let revision = tx.ctx.now().micros();
    let (wire, salt) = match basis {
        Basis::Team => (relation_changed::Basis::Team, 1),
        Basis::Registrar => (relation_changed::Basis::Registrar, 2),
        Basis::Patient => (relation_changed::Basis::Self_, 3),
        Basis::Caregiver => (relation_changed::Basis::Caregiver, 4),
        Basis::Emergency => (relation_changed::Basis::Emergency, 5),
    };
    let row = relation::Model {
        source: key(source, salt),
        organization: tx.ctx.organization(),
        subject: subject.to_owned(),
        patient: patient.uuid(),
        basis,
        starts_at: period.start.unwrap_or(tx.ctx.now()),
        ends_at: period.end,
        revision,
    };
    relation::put(tx, row).await?;
    let event = RelationChanged {
        subject: subject.to_owned(),
        patient: patient.to_string(),
        basis: wire.into(),
        period: Some(period.into()),
        revision,
        source: name,
    };
    tx.emit(format!("{patient}/relations/{}", key(source, salt)), revision, &event);
    Ok(())
}

/// One resource may grant several bases; its id with the number of the basis in place of the version's bits names
/// each, the same on every replica.
fn key(source: Uuid, salt: u128) -> Uuid {
    Uuid::from_u128(source.as_u128() & !(0xf << 76) | salt << 76)
}

/// Keeps what another service said about a relation.
pub async fn apply(event: Event, tx: Tx) -> Result<()> {
    let Some(said) = event.decode::<RelationChanged>()? else { return Ok(()) };
    // What this service said itself comes back to it.
    let Ok(relation_changed::Basis::Team) = relation_changed::Basis::try_from(said.basis) else {
        return Ok(());
    };
    let patient: PatientId = Name::parse("patient", &said.patient)?;
    let source = said.source.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok());
    let source = source.ok_or_else(|| Error::invalid("source", "wants a resource name"))?;
    let period = said.period.unwrap_or_default();
    let moment = |at| check::moment(&at).map_err(|why| Error::invalid("period", why));
    let row = relation::Model {
        source,
        organization: event.organization,
        subject: said.subject,
        patient: patient.uuid(),
        basis: Basis::Team,
        starts_at: moment(period.start)?.unwrap_or(event.occurred_at),
        ends_at: moment(period.end)?,
        revision: said.revision,
    };
    relation::put(&tx, row).await
}
