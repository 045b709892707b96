//! Questionnaires and assessments.
use caseward_store::migrations::{index, json, maybe, resource, small, text, time, unique, uuid};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let questionnaire = resource("questionnaire", |t| {
            t.col(text("url")).col(text("version")).col(text("title")).col(text("language"));
            t.col(text("json")).col(text("content_hash"));
            t.col(json("scoring_rules")).col(json("critical_items"));
            t.col(text("state")).col(json("identifiers"));
        });
        manager.create_table(questionnaire).await?;
        let version = unique("questionnaire", &["organization", "url", "version"]);
        manager.create_index(version).await?;
        manager.create_index(index("questionnaire", &["organization", "id"])).await?;

        let assessment = resource("assessment", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(maybe(uuid("form_id")));
            t.col(text("instrument")).col(text("json")).col(maybe(json("lace")));
            t.col(small("mode")).col(text("assessor")).col(maybe(time("due_at")));
            t.col(maybe(time("started_at"))).col(maybe(time("completed_at"))).col(text("state"));
            t.col(json("scores")).col(json("findings")).col(text("state_reason"));
            t.col(small("content_revision")).col(json("identifiers"));
        });
        manager.create_table(assessment).await?;
        manager.create_index(index("assessment", &["organization", "case_id", "id"])).await
    }
}
