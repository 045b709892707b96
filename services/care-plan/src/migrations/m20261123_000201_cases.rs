//! Cases, their teams, accountability, handoffs, timelines.
use caseward_store::migrations::{
    flag, index, json, maybe, number, resource, small, text, time, unique, uuid,
};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let case = resource("care_case", |t| {
            t.col(uuid("patient")).col(json("identifiers")).col(text("title")).col(text("reason"));
            t.col(text("programme")).col(text("source")).col(small("acuity")).col(text("state"));
            t.col(text("state_reason")).col(maybe(text("accountable"))).col(maybe(json("risk")));
            t.col(small("risk_rank"))
                .col(maybe(time("identified_at")))
                .col(maybe(time("enrolled_at")));
            t.col(maybe(time("closed_at"))).col(text("consent")).col(text("consent_statement"));
            t.col(small("close_reason"))
                .col(text("closure_waiver"))
                .col(maybe(time("expected_return_at")));
            t.col(maybe(time("paused_at")))
                .col(json("contact_attempts"))
                .col(maybe(text("waitlisted_from")));
            t.col(maybe(text("reopened_from")));
        });
        manager.create_table(case).await?;
        manager.create_index(index("care_case", &["organization", "id"])).await?;
        manager.create_index(index("care_case", &["organization", "patient"])).await?;
        manager.create_index(index("care_case", &["organization", "accountable"])).await?;

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

        let member = resource("member", |t| {
            t.col(uuid("patient"))
                .col(uuid("case_id"))
                .col(json("identifiers"))
                .col(text("person"));
            t.col(text("display"))
                .col(json("role"))
                .col(text("practitioner"))
                .col(text("related_person"));
            t.col(text("works_for")).col(text("works_for_display")).col(maybe(time("starts_at")));
            t.col(maybe(time("ends_at"))).col(text("end_reason"));
        });
        manager.create_table(member).await?;
        manager.create_index(index("member", &["organization", "case_id", "id"])).await?;

        let accountability = resource("accountability", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(text("person")).col(time("starts_at"));
            t.col(maybe(time("ends_at"))).col(maybe(uuid("current_of"))).col(text("handoff"));
            t.col(flag("emergency")).col(text("reason"));
        });
        manager.create_table(accountability).await?;
        manager
            .create_index(index("accountability", &["organization", "case_id", "starts_at"]))
            .await?;
        // One person at a time, whoever races.
        manager.create_index(unique("accountability", &["organization", "current_of"])).await?;

        let handoff = resource("handoff", |t| {
            t.col(uuid("patient")).col(uuid("case_id")).col(text("giver")).col(text("receiver"));
            t.col(text("reason"))
                .col(text("summary"))
                .col(text("proposer"))
                .col(time("expires_at"));
            t.col(text("state")).col(text("answer_reason")).col(maybe(time("answered_at")));
            t.col(maybe(uuid("open_in")));
        });
        manager.create_table(handoff).await?;
        manager.create_index(index("handoff", &["organization", "case_id", "id"])).await?;
        manager.create_index(unique("handoff", &["organization", "open_in"])).await?;

        let mut timeline = Table::create();
        timeline
            .table("timeline")
            .col(uuid("case_id"))
            .col(number("sequence"))
            .col(uuid("organization"));
        timeline
            .col(text("event"))
            .col(text("resource"))
            .col(text("actor"))
            .col(time("effective_at"));
        timeline
            .col(time("recorded_at"))
            .col(text("from_state"))
            .col(text("to_state"))
            .col(text("reason"));
        timeline.primary_key(Index::create().col("case_id").col("sequence"));
        manager.create_table(timeline).await?;
        let mut head = Table::create();
        head.table("timeline_head").col(uuid("case_id").primary_key()).col(number("sequence"));
        manager.create_table(head).await
    }
}
