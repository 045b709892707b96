//! Patients, those close to them, what covers them, what they agreed to and prefer.
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
            .table("identifier")
            .col(uuid("organization"))
            .col(text("kind"))
            .col(text("system"));
        identifier.col(text("value")).col(uuid("resource"));
        identifier.primary_key(
            Index::create().col("organization").col("kind").col("system").col("value"),
        );
        manager.create_table(identifier).await?;
        manager.create_index(index("identifier", &["organization", "kind", "resource"])).await?;

        let related = resource("related_person", |t| {
            t.col(uuid("patient"))
                .col(json("identifiers"))
                .col(json("names"))
                .col(json("relationships"));
            t.col(small("gender"))
                .col(maybe(json("birth_date")))
                .col(json("telecoms"))
                .col(json("addresses"));
            t.col(json("communications"))
                .col(text("time_zone"))
                .col(maybe(text("subject")))
                .col(json("period"));
            t.col(maybe(json("scope")));
        });
        manager.create_table(related).await?;
        manager.create_index(index("related_person", &["organization", "patient", "id"])).await?;

        let coverage = resource("coverage", |t| {
            t.col(uuid("patient"))
                .col(json("identifiers"))
                .col(small("status"))
                .col(maybe(json("kind")));
            t.col(text("payer"))
                .col(text("payer_display"))
                .col(text("plan"))
                .col(text("plan_display"));
            t.col(text("member_id")).col(text("group_number")).col(maybe(json("relationship")));
            t.col(json("period")).col(maybe(json("redetermination_due"))).col(small("rank"));
        });
        manager.create_table(coverage).await?;
        manager.create_index(index("coverage", &["organization", "patient", "id"])).await?;

        let consent = resource("consent", |t| {
            t.col(uuid("patient"))
                .col(json("identifiers"))
                .col(small("kind"))
                .col(small("decision"));
            t.col(text("grantor"))
                .col(json("recipients"))
                .col(json("purposes"))
                .col(json("data_classes"));
            t.col(json("channels")).col(json("period")).col(text("evidence")).col(text("author"));
            t.col(text("state")).col(text("state_reason")).col(maybe(time("activated_at")));
            t.col(maybe(time("revoked_at")));
        });
        manager.create_table(consent).await?;
        manager.create_index(index("consent", &["organization", "patient", "id"])).await?;

        // One per patient, whose id it has.
        let preference = resource("preference", |t| {
            t.col(uuid("patient"))
                .col(text("language"))
                .col(json("opted_out"))
                .col(text("quiet_start"));
            t.col(text("quiet_end")).col(text("time_zone")).col(text("what_matters"));
        });
        manager.create_table(preference).await
    }
}
