//! The tables of the store itself.
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

use super::{bytes, index, maybe, number, small, text, time, uuid};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = |name: &'static str| Table::create().table(Alias::new(name)).to_owned();
        let keyed = |mut create: TableCreateStatement, columns: &[&'static str]| {
            let mut key = Index::create();
            for column in columns {
                key.col(Alias::new(*column));
            }
            create.primary_key(&mut key).to_owned()
        };
        let mut outbox = table("outbox");
        outbox
            .col(super::key("id"))
            .col(uuid("organization"))
            .col(text("subject"))
            .col(text("aggregate"));
        outbox
            .col(number("revision"))
            .col(bytes("payload"))
            .col(text("trace"))
            .col(time("created_at"));
        outbox.col(maybe(time("published_at")));
        manager.create_table(outbox).await?;
        // Published rows are many and never asked for by state, so only the waiting ones are indexed.
        let mut waiting = index("outbox", &["published_at", "id"]);
        manager.create_index(waiting.to_owned()).await?;
        waiting = index("outbox", &["created_at"]);
        manager.create_index(waiting).await?;

        let mut inbox = table("inbox");
        inbox.col(text("consumer")).col(uuid("event")).col(time("handled_at"));
        manager.create_table(keyed(inbox, &["consumer", "event"])).await?;

        let mut parked = table("parked");
        parked
            .col(text("consumer"))
            .col(uuid("event"))
            .col(uuid("organization"))
            .col(text("subject"));
        parked
            .col(text("aggregate"))
            .col(number("revision"))
            .col(bytes("payload"))
            .col(text("trace"));
        parked.col(small("attempts")).col(text("reason")).col(time("parked_at"));
        manager.create_table(keyed(parked, &["consumer", "event"])).await?;

        let mut replay = table("replay");
        replay.col(uuid("organization")).col(text("subject")).col(uuid("request_id"));
        replay
            .col(bytes("digest"))
            .col(bytes("reply"))
            .col(text("patients"))
            .col(time("created_at"));
        manager.create_table(keyed(replay, &["organization", "subject", "request_id"])).await?;
        manager.create_index(index("replay", &["created_at"])).await?;

        let mut transition = table("transition");
        transition
            .col(super::key("id"))
            .col(uuid("organization"))
            .col(uuid("entity"))
            .col(text("name"))
            .col(uuid("root"));
        transition
            .col(text("from_state"))
            .col(text("to_state"))
            .col(time("effective_at"))
            .col(time("recorded_at"));
        transition.col(text("actor")).col(text("role")).col(text("purpose"));
        transition.col(text("reason_code")).col(text("reason_text"));
        manager.create_table(transition).await?;
        manager.create_index(index("transition", &["organization", "entity", "id"])).await?;

        manager.create_index(index("transition", &["organization", "root", "id"])).await?;

        let mut audit = table("audit");
        audit
            .col(uuid("chain"))
            .col(number("seq"))
            .col(uuid("record"))
            .col(text("phase"))
            .col(time("at"));
        audit.col(uuid("organization")).col(text("subject")).col(text("roles")).col(text("method"));
        audit
            .col(text("purpose"))
            .col(text("patients"))
            .col(number("rows"))
            .col(text("outcome"))
            .col(bytes("hash"));
        manager.create_table(keyed(audit, &["chain", "seq"])).await?;

        let mut relation = table("relation");
        relation
            .col(super::key("source"))
            .col(uuid("organization"))
            .col(text("subject"))
            .col(uuid("patient"));
        relation
            .col(text("basis"))
            .col(time("starts_at"))
            .col(maybe(time("ends_at")))
            .col(number("revision"));
        manager.create_table(relation).await?;
        manager.create_index(index("relation", &["organization", "subject", "patient"])).await?;

        let mut lease = table("lease");
        lease.col(text("name").primary_key()).col(uuid("holder")).col(number("until"));
        manager.create_table(lease).await?;

        let mut timer = table("timer");
        timer.col(text("kind")).col(uuid("subject")).col(uuid("organization"));
        timer.col(time("due_at")).col(small("attempts"));
        manager.create_table(keyed(timer, &["kind", "subject"])).await?;
        manager.create_index(index("timer", &["due_at"])).await
    }
}
