//! Tasks, notes, evaluations.
use caseward_store::migrations::{index, json, maybe, resource, small, text, time, uuid};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let task = resource("task", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(text("title")).col(text("description"));
            t.col(text("focus")).col(text("cause")).col(text("owner")).col(text("candidate_role"));
            t.col(small("priority"))
                .col(maybe(time("due_at")))
                .col(maybe(time("stopped_at")))
                .col(text("state"))
                .col(text("state_reason"));
            t.col(text("output")).col(maybe(time("started_at"))).col(maybe(time("ended_at")));
        });
        manager.create_table(task).await?;
        manager.create_index(index("task", &["organization", "case_id", "id"])).await?;
        // The worklist of one person, and the pool, are asked for by owner and state.
        manager.create_index(index("task", &["organization", "owner", "state", "due_at"])).await?;

        let note = resource("note", |t| {
            t.col(uuid("patient"))
                .col(uuid("case_id"))
                .col(small("class"))
                .col(text("title"))
                .col(text("text"));
            t.col(time("effective_at"))
                .col(small("mode"))
                .col(small("contact_outcome"))
                .col(text("contact_with"));
            t.col(json("goals")).col(text("author")).col(text("state")).col(text("state_reason"));
            t.col(maybe(time("signed_at"))).col(text("content_hash")).col(json("addenda"));
        });
        manager.create_table(note).await?;
        manager.create_index(index("note", &["organization", "case_id", "id"])).await?;

        let evaluation = resource("evaluation", |t| {
            t.col(uuid("patient"))
                .col(uuid("case_id"))
                .col(maybe(uuid("plan_id")))
                .col(json("findings"));
            t.col(text("summary")).col(small("decision")).col(maybe(time("next_review_at")));
            t.col(time("effective_at")).col(text("author")).col(text("raised_task"));
        });
        manager.create_table(evaluation).await?;
        manager.create_index(index("evaluation", &["organization", "case_id", "id"])).await
    }
}
