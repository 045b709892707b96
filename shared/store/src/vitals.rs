//! What waits in a store, counted for whoever watches over it.
use caseward_core::{Result, Time};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};

use crate::{Store, outbox, parked};

/// How much waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Events that no bus took yet.
    pub outbox: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Time>,
    /// Events that consumers set aside.
    pub parked: u64,
    /// Units of work that wait for a writer.
    pub queue: usize,
}

pub(crate) async fn take(store: &Store, queue: usize) -> Result<Vitals> {
    let waiting = || outbox::Entity::find().filter(outbox::Column::PublishedAt.is_null());
    let oldest = waiting()
        .select_only()
        .column(outbox::Column::CreatedAt)
        .order_by_asc(outbox::Column::Id)
        .into_tuple::<Time>()
        .one(store.reader())
        .await?;
    let outbox = waiting().count(store.reader()).await?;
    let parked = parked::Entity::find().count(store.reader()).await?;
    Ok(Vitals { outbox, oldest, parked, queue })
}
