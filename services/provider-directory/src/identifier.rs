//! Identifiers of records, one row each, so that no two of a kind share one and a load finds what it knows.
use std::collections::HashMap;

use caseward_core::{Ctx, Error, Kind, Result, data::Identifier};
use caseward_store::{Scope, Tx};
use sea_orm::{
    ActiveValue::Set,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

use crate::record::Record;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identifier")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// The collection of the record.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub system: String,
    pub record: Uuid,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// How many values one statement asks for.
const CHUNK: usize = 500;

/// The record of `kind` with one identifier, for use within a scoped query.
pub fn record(ctx: &Ctx, kind: &str, system: &str, value: &str) -> SelectStatement {
    Query::select()
        .column(Column::Record)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(kind))
        .and_where(Column::System.eq(system))
        .and_where(Column::Value.eq(value))
        .to_owned()
}

/// Which records of `kind` have which of `identifiers`.
pub async fn find(
    scope: &Scope,
    kind: &str,
    identifiers: &[Identifier],
) -> Result<HashMap<Identifier, Uuid>> {
    let mut found = HashMap::new();
    for chunk in identifiers.chunks(CHUNK) {
        let mut systems: Vec<&str> = chunk.iter().map(|each| each.system.as_str()).collect();
        systems.sort_unstable();
        systems.dedup();
        #[expect(clippy::disallowed_methods, reason = "filtered by the caller's organization here")]
        let rows = Entity::find()
            .filter(Column::Organization.eq(scope.ctx.organization()))
            .filter(Column::Kind.eq(kind))
            .filter(Column::Value.is_in(chunk.iter().map(|each| each.value.as_str())))
            .filter(Column::System.is_in(systems))
            .all(&scope.db)
            .await?;
        // The values of one system are asked for in the others too; nobody looks up what that finds beside.
        found.extend(
            rows.into_iter()
                .map(|Model { system, value, record, .. }| (Identifier { system, value }, record)),
        );
    }
    Ok(found)
}

/// Gives each record its identifiers.
pub async fn claim<E: Record>(
    tx: &Tx,
    records: impl IntoIterator<Item = (Uuid, Vec<Identifier>)>,
) -> Result<()> {
    let rows: Vec<ActiveModel> = records
        .into_iter()
        .flat_map(|(record, all)| all.into_iter().map(move |each| (record, each)))
        .map(|(record, Identifier { system, value })| ActiveModel {
            organization: Set(tx.ctx.organization()),
            kind: Set(E::Kind::COLLECTION.to_owned()),
            value: Set(value),
            system: Set(system),
            record: Set(record),
        })
        .collect();
    for chunk in rows.chunks(CHUNK) {
        let inserted = Entity::insert_many(chunk.to_vec()).exec_without_returning(&tx.db).await;
        match inserted.map_err(Error::from) {
            Err(Error::AlreadyExists(_)) => {
                let what =
                    format!("a record of `{}` with one of these identifiers", E::Kind::COLLECTION);
                return Err(Error::AlreadyExists(what));
            }
            done => done?,
        };
    }
    Ok(())
}

/// Takes its identifiers from a record.
pub async fn release(tx: &Tx, kind: &str, record: Uuid) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(Column::Record.eq(record))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Adds to `all` what `others` has beyond it.
pub fn join(all: &mut Vec<Identifier>, others: &[Identifier]) {
    all.extend(others.iter().cloned());
    all.sort();
    all.dedup();
}
