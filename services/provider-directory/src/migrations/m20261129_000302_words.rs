//! What each source said last, beside the identifier that it counts by.
use caseward_store::migrations::{json, maybe};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut identifier = Table::alter();
        identifier.table("identifier").add_column(maybe(json("words")));
        manager.alter_table(identifier).await
    }
}
