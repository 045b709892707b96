//! Identifiers, one row each, so that no two resources of a kind share one and a search finds the one.
use caseward_api::types::v1::{IngestOutcome, Violation, ingest_outcome::Action};
use caseward_core::{Ctx, Error, Result, data::Identifier};
use caseward_store::Tx;
use sea_orm::{
    ActiveValue::Set,
    Condition, QuerySelect,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

/// The kind of a patient.
pub const PATIENT: &str = "patient";

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identifier")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// The kind of resource: one system may number several.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub system: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: String,
    pub resource: Uuid,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The patients with one identifier, for use within a scoped query.
pub fn patients(ctx: &Ctx, system: &str, value: &str) -> SelectStatement {
    Query::select()
        .column(Column::Resource)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(PATIENT))
        .and_where(Column::System.eq(system))
        .and_where(Column::Value.eq(value))
        .to_owned()
}

/// The resources of `kind` that have any of `identifiers`.
pub async fn find(tx: &Tx, kind: &str, identifiers: &[Identifier]) -> Result<Vec<Uuid>> {
    if identifiers.is_empty() {
        return Ok(vec![]);
    }
    let any = identifiers.iter().fold(Condition::any(), |any, Identifier { system, value }| {
        any.add(Condition::all().add(Column::System.eq(system)).add(Column::Value.eq(value)))
    });
    #[expect(
        clippy::disallowed_methods,
        reason = "the caller is checked by the query that follows"
    )]
    let mut found: Vec<Uuid> = Entity::find()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(any)
        .select_only()
        .column(Column::Resource)
        .into_tuple()
        .all(&tx.db)
        .await?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Makes `identifiers` those of `resource`.
pub async fn claim(tx: &Tx, kind: &str, resource: Uuid, identifiers: &[Identifier]) -> Result<()> {
    if identifiers.is_empty() {
        return Ok(());
    }
    let rows = identifiers.iter().map(|Identifier { system, value }| ActiveModel {
        organization: Set(tx.ctx.organization()),
        kind: Set(kind.to_owned()),
        system: Set(system.clone()),
        value: Set(value.clone()),
        resource: Set(resource),
    });
    match Entity::insert_many(rows).exec_without_returning(&tx.db).await.map_err(Error::from) {
        Err(Error::AlreadyExists(_)) => {
            Err(Error::AlreadyExists(format!("a {kind} with one of these identifiers")))
        }
        done => done.map(|_| ()),
    }
}

/// Takes its identifiers from `resource`.
pub async fn release(tx: &Tx, kind: &str, resource: Uuid) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(Column::Resource.eq(resource))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Every identifier of either, once.
pub fn union(one: &[Identifier], other: &[Identifier]) -> Vec<Identifier> {
    let mut all = [one, other].concat();
    all.sort();
    all.dedup();
    all
}

/// The outcome of a resource that was refused.
pub fn refused(violations: Vec<caseward_core::Violation>) -> IngestOutcome {
    let violations = violations
        .into_iter()
        .map(|violation| Violation { field: violation.field, description: violation.why })
        .collect();
    IngestOutcome { action: Action::Failed.into(), name: String::new(), violations }
}
