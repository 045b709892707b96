//! Who may see a patient because of what this service keeps, and because of what others told it.
use caseward_api::access::v1::{RelationChanged, relation_changed};
use caseward_core::{Error, Name, Result, check, data::Period};
use caseward_events::Event;
use caseward_store::{Basis, Tx, relation};
use uuid::Uuid;

use crate::patient::PatientId;

/// What a resource says about who may see its patient. It says each basis of one subject at a time.
#[derive(Debug)]
pub struct Grant<'a> {
    pub patient: PatientId,
    pub subject: &'a str,
    pub basis: Basis,
    /// The id of the resource.
    pub source: Uuid,
    /// The name of the resource.
    pub name: String,
    /// The revision of the resource: what it said at an earlier one is replaced.
    pub revision: i64,
    pub period: Period,
}

/// Lets a subject see a patient for a time, here at once and elsewhere by event.
pub async fn grant(tx: &Tx, grant: Grant<'_>) -> Result<()> {
    let Grant { patient, subject, basis, source, name, revision, period } = grant;
    let (wire, salt) = match basis {
        Basis::Team => (relation_changed::Basis::Team, 1),
        Basis::Registrar => (relation_changed::Basis::Registrar, 2),
        Basis::Patient => (relation_changed::Basis::Self_, 3),
        Basis::Caregiver => (relation_changed::Basis::Caregiver, 4),
        Basis::Emergency => (relation_changed::Basis::Emergency, 5),
    };
    let source = key(source, salt);
    let row = relation::Model {
        source,
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
    tx.emit(format!("{patient}/relations/{source}"), revision, &event);
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
    let basis = match relation_changed::Basis::try_from(said.basis) {
        Ok(relation_changed::Basis::Team) => Basis::Team,
        Ok(relation_changed::Basis::Emergency) => Basis::Emergency,
        // What this service said itself comes back to it.
        _ => return Ok(()),
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
        basis,
        starts_at: moment(period.start)?.unwrap_or(event.occurred_at),
        ends_at: moment(period.end)?,
        revision: said.revision,
    };
    relation::put(&tx, row).await
}
