//! Templates, messages and inboxes.
use caseward_store::migrations::{
    flag, index, json, maybe, number, resource, small, text, time, unique, uuid,
};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let template = resource("template", |t| {
            t.col(text("key")).col(small("version")).col(text("display_name"));
            t.col(json("variables")).col(json("variants")).col(text("state"));
            t.col(text("approver")).col(maybe(time("approved_at")));
        });
        manager.create_table(template).await?;
        manager.create_index(unique("template", &["organization", "key", "version"])).await?;

        let message = resource("message", |t| {
            t.col(text("recipient")).col(maybe(uuid("patient"))).col(maybe(uuid("case_id")));
            t.col(text("purpose")).col(uuid("template")).col(text("template_key"));
            t.col(text("language")).col(json("channels")).col(small("phi_class"));
            t.col(text("state")).col(small("suppression")).col(json("attempts"));
            t.col(text("cause")).col(maybe(text("event_key"))).col(json("variables"));
            t.col(time("due_at")).col(time("expires_at"));
            t.col(maybe(small("channel"))).col(maybe(time("sent_at")));
            t.col(text("subject")).col(text("body"));
            t.col(maybe(time("claimed_at"))).col(flag("interrupted")).col(text("trace"));
        });
        manager.create_table(message).await?;
        manager.create_index(index("message", &["organization", "patient", "id"])).await?;
        manager.create_index(index("message", &["organization", "recipient", "sent_at"])).await?;
        manager.create_index(index("message", &["organization", "case_id", "id"])).await?;
        manager.create_index(unique("message", &["organization", "event_key"])).await?;

        let item = resource("inbox_item", |t| {
            t.col(text("owner")).col(number("sequence")).col(uuid("message"));
            t.col(maybe(uuid("patient"))).col(maybe(uuid("case_id"))).col(text("purpose"));
            t.col(text("subject")).col(text("body")).col(maybe(time("read_at")));
        });
        manager.create_table(item).await?;
        manager.create_index(unique("inbox_item", &["organization", "owner", "sequence"])).await?;

        let mut counter = Table::create();
        counter.table("inbox_counter").col(uuid("organization")).col(text("owner"));
        counter.col(number("last"));
        counter.primary_key(Index::create().col("organization").col("owner"));
        manager.create_table(counter).await
    }
}
