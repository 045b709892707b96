//! Patients and their identifiers.
use caseward_store::migrations::{flag, index, json, maybe, resource, small, text, time, uuid};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let patient = resource("patient", |t| {
            t.col(json("identifiers"))
                .col(json("names"))
                .col(small("gender"))
                .col(maybe(json("birth_date")));
            t.col(flag("deceased")).col(maybe(time("deceased_at")));
            t.col(json("telecoms")).col(json("addresses")).col(json("communications"));
            t.col(text("time_zone"))
                .col(maybe(text("subject")))
                .col(text("state"))
                .col(maybe(uuid("merged_into")));
        });
        manager.create_table(patient).await?;
        manager.create_index(index("patient", &["organization", "id"])).await?;
        manager.create_index(index("patient", &["organization", "subject"])).await?;

        let mut identifier = Table::create();
        identifier
            .table("patient_identifier")
            .col(uuid("organization"))
            .col(text("system"))
            .col(text("value"));
        identifier.col(uuid("patient"));
        identifier.primary_key(Index::create().col("organization").col("system").col("value"));
        manager.create_table(identifier).await?;
        manager.create_index(index("patient_identifier", &["organization", "patient"])).await
    }
}
