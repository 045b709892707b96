//! Events that committed with the change they tell of, waiting to be published.
use caseward_core::{Clock, Result, Time};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};

use crate::{Store, moment, scope::Db};

/// One event.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// The id under which the event is published, and known to every consumer.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// The full name of the event's message.
    pub subject: String,
    /// The name of the resource it is about; order is kept per aggregate.
    pub aggregate: String,
    /// The revision of the aggregate it speaks of.
    pub revision: i64,
    /// The event.
    pub payload: Vec<u8>,
    /// The W3C trace context of the call that caused it, or nothing.
    pub trace: String,
    /// When it happened.
    pub created_at: Time,
    /// When the bus took it. The row stays until the retention ends: the bus may lose what it took.
    pub published_at: Option<Time>,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The oldest events that no bus took yet. Asked by state, never by "after the last id": a
/// transaction that commits late has an earlier id.
pub async fn pending(store: &Store, most: u64) -> Result<Vec<Model>> {
    let rows = Entity::find()
        .filter(Column::PublishedAt.is_null())
        .order_by_asc(Column::Id)
        .limit(most)
        .all(store.reader())
        .await?;
    Ok(rows)
}

/// What waits of `aggregates` behind `last`, where [`pending`] ended, and may speak of an earlier revision than what came
/// before it: two replicas make ids by clocks that differ by as much as clocks may.
pub async fn pending_behind(
    store: &Store,
    last: Uuid,
    aggregates: &[String],
) -> Result<Vec<Model>> {
    let Some(at) = moment::of(last) else { return Ok(vec![]) };
    let end = moment::first_id(at + Clock::SKEW + time::Duration::milliseconds(1));
    let rows = Entity::find()
        .filter(Column::PublishedAt.is_null())
        .filter(Column::Id.gt(last))
        .filter(Column::Id.lt(end))
        .filter(Column::Aggregate.is_in(aggregates.iter().map(String::as_str)))
        .all(store.reader())
        .await?;
    Ok(rows)
}

/// Notes that the bus took these events.
pub async fn published(db: &Db, ids: Vec<Uuid>, at: Time) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::PublishedAt, Expr::value(at))
        .filter(Column::Id.is_in(ids))
        .exec(db)
        .await?;
    Ok(())
}

/// Forgets published events older than `before`.
pub async fn purge(db: &Db, before: Time) -> Result<u64> {
    let done = Entity::delete_many().filter(Column::PublishedAt.lt(before)).exec(db).await?;
    Ok(done.rows_affected)
}

/// Queues every event since `since` once more, after the bus lost them. Consumers drop what they know.
pub async fn replay(db: &Db, since: Time) -> Result<u64> {
    let done = Entity::update_many()
        .col_expr(Column::PublishedAt, Expr::value(None::<i64>))
        .filter(Column::CreatedAt.gte(since))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}
