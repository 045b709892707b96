//! Relations of caregivers say when they last lost a part of the record. Of what happened before nothing is known, and
//! replies of before are forgotten after a day.
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

use super::{maybe, time};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let narrowed = maybe(time("narrowed_at"));
        manager.alter_table(Table::alter().table("relation").add_column(narrowed).to_owned()).await
    }
}
