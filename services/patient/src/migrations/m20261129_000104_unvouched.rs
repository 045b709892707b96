//! An index of the identifiers that nobody vouches for.
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        caseward_store::migrations::unvouched(manager).await
    }
}
