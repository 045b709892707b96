//! What a message is about: what turns out never to have been, or is given up, takes its messages with it.
use caseward_store::migrations::{index, text};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut about = text("about");
        about.default("");
        let alter = Table::alter().table("message").add_column(about).to_owned();
        manager.alter_table(alter).await?;
        manager.create_index(index("message", &["organization", "about"])).await
    }
}
