//! Who may see a patient because of what this service keeps: here at once, elsewhere by event.
use caseward_core::{Result, data::Period};
use caseward_server::relation::told;
use caseward_store::{Basis, Tx, relation};
use uuid::Uuid;

use crate::patient::PatientId;

/// What a resource says about who may see its patient. It says each basis of one subject at a time.
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
caseward_core::confidential!(Grant<'_>);

/// Lets a subject see a patient for a time.
pub async fn grant(tx: &Tx, grant: Grant<'_>) -> Result<()> {
    share(tx, grant, 0).await
}

/// The same, of the parts of the record in `topics` only, where the basis is that of a caregiver.
pub async fn share(tx: &Tx, grant: Grant<'_>, topics: i32) -> Result<()> {
    let Grant { patient, subject, basis, source, name, revision, period } = grant;
    let row = relation::Model {
        source: relation::key(source, basis),
        organization: tx.ctx.organization(),
        subject: subject.to_owned(),
        patient: patient.uuid(),
        basis,
        starts_at: period.start.unwrap_or(tx.ctx.now()),
        ends_at: period.end,
        revision,
        topics,
        narrowed_at: None,
    };
    let event = told(&row, patient.to_string(), name);
    tx.emit(format!("{patient}/relations/{}", row.source), revision, &event);
    relation::put(tx, row, tx.ctx.now()).await
}
