//! What each side says about whether an activity was delivered.
use caseward_store::migrations::{json, maybe};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let said = maybe(json("confirmations"));
        manager.alter_table(Table::alter().table("activity").add_column(said).to_owned()).await
    }
}
