//! Relations of caregivers say which parts of the record they reach. One that was there before reaches none, until its
//! scope is granted again.
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

use super::small;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let topics = small("topics").default(0).to_owned();
        manager.alter_table(Table::alter().table("relation").add_column(topics).to_owned()).await
    }
}
