//! A table of what consumers and timers did, in the order in which they did it.
use async_trait::async_trait;
use caseward_core::{Result, Time};
use caseward_store::{Db, Store, Tx, migrations};
use sea_orm::{ActiveValue::Set, QueryOrder, entity::prelude::*};
use sea_orm_migration::prelude::{
    DeriveMigrationName, MigrationTrait, MigratorTrait, SchemaManager,
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "effect")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub what: String,
    pub revision: i64,
    pub at: Time,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The tables of the store, and this one.
#[derive(Debug)]
pub struct Migrator;

#[derive(DeriveMigrationName)]
struct Migration;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = migrations::all();
        all.push(Box::new(Migration));
        all
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = sea_orm_migration::prelude::Table::create();
        table
            .table(sea_orm_migration::prelude::Alias::new("effect"))
            .col(migrations::key("id"))
            .col(migrations::text("what"))
            .col(migrations::number("revision"))
            .col(migrations::time("at"));
        manager.create_table(table).await
    }
}

/// Notes an effect. Nothing stops a second one: that is what the tests look for.
pub async fn note(tx: &Tx, what: &str, revision: i64) -> Result<()> {
    let row = ActiveModel {
        id: Set(Uuid::now_v7()),
        what: Set(what.to_owned()),
        revision: Set(revision),
        at: Set(tx.ctx.now()),
    };
    Entity::insert(row).exec_without_returning(&tx.db).await?;
    Ok(())
}

/// All effects, in order.
pub async fn all(store: &Store, ctx: &caseward_core::Ctx) -> Vec<Model> {
    let db: Db = store.read(ctx).db;
    #[expect(clippy::disallowed_methods, reason = "the table of a test belongs to no caller")]
    Entity::find().order_by_asc(Column::Id).all(&db).await.unwrap()
}
