//! Leases: of the replicas of a service, one at a time does what must be done by one.
use caseward_core::Result;
use sea_orm::{
    entity::prelude::*,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use time::{Duration, OffsetDateTime};

use crate::Store;

/// Who holds what until when. Real time, not the deployment's: it is about machines, not about care.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lease")]
pub struct Model {
    /// What is held.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// The process that holds it.
    pub holder: Uuid,
    /// Microseconds since 1970 by the holder's clock.
    pub until: i64,
}

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// For how long a lease is taken. Its holder renews at a third of that; after a kill another takes over
/// when it is past.
pub const TERM: Duration = Duration::seconds(6);

/// Takes or renews the lease `name` for `holder`; answers whether `holder` has it now.
pub async fn take(store: &Store, name: &str, holder: Uuid) -> Result<bool> {
    #[expect(
        clippy::disallowed_methods,
        reason = "leases are about machines, so they follow the machine's clock"
    )]
    let now = OffsetDateTime::now_utc();
    let until = ((now + TERM).unix_timestamp_nanos() / 1000) as i64;
    let now = (now.unix_timestamp_nanos() / 1000) as i64;
    let row = ActiveModel::from(Model { name: name.to_owned(), holder, until }).reset_all();
    let free = Expr::col((Entity, Column::Until))
        .lt(now)
        .or(Expr::col((Entity, Column::Holder)).eq(holder));
    let conflict = OnConflict::column(Column::Name)
        .update_columns([Column::Holder, Column::Until])
        .action_and_where(free)
        .to_owned();
    match Entity::insert(row).on_conflict(conflict).exec_without_returning(&store.writer()).await {
        Ok(taken) => Ok(taken > 0),
        Err(DbErr::RecordNotInserted) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lease back, so that another replica need not wait for its end.
pub async fn release(store: &Store, name: &str, holder: Uuid) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Name.eq(name))
        .filter(Column::Holder.eq(holder))
        .exec(&store.writer())
        .await?;
    Ok(())
}
