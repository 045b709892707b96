//! Problems, plans, goals, activities.
use caseward_store::migrations::{index, json, maybe, resource, small, text, time, unique, uuid};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let problem = resource("problem", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(json("identifiers")).col(json("code"));
            t.col(json("categories"))
                .col(small("kind"))
                .col(small("source"))
                .col(small("priority"));
            t.col(maybe(time("onset_at"))).col(maybe(time("abated_at"))).col(text("note"));
            t.col(maybe(uuid("assessment"))).col(text("state")).col(text("state_reason"));
        });
        manager.create_table(problem).await?;
        manager.create_index(index("problem", &["organization", "case_id", "id"])).await?;

        let plan = resource("care_plan", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(json("identifiers")).col(text("title"));
            t.col(text("description"))
                .col(json("categories"))
                .col(json("problems"))
                .col(json("period"));
            t.col(maybe(time("review_due_at")))
                .col(text("author"))
                .col(text("state"))
                .col(text("state_reason"));
            t.col(small("plan_revision"))
                .col(maybe(uuid("replaces")))
                .col(maybe(uuid("replaced_by")));
            t.col(text("revision_reason")).col(text("content_hash")).col(maybe(json("approval")));
            t.col(maybe(json("agreement")))
                .col(maybe(time("activated_at")))
                .col(maybe(time("ended_at")));
            t.col(maybe(uuid("running_in")));
        });
        manager.create_table(plan).await?;
        manager.create_index(index("care_plan", &["organization", "case_id", "id"])).await?;
        // One plan at a time is carried out in a case, whoever races.
        manager.create_index(unique("care_plan", &["organization", "running_in"])).await?;

        let goal = resource("goal", |t| {
            t.col(uuid("patient"))
                .col(uuid("case_id"))
                .col(uuid("plan_id"))
                .col(json("identifiers"));
            t.col(json("description"))
                .col(text("statement"))
                .col(json("categories"))
                .col(json("problems"));
            t.col(json("targets"))
                .col(small("priority"))
                .col(text("owner"))
                .col(maybe(json("start_date")));
            t.col(text("state"))
                .col(text("achievement"))
                .col(json("progress"))
                .col(text("state_reason"));
            t.col(maybe(text("carried_from")));
        });
        manager.create_table(goal).await?;
        manager.create_index(index("goal", &["organization", "plan_id", "id"])).await?;

        let activity = resource("activity", |t| {
            t.col(uuid("patient"))
                .col(uuid("case_id"))
                .col(uuid("plan_id"))
                .col(json("identifiers"));
            t.col(maybe(json("code")))
                .col(text("description"))
                .col(small("kind"))
                .col(json("goals"));
            t.col(text("owner"))
                .col(text("performer"))
                .col(text("performer_display"))
                .col(text("location"));
            t.col(maybe(json("schedule")))
                .col(text("expected_effect"))
                .col(maybe(json("cost_estimate")));
            t.col(text("state"))
                .col(maybe(text("held_in")))
                .col(text("state_reason"))
                .col(maybe(json("evidence")));
            t.col(maybe(time("started_at")))
                .col(maybe(time("ended_at")))
                .col(maybe(text("carried_from")));
        });
        manager.create_table(activity).await?;
        manager.create_index(index("activity", &["organization", "plan_id", "id"])).await
    }
}
