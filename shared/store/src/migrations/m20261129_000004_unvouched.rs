//! Finds the identifiers that nobody vouches for, which are few, without reading those of all resources.
use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbErr},
};

/// For the services that have such identifiers, after [`super::vouch`].
#[derive(Debug, DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX ix_identifier_unvouched ON identifier \
                     (organization, kind, system, value) WHERE NOT vouched";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
