//! What a message says, as one value: whoever was told much is not read through for the same.
use caseward_store::migrations::{bytes, index, maybe};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let gist = maybe(bytes("gist"));
        let alter = Table::alter().table("message").add_column(gist).to_owned();
        manager.alter_table(alter).await?;
        manager.create_index(index("message", &["organization", "recipient", "gist"])).await
    }
}
