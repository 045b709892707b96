//! Who may see a patient because of what this service keeps, here at once and elsewhere by event.
use caseward_core::{Result, data::Period};
use caseward_server::relation::told;
use caseward_store::{Basis, Tx, relation};
use uuid::Uuid;

use crate::patient::PatientId;

/// Lets `subject` see `patient` for a time. `source`, with its `name`, is the resource that says so; it grants each
/// basis once, and what it said before is replaced.
pub async fn grant(
    tx: &Tx,
    patient: PatientId,
    subject: &str,
    basis: Basis,
    source: Uuid,
    name: String,
    period: Period,
) -> Result<()> {
    let key = relation::key(source, basis);
    let row = relation::Model {
        source: key,
        organization: tx.ctx.organization(),
        subject: subject.to_owned(),
        patient: patient.uuid(),
        basis,
        starts_at: period.start.unwrap_or(tx.ctx.now()),
        ends_at: period.end,
        revision: relation::revision(tx, key).await? + 1,
    };
    let (revision, event) = (row.revision, told(&row, patient.to_string(), name));
    relation::put(tx, row).await?;
    tx.emit(format!("{patient}/relations/{key}"), revision, &event);
    Ok(())
}
