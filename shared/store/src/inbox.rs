//! Events that a consumer has handled: the row commits with the effect, so an event has one effect.
use caseward_core::{Result, Time};
use sea_orm::{ActiveValue::Set, entity::prelude::*};

use crate::scope::Db;

/// One event that one consumer handled.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox")]
pub struct Model {
    /// Which consumer.
    #[sea_orm(primary_key, auto_increment = false)]
    pub consumer: String,
    /// Which event, by its id in the producer's outbox.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event: Uuid,
    /// When.
    pub handled_at: Time,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

pub(crate) async fn is_handled(
    db: &impl ConnectionTrait,
    consumer: &str,
    event: Uuid,
) -> Result<bool> {
    Ok(Entity::find_by_id((consumer.to_owned(), event)).one(db).await?.is_some())
}

pub(crate) fn row(consumer: &str, event: Uuid, at: Time) -> ActiveModel {
    ActiveModel { consumer: Set(consumer.to_owned()), event: Set(event), handled_at: Set(at) }
}

/// Forgets what was handled before `before`; must be later than any bus or outbox still holds.
pub async fn purge(db: &Db, before: Time) -> Result<u64> {
    let done = Entity::delete_many().filter(Column::HandledAt.lt(before)).exec(db).await?;
    Ok(done.rows_affected)
}
