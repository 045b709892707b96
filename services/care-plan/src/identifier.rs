//! Identifiers that other systems gave to resources of this service, so that a second load finds what the first made.
use caseward_core::{Ctx, Error, Result, data::Identifier};
use caseward_store::{Scope, Tx};
use sea_orm::{
    ActiveValue::Set,
    Condition, QuerySelect,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

/// The kind of a case.
pub const CASE: &str = "case";

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

/// The cases with one identifier, for use within a scoped query.
pub fn cases(ctx: &Ctx, system: &str, value: &str) -> SelectStatement {
    Query::select()
        .column(Column::Resource)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(CASE))
        .and_where(Column::System.eq(system))
        .and_where(Column::Value.eq(value))
        .to_owned()
}

/// The resources of `kind` that have any of `identifiers`.
pub async fn find(scope: &Scope, kind: &str, identifiers: &[Identifier]) -> Result<Vec<Uuid>> {
    if identifiers.is_empty() {
        return Ok(vec![]);
    }
    let any = identifiers.iter().fold(Condition::any(), |any, Identifier { system, value }| {
        any.add(Condition::all().add(Column::System.eq(system)).add(Column::Value.eq(value)))
    });
    #[expect(
        clippy::disallowed_methods,
        reason = "only ids leave; the caller is checked where they are used"
    )]
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
