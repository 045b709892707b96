//! Emergency accesses and disclosures.
use caseward_store::migrations::{flag, index, maybe, resource, small, text, time, uuid};
use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbErr},
};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let emergency = resource("emergency_access", |t| {
            t.col(uuid("patient")).col(text("subject")).col(text("roles")).col(text("reason"));
            t.col(text("state")).col(time("starts_at")).col(time("expires_at"));
            t.col(maybe(time("ended_at"))).col(maybe(uuid("renews"))).col(small("renewals"));
            t.col(text("reviewer")).col(text("review_comment")).col(maybe(time("reviewed_at")));
        });
        manager.create_table(emergency).await?;
        let columns = ["organization", "patient", "subject", "id"];
        manager.create_index(index("emergency_access", &columns)).await?;
        // The queue of those that wait for review.
        manager.create_index(index("emergency_access", &["organization", "state", "id"])).await?;
        // Of two that ask at once, one renews the other.
        let one = "CREATE UNIQUE INDEX ux_emergency_access_active ON emergency_access \
                   (organization, patient, subject) WHERE state = 'ACTIVE'";
        manager.get_connection().execute_unprepared(one).await?;

        let disclosure = resource("disclosure", |t| {
            t.col(uuid("patient")).col(time("disclosed_at")).col(text("recipient_name"));
            t.col(text("recipient_address")).col(text("description")).col(text("purpose"));
            t.col(small("basis")).col(flag("accounting_exempt")).col(text("payload_hash"));
            t.col(text("state")).col(text("state_reason")).col(text("author"));
        });
        manager.create_table(disclosure).await?;
        let columns = ["organization", "patient", "disclosed_at", "id"];
        manager.create_index(index("disclosure", &columns)).await
    }
}
