//! Identifiers that other systems gave to resources of a service, one row each, so that a load finds what an earlier one
//! made.
//!
//! Whoever sees every patient vouches for an identifier: of those, no two resources of a kind share one. What a caller
//! says who sees some patients is held only against what that caller sees, so that one taken by somebody out of sight is
//! answered like one that is free, by the same statements. It stands beside the other, and whoever sees both finds both.
use std::collections::HashMap;

use caseward_core::{Ctx, Error, Reach, Result, data::Identifier};
use sea_orm::{
    ActiveValue::Set,
    Condition,
    entity::prelude::*,
    sea_query::{ExprTrait, OnConflict},
};

use crate::{Db, Resource, Scope, Tx, batch};

/// One identifier of one resource.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
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
    #[sea_orm(primary_key, auto_increment = false)]
    pub resource: Uuid,
    /// Whether whoever said so sees all others; unique among those that are.
    pub vouched: bool,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The query of who has any of `identifiers`.
pub fn holders(ctx: &Ctx, kind: &str, identifiers: &[Identifier]) -> Select<Entity> {
    Entity::find()
        .filter(Column::Organization.eq(ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(any(identifiers))
}

/// Restricts a scoped query to the resources of `kind` with any of `identifiers`.
///
/// Their ids are asked for first. As a part of the query they would have PostgreSQL, who takes the first row of a page
/// or of a check to come soon, read the caller's resources one after the other until one of them has it.
pub async fn held<E: Resource>(
    scope: &Scope,
    select: Select<E>,
    kind: &str,
    identifiers: &[Identifier],
) -> Result<Select<E>> {
    let rows = holders(&scope.ctx, kind, identifiers).all(&scope.db).await?;
    let mut ids: Vec<Uuid> = rows.into_iter().map(|row| row.resource).collect();
    if ids.is_empty() {
        // Nobody's, so that what is out of sight takes the same way as what is not there.
        ids.push(Uuid::nil());
    }
    Ok(select.filter(E::ID.is_in(ids)))
}

/// The pairs are what is meant; what is near them says where to look.
fn any(identifiers: &[Identifier]) -> Condition {
    let pairs = identifiers.iter().fold(Condition::any(), |any, Identifier { system, value }| {
        any.add(Condition::all().add(Column::System.eq(system)).add(Column::Value.eq(value)))
    });
    near(identifiers).add(pairs)
}

/// Of any of their systems, with any of their values: for that there is an index. SQLite reads every identifier of a kind
/// before it tries pairs one by one.
fn near<'a>(identifiers: impl IntoIterator<Item = &'a Identifier>) -> Condition {
    let (mut systems, values): (Vec<_>, Vec<_>) =
        identifiers.into_iter().map(|each| (&*each.system, &*each.value)).unzip();
    systems.sort_unstable();
    systems.dedup();
    Condition::all().add(Column::System.is_in(systems)).add(Column::Value.is_in(values))
}

/// The resources of `kind` that have any of `identifiers`: of each those that are vouched for, or else all. Only ids
/// leave; the caller's scope is for where they are used.
pub async fn find(scope: &Scope, kind: &str, identifiers: &[Identifier]) -> Result<Vec<Uuid>> {
    if identifiers.is_empty() {
        return Ok(vec![]);
    }
    let rows = holders(&scope.ctx, kind, identifiers).all(&scope.db).await?;
    let better = |row: &Model| {
        rows.iter().any(|other| {
            other.vouched && (&other.system, &other.value) == (&row.system, &row.value)
        })
    };
    let mut found: Vec<Uuid> =
        rows.iter().filter(|row| row.vouched || !better(row)).map(|row| row.resource).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whether somebody vouches for one of `identifiers` as that of a resource of `kind`.
pub async fn are_vouched(scope: &Scope, kind: &str, identifiers: &[Identifier]) -> Result<bool> {
    let vouched = holders(&scope.ctx, kind, identifiers).filter(Column::Vouched.eq(true));
    Ok(vouched.one(&scope.db).await?.is_some())
}

/// Identifiers of which nothing but one resource may have any, as somebody says who sees everything.
pub(crate) struct Wanted {
    organization: Uuid,
    kind: String,
    resource: Uuid,
    identifiers: Vec<Identifier>,
}
caseward_core::confidential!(Wanted);

/// Whether nothing else has any of what is `wanted` without anybody vouching for it. That nothing else is vouched for is
/// the unique index's to say, when the identifiers are claimed; of the others there are few, so they have an index, too.
pub(crate) async fn are_free(
    db: &impl ConnectionTrait,
    wanted: impl IntoIterator<Item = Wanted>,
) -> Result<bool, DbErr> {
    let mut kinds: HashMap<(Uuid, String), HashMap<Identifier, Uuid>> = HashMap::new();
    for Wanted { organization, kind, resource, identifiers } in wanted {
        let owners = kinds.entry((organization, kind)).or_default();
        owners.extend(identifiers.into_iter().map(|each| (each, resource)));
    }
    for ((organization, kind), owners) in kinds {
        let all: Vec<&Identifier> = owners.keys().collect();
        for piece in batch::pieces(&all) {
            let rows = Entity::find()
                .filter(Column::Organization.eq(organization))
                .filter(Column::Kind.eq(&*kind))
                .filter(near(piece.iter().copied()))
                .filter(Column::Vouched.into_expr().not())
                .all(db)
                .await?;
            // The values of one system are asked for in the others too; nobody wants what that finds beside.
            let taken = |Model { system, value, resource, .. }: Model| {
                owners.get(&Identifier { system, value }).is_some_and(|owner| *owner != resource)
            };
            if rows.into_iter().any(taken) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Refuses `identifiers` of which the caller sees that something other than `resource` has one; they are claimed next.
/// Where the caller sees everything, those of a whole group are looked at together.
pub async fn free<E: Resource>(
    tx: &Tx,
    kind: &str,
    resource: Uuid,
    identifiers: &[Identifier],
) -> Result<()> {
    if identifiers.is_empty() {
        return Ok(());
    }
    let free = match &tx.db {
        Db::Tx(txn) if tx.ctx.caller.reach == Reach::Organization => {
            let organization = tx.ctx.organization();
            let (kind, identifiers) = (kind.to_owned(), identifiers.to_vec());
            txn.want(Wanted { organization, kind, resource, identifiers }).await?
        }
        _ => {
            let others = E::of(&tx.ctx).filter(E::ID.ne(resource));
            held(tx, others, kind, identifiers).await?.one(&tx.db).await?.is_none()
        }
    };
    if free { Ok(()) } else { Err(taken(kind)) }
}

/// Makes `identifiers` those of `resource`, beside those it has.
pub async fn claim(tx: &Tx, kind: &str, resource: Uuid, identifiers: &[Identifier]) -> Result<()> {
    if identifiers.is_empty() {
        return Ok(());
    }
    let vouched = tx.ctx.caller.reach == Reach::Organization;
    let rows = identifiers.iter().map(|Identifier { system, value }| ActiveModel {
        organization: Set(tx.ctx.organization()),
        kind: Set(kind.to_owned()),
        system: Set(system.clone()),
        value: Set(value.clone()),
        resource: Set(resource),
        vouched: Set(vouched),
    });
    if !vouched {
        // One that is vouched for already stays as it is.
        let kept = OnConflict::new().do_nothing().to_owned();
        let insert = Entity::insert_many(rows).on_conflict(kept);
        return match insert.exec_without_returning(&tx.db).await {
            Ok(_) | Err(DbErr::RecordNotInserted) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    match tx.insert::<Entity>(rows).await {
        Err(Error::AlreadyExists(_)) => Err(taken(kind)),
        done => done,
    }
}

/// Vouches for those of `identifiers` that `resource` has and nobody vouched for.
pub async fn vouch(tx: &Tx, kind: &str, resource: Uuid, identifiers: &[Identifier]) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Vouched, Expr::value(true))
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(kind))
        .filter(Column::Resource.eq(resource))
        .filter(any(identifiers))
        .filter(Column::Vouched.into_expr().not())
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Takes the identifiers of `resource` away and gives it `identifiers`. One that was vouched for stays so.
pub async fn replace(
    tx: &Tx,
    kind: &str,
    resource: Uuid,
    identifiers: &[Identifier],
) -> Result<()> {
    let mut gone = Condition::all()
        .add(Column::Organization.eq(tx.ctx.organization()))
        .add(Column::Kind.eq(kind))
        .add(Column::Resource.eq(resource));
    if tx.ctx.caller.reach == Reach::Related && !identifiers.is_empty() {
        gone = gone.add(any(identifiers).not());
    }
    Entity::delete_many().filter(gone).exec(&tx.db).await?;
    claim(tx, kind, resource, identifiers).await
}

fn taken(kind: &str) -> Error {
    Error::AlreadyExists(format!("a {kind} with one of these identifiers"))
}
