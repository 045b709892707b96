//! What the resources below a patient do alike: found in their patient, loaded by their identifiers.
use caseward_api::types::v1::{IngestOutcome, ingest_outcome::Action};
use caseward_core::{
    Error, Id, Kind, Name, Page, Result, check,
    data::{self, Identifier},
};
use caseward_store::{Resource, Scope, Tx, identifier};
use sea_orm::entity::prelude::*;

use crate::patient::{self, PatientId};

/// A resource below a patient.
pub trait Child: Resource {
    /// The resource's kind.
    type Kind: Kind;
    /// The wire form.
    type Wire: Clone;
    /// The kind among identifiers.
    const IDENTIFIED: &'static str;
    /// The field of a load that holds the resources.
    const LOADED: &'static str;
    /// The column of the patient.
    const PATIENT: Self::Column;

    /// A new row of `patient` with every field of `from` checked.
    fn draft(tx: &Tx, patient: PatientId, from: &Self::Wire) -> Result<Self::Model>;
    /// The identifiers of a row.
    fn identifiers(row: &Self::Model) -> &[Identifier];
    /// `before` with what `draft` says.
    fn merged(before: &Self::Model, draft: Self::Model) -> Self::Model;
    /// What a load says besides, of a row that may be known already.
    fn loaded(
        _before: Option<&Self::Model>,
        _draft: &mut Self::Model,
        _from: &Self::Wire,
    ) -> Result<()> {
        Ok(())
    }
    /// What is to be kept in step with a row that was loaded.
    fn settle(_tx: &Tx, _row: &Self::Model) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Refuses a row that names what is not there.
    fn verify(_tx: &Tx, _row: &Self::Model) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Tells others that a row was made or changed.
    fn tell(tx: &Tx, row: &Self::Model, changed_fields: Vec<String>);
}

pub async fn get<E: Child>(
    scope: &Scope,
    (patient, id): (PatientId, Id<E::Kind>),
) -> Result<E::Model> {
    let select = E::of(&scope.ctx).filter(E::PATIENT.eq(patient)).filter(E::ID.eq(id));
    caseward_store::get(scope, select, format!("{patient}/{id}")).await
}

pub async fn list<E: Child>(
    scope: &Scope,
    patient: PatientId,
    page: &Page,
) -> Result<(Vec<E::Model>, String)> {
    patient::get(scope, patient).await?;
    caseward_store::page(scope, E::of(&scope.ctx).filter(E::PATIENT.eq(patient)), page).await
}

pub async fn create<E: Child>(tx: Tx, patient: PatientId, from: E::Wire) -> Result<E::Model> {
    let patient = patient::get(&tx, patient).await?;
    let row = E::draft(&tx, patient.id, &from)?;
    identifier::free::<E>(&tx, E::IDENTIFIED, E::id(&row), E::identifiers(&row)).await?;
    insert::<E>(&tx, row).await
}

async fn insert<E: Child>(tx: &Tx, row: E::Model) -> Result<E::Model> {
    E::verify(tx, &row).await?;
    let row = caseward_store::insert::<E>(tx, row).await?;
    identifier::claim(tx, E::IDENTIFIED, E::id(&row), E::identifiers(&row)).await?;
    E::tell(tx, &row, vec![]);
    Ok(row)
}

/// Writes what a caller changes.
pub async fn update<E: Child>(
    tx: &Tx,
    before: E::Model,
    row: E::Model,
    fields: Vec<String>,
) -> Result<E::Model>
where
    E::Model: PartialEq,
{
    if E::identifiers(&row) != E::identifiers(&before) {
        identifier::free::<E>(tx, E::IDENTIFIED, E::id(&row), E::identifiers(&row)).await?;
    }
    store::<E>(tx, before, row, fields).await
}

/// Writes what differs, if anything does.
async fn store<E: Child>(
    tx: &Tx,
    before: E::Model,
    row: E::Model,
    fields: Vec<String>,
) -> Result<E::Model>
where
    E::Model: PartialEq,
{
    if row == before {
        return Ok(before);
    }
    E::verify(tx, &row).await?;
    let row = caseward_store::update::<E>(tx, row).await?;
    if E::identifiers(&row) != E::identifiers(&before) {
        identifier::replace(tx, E::IDENTIFIED, E::id(&row), E::identifiers(&row)).await?;
    }
    E::tell(tx, &row, fields);
    Ok(row)
}

/// Makes each resource, or brings it up to date. One that is bad costs that one only.
pub async fn ingest<E: Child>(
    tx: Tx,
    members: Vec<(String, Option<E::Wire>)>,
) -> Result<Vec<IngestOutcome>>
where
    E::Model: PartialEq,
{
    check::within(members.len(), 1..=200).map_err(|why| Error::invalid(E::LOADED, why))?;
    let mut outcomes = Vec::with_capacity(members.len());
    for (patient, from) in members {
        outcomes.push(match ingest_one::<E>(&tx, &patient, from).await {
            Ok((action, name)) => data::taken(action, name),
            Err(Error::Invalid(violations)) => data::refused(violations),
            Err(Error::NotFound(_)) => {
                let why = "is not a patient that is known".to_owned();
                data::refused(vec![caseward_core::Violation { field: "patient".to_owned(), why }])
            }
            Err(other) => return Err(other),
        });
    }
    Ok(outcomes)
}

async fn ingest_one<E: Child>(
    tx: &Tx,
    patient: &str,
    from: Option<E::Wire>,
) -> Result<(Action, String)>
where
    E::Model: PartialEq,
{
    let patient = patient_named(tx, patient).await?;
    let from = from.ok_or_else(|| Error::invalid(E::IDENTIFIED, "is required"))?;
    let mut draft = E::draft(tx, patient, &from)?;
    let field = || format!("{}.identifiers", E::IDENTIFIED);
    if E::identifiers(&draft).is_empty() {
        return Err(Error::invalid(field(), "a loaded resource needs at least one"));
    }
    let owners = identifier::find(tx, E::IDENTIFIED, E::identifiers(&draft)).await?;
    let known = E::of(&tx.ctx).filter(E::PATIENT.eq(patient)).filter(E::ID.is_in(owners.clone()));
    let mut known = caseward_store::list(tx, known).await?;
    match (known.pop(), owners.len()) {
        (None, 1..)
            if identifier::are_vouched(tx, E::IDENTIFIED, E::identifiers(&draft)).await? =>
        {
            Err(Error::invalid(field(), "belong to somebody else's record"))
        }
        (None, _) => {
            E::loaded(None, &mut draft, &from)?;
            let row = insert::<E>(tx, draft).await?;
            E::settle(tx, &row).await?;
            Ok((Action::Created, E::name(&row)))
        }
        (Some(before), 1) => {
            E::loaded(Some(&before), &mut draft, &from)?;
            let row = E::merged(&before, draft);
            if row == before {
                return Ok((Action::Unchanged, E::name(&before)));
            }
            let row = store::<E>(tx, before, row, vec![]).await?;
            E::settle(tx, &row).await?;
            Ok((Action::Updated, E::name(&row)))
        }
        _ => Err(Error::invalid(field(), "belong to more than one record")),
    }
}

/// A patient by name, or as `patients?identifier={system}|{value}`.
async fn patient_named(tx: &Tx, name: &str) -> Result<PatientId> {
    let Some(identifier) = name.strip_prefix("patients?identifier=") else {
        let id = Name::parse("patient", name)?;
        return Ok(patient::get(tx, id).await?.id);
    };
    let named = check::identifier("patient", identifier)?;
    let named = named
        .ok_or_else(|| Error::invalid("patient", "wants `patients?identifier={system}|{value}`"))?;
    match identifier::find(tx, patient::IDENTIFIED, &[named]).await?[..] {
        [id] => Ok(patient::get(tx, id.into()).await?.id),
        _ => Err(Error::invalid("patient", "is not a patient that is known")),
    }
}
