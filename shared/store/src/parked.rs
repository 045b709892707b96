//! Events that a consumer could not handle: set aside, listed, handled again on request.
use caseward_core::{Ctx, Result, Time};
use sea_orm::{QueryOrder, entity::prelude::*, sea_query::OnConflict};

use crate::Store;

/// One event set aside by one consumer.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "parked")]
pub struct Model {
    /// Which consumer.
    #[sea_orm(primary_key, auto_increment = false)]
    pub consumer: String,
    /// Which event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// The full name of the event's message.
    pub subject: String,
    /// The resource it is about; later events of the same resource wait behind it.
    pub aggregate: String,
    /// The revision of the aggregate.
    pub revision: i64,
    /// The event.
    pub payload: Vec<u8>,
    /// Its trace context.
    pub trace: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it failed last.
    pub reason: String,
    /// When it was set aside.
    pub parked_at: Time,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Sets an event aside.
pub async fn put(store: &Store, ctx: &Ctx, row: Model) -> Result<()> {
    store
        .task(ctx, move |tx| {
            let row = ActiveModel::from(row.clone()).reset_all();
            async move {
                let known = OnConflict::columns([Column::Consumer, Column::Event])
                    .update_columns([Column::Attempts, Column::Reason])
                    .to_owned();
                Entity::insert(row).on_conflict(known).exec_without_returning(&tx.db).await?;
                Ok(())
            }
        })
        .await
}

/// The events that `consumer` set aside, the oldest first.
pub async fn list(store: &Store, consumer: &str) -> Result<Vec<Model>> {
    let rows = Entity::find()
        .filter(Column::Consumer.eq(consumer))
        .order_by_asc(Column::Event)
        .all(store.reader())
        .await?;
    Ok(rows)
}

/// Whether `consumer` set aside an event of `aggregate`, so that later ones must wait.
pub async fn blocks(store: &Store, consumer: &str, aggregate: &str) -> Result<bool> {
    let row = Entity::find()
        .filter(Column::Consumer.eq(consumer))
        .filter(Column::Aggregate.eq(aggregate))
        .one(store.reader())
        .await?;
    Ok(row.is_some())
}

/// Forgets an event that was handled after all.
pub async fn remove(store: &Store, consumer: &str, event: Uuid) -> Result<()> {
    Entity::delete_by_id((consumer.to_owned(), event)).exec(&store.writer()).await?;
    Ok(())
}
