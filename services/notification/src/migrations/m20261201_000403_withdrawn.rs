//! Why a message must not be sent any more whose cause ended while a channel had it in its hands.
use caseward_store::migrations::text;
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut withdrawn = text("withdrawn");
        withdrawn.default("");
        let alter = Table::alter().table("message").add_column(withdrawn).to_owned();
        manager.alter_table(alter).await
    }
}
