//! The relations that other services grant, kept as they tell them: in events, or when asked.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis as Wire},
    types::v1 as types,
};
use caseward_core::{Error, Result, check, data::Period};
use caseward_events::Consumer;
use caseward_store::{Basis, Tx, relation};
use prost::Name;
use uuid::Uuid;

/// Keeps every relation that the services tell of, in the database of `service`. What the service granted itself
/// comes back to it at the revision it has and changes nothing.
pub fn consumer(name: &'static str, service: &'static str) -> Consumer {
    Consumer::new(name, service, [RelationChanged::full_name()], |event, tx| async move {
        match event.decode::<RelationChanged>()? {
            Some(said) => keep(&tx, said).await,
            None => Ok(()),
        }
    })
}

/// Keeps what a service said, unless something newer is known of the same relation.
pub async fn keep(tx: &Tx, said: RelationChanged) -> Result<()> {
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
    };
    relation::put(tx, row).await
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
    }
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
