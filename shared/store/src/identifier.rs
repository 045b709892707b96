//! Identifiers that other systems gave to resources of a service, one row each: no two resources of a kind share one,
//! and a load finds what an earlier one made.
use caseward_core::{Ctx, Error, Result, data::Identifier};
use sea_orm::{
    ActiveValue::Set,
    Condition, QuerySelect,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

use crate::{Scope, Tx};

/// One identifier of one resource.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identifier")]
pub struct Model {
    /// The tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// The kind of resource: one system may number several.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// Who gave it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub system: String,
    /// What they gave.
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: String,
    /// The resource.
    pub resource: Uuid,
}

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The resource of `kind` with one identifier, for use within a scoped query.
pub fn holder(ctx: &Ctx, kind: &str, system: &str, value: &str) -> SelectStatement {
    Query::select()
        .column(Column::Resource)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(kind))
        .and_where(Column::System.eq(system))
        .and_where(Column::Value.eq(value))
        .to_owned()
}

/// The resources of `kind` that have any of `identifiers`. Only ids leave; the caller's scope is for where they are used.
pub async fn find(scope: &Scope, kind: &str, identifiers: &[Identifier]) -> Result<Vec<Uuid>> {
    if identifiers.is_empty() {
        return Ok(vec![]);
    }
    let any = identifiers.iter().fold(Condition::any(), |any, Identifier { system, value }| {
        any.add(Condition::all().add(Column::System.eq(system)).add(Column::Value.eq(value)))
    });
    let mut found: Vec<Uuid> = Entity::find()
        .filter(Column::Organization.eq(scope.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(any)
        .select_only()
        .column(Column::Resource)
        .into_tuple()
        .all(&scope.db)
        .await?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Makes `identifiers` those of `resource`, beside those it has.
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
    match tx.insert::<Entity>(rows).await {
        Err(Error::AlreadyExists(_)) => {
            Err(Error::AlreadyExists(format!("a {kind} with one of these identifiers")))
        }
        done => done,
    }
}

/// Takes the identifiers of `resource` away and gives it `identifiers`.
pub async fn replace(
    tx: &Tx,
    kind: &str,
    resource: Uuid,
    identifiers: &[Identifier],
) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(Column::Resource.eq(resource))
        .exec(&tx.db)
        .await?;
    claim(tx, kind, resource, identifiers).await
}
