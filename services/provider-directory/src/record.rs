//! What the six kinds of records share: made, read, changed and loaded in one way.
use std::{collections::HashMap, str::FromStr};

use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{Ctx, Id, Kind, Name, Page, Result, Time, Violations, check, data::Identifier};
use caseward_store::{Resource, Scope, Tx};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;

use crate::{
    identifier,
    likeness::Traits,
    reference::References,
    term::{self, Terms},
    verification::Verification,
};

/// A table of records. Its file says what a record holds; all else is here.
pub trait Record:
    Resource<Model: PartialEq + Send + 'static, ActiveModel: Send, Column: FromStr>
{
    /// The collection.
    type Kind: Kind;
    /// The record in the contract.
    type Wire: Clone + Send + Sync + 'static;
    /// The field of a request that holds the record; with an `s`, the one that holds many.
    const FIELD: &'static str;
    /// The fields that a caller may set, as the mask names them.
    const WRITABLE: &'static [&'static str];

    /// A row in which nothing is said yet.
    fn blank(id: Uuid, ctx: &Ctx) -> Self::Model;
    /// Takes one field from the wire: the one place where it is named, checked and mapped.
    fn take(row: &mut Self::Model, field: &str, from: &Self::Wire, taking: &mut Taking<'_>);
    /// Checks, and derives, what no single field can say.
    fn check(_row: &mut Self::Model, _bad: &mut Violations) {}
    /// The columns that hold `field`.
    fn columns(field: &str) -> Vec<Self::Column> {
        Self::Column::from_str(field).into_iter().collect()
    }
    /// What a person would tell it from another by.
    fn traits(row: &Self::Model, traits: &mut Traits);
    /// What the record is found by.
    fn terms(row: &Self::Model, terms: &mut Terms);
    /// The name and the etag that a caller sent.
    fn sent(from: &Self::Wire) -> (&str, &str);
    /// The identifiers that a caller sent, in their order.
    fn given(from: &Self::Wire) -> &[types::Identifier];
    /// The identifiers of a row.
    fn identifiers(row: &mut Self::Model) -> &mut Vec<Identifier>;
    /// When the row was last held against the world.
    fn verification(row: &mut Self::Model) -> &mut Verification;
}

/// What taking a field needs beside the field: where it stands, what it refers to, what is wrong.
#[derive(Debug)]
pub struct Taking<'a> {
    /// The path of the field.
    pub path: String,
    /// What records name.
    pub refs: &'a mut References,
    /// Everything wrong so far.
    pub bad: &'a mut Violations,
}

/// Takes `fields` into a row, checks the whole, and names the fields that changed.
pub fn take<E: Record>(
    row: &mut E::Model,
    fields: &[&str],
    from: &E::Wire,
    refs: &mut References,
    bad: &mut Violations,
) -> Vec<String> {
    let mut changed = vec![];
    for field in fields {
        if !E::WRITABLE.contains(field) {
            bad.add("update_mask", format!("`{field}` cannot be set"));
            continue;
        }
        if take_one::<E>(row, field, from, refs, bad) {
            changed.push((*field).to_owned());
        }
    }
    E::check(row, bad);
    changed
}

/// Takes one field into a row; whether that changed anything.
pub fn take_one<E: Record>(
    row: &mut E::Model,
    field: &str,
    from: &E::Wire,
    refs: &mut References,
    bad: &mut Violations,
) -> bool {
    let before = row.clone();
    let path = format!("{}.{field}", E::FIELD);
    E::take(row, field, from, &mut Taking { path, refs, bad });
    *row != before
}

pub async fn get<E: Record>(scope: &Scope, name: &str) -> Result<E::Model> {
    let id = Id::<E::Kind>::parse("name", name)?;
    let row = find::<E>(scope, id).await?;
    Ok(as_of::<E>(scope.ctx.now(), row))
}

pub async fn find<E: Record>(scope: &Scope, id: Id<E::Kind>) -> Result<E::Model> {
    caseward_store::get(scope, E::of(&scope.ctx).filter(E::ID.eq(id.uuid())), id).await
}

pub async fn list<E: Record>(
    scope: &Scope,
    select: Select<E>,
    page: &Page,
) -> Result<(Vec<E::Model>, String)> {
    let (rows, next) = caseward_store::page(scope, select, page).await?;
    let now = scope.ctx.now();
    Ok((rows.into_iter().map(|row| as_of::<E>(now, row)).collect(), next))
}

/// The row as it stands at `now`: a verification lapses without a write.
pub fn as_of<E: Record>(now: Time, mut row: E::Model) -> E::Model {
    E::verification(&mut row).lapse(now);
    row
}

pub async fn create<E: Record>(tx: Tx, from: E::Wire) -> Result<E::Model> {
    let id = Uuid::now_v7();
    let mut refs = References::default();
    // First to learn what it names, then with the answers.
    let mut row = E::blank(id, &tx.ctx);
    take::<E>(&mut row, E::WRITABLE, &from, &mut refs, &mut Violations::default());
    refs.resolve(&tx).await?;
    let (mut row, mut bad) = (E::blank(id, &tx.ctx), Violations::default());
    take::<E>(&mut row, E::WRITABLE, &from, &mut refs, &mut bad);
    bad.finish()?;
    let mut row = caseward_store::insert::<E>(&tx, row).await?;
    let identifiers = E::identifiers(&mut row).clone();
    identifier::claim::<E>(&tx, [(id, identifiers)], &HashMap::new()).await?;
    term::put(&tx, E::Kind::COLLECTION, [(id, terms::<E>(&row))]).await?;
    created::<E>(&tx, id);
    Ok(row)
}

pub async fn update<E: Record>(tx: Tx, from: E::Wire, mask: FieldMask) -> Result<E::Model> {
    let (name, etag) = E::sent(&from);
    let id = Id::<E::Kind>::parse(&format!("{}.name", E::FIELD), name)?;
    let mut before = find::<E>(&tx, id).await?;
    caseward_store::expect(id, *E::version(&mut before).0, etag)?;
    let fields = check::masked(&mask, E::WRITABLE)?;
    let mut refs = References::default();
    take::<E>(&mut before.clone(), &fields, &from, &mut refs, &mut Violations::default());
    refs.resolve(&tx).await?;
    let (mut row, mut bad) = (before.clone(), Violations::default());
    let changed = take::<E>(&mut row, &fields, &from, &mut refs, &mut bad);
    bad.finish()?;
    if changed.is_empty() {
        return Ok(as_of::<E>(tx.ctx.now(), before));
    }
    let mut row = caseward_store::update::<E>(&tx, row).await?;
    let (ours, theirs) = (E::identifiers(&mut row), E::identifiers(&mut before));
    if ours != theirs {
        identifier::replace::<E>(&tx, id.uuid(), theirs, ours).await?;
    }
    if terms::<E>(&row) != terms::<E>(&before) {
        term::remove(&tx, E::Kind::COLLECTION, &[id.uuid()]).await?;
        term::put(&tx, E::Kind::COLLECTION, [(id.uuid(), terms::<E>(&row))]).await?;
    }
    updated::<E>(&tx, id.uuid(), *E::version(&mut row).0, changed);
    Ok(as_of::<E>(tx.ctx.now(), row))
}

/// What a row is found by.
pub fn terms<E: Record>(row: &E::Model) -> Terms {
    let mut terms = Terms::default();
    E::terms(row, &mut terms);
    terms
}

/// Tells that a record was made.
pub fn created<E: Record>(tx: &Tx, id: Uuid) {
    let record = Id::<E::Kind>::from(id).to_string();
    tx.emit(&record, 1, &pb::RecordCreated { record: record.clone(), revision: 1 });
}

/// Tells which fields of a record changed.
pub fn updated<E: Record>(tx: &Tx, id: Uuid, revision: i64, changed_fields: Vec<String>) {
    let record = Id::<E::Kind>::from(id).to_string();
    let event = pb::RecordUpdated { record: record.clone(), revision, changed_fields };
    tx.emit(record, revision, &event);
}
