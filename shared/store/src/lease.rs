//! Leases: of the replicas of a service, one at a time does what must be done by one.
use std::time::Duration;

use caseward_core::Result;
use sea_orm::{
    entity::prelude::*,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::Store;

/// Who holds what until when. Real time, not the deployment's: it is about machines, not about care.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lease")]
pub struct Model {
    /// What is held.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// The process that holds it.
    pub holder: Uuid,
    /// Microseconds since 1970 by the holder's clock; every renewal has another.
    pub until: i64,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// For how long a lease is taken. Its holder renews at a third of that; after a kill another takes over
/// when it is past.
pub const TERM: Duration = Duration::from_secs(6);

/// One who wants a lease: takes it, renews it, gives it back.
///
/// A lease is free when its end is past, or when nobody has renewed it for a term. The second needs no clock that tells
/// the date: a holder whose clock was a year ahead and who was then killed would else hold it for a year.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    name: String,
    holder: Uuid,
    /// Another's hold as it was found, and since when it has not changed.
    seen: Option<(Model, Instant)>,
}

impl Lease {
    /// Wants the lease `name`, and does not have it yet.
    pub fn new(store: &Store, name: impl Into<String>) -> Self {
        Lease { store: store.clone(), name: name.into(), holder: Uuid::now_v7(), seen: None }
    }

    /// What is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes or renews it; answers whether it is held now.
    pub async fn take(&mut self) -> Result<bool> {
        #[expect(
            clippy::disallowed_methods,
            reason = "leases are about machines, so they follow the machine's clock"
        )]
        let now = OffsetDateTime::now_utc();
        let until = micros(now + TERM);
        let mut free =
            column(Column::Until).lt(micros(now)).or(column(Column::Holder).eq(self.holder));
        if let Some((found, since)) = &self.seen
            && since.elapsed() >= TERM
        {
            let same = column(Column::Holder).eq(found.holder);
            let unchanged = same.and(column(Column::Until).eq(found.until));
            free = free.or(unchanged);
        }
        let row = Model { name: self.name.clone(), holder: self.holder, until };
        let conflict = OnConflict::column(Column::Name)
            .update_columns([Column::Holder, Column::Until])
            .action_and_where(free)
            .to_owned();
        let row = ActiveModel::from(row).reset_all();
        let insert = Entity::insert(row).on_conflict(conflict);
        match insert.exec_without_returning(&self.store.writer()).await {
            Ok(taken) if taken > 0 => {
                self.seen = None;
                Ok(true)
            }
            Ok(_) | Err(DbErr::RecordNotInserted) => {
                self.look().await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it back, so that another replica need not wait for its end.
    pub async fn release(&self) -> Result<()> {
        Entity::delete_many()
            .filter(Column::Name.eq(&*self.name))
            .filter(Column::Holder.eq(self.holder))
            .exec(&self.store.writer())
            .await?;
        Ok(())
    }

    /// Notes another's hold, and when it was first found so.
    async fn look(&mut self) -> Result<()> {
        let found = Entity::find_by_id(&*self.name).one(self.store.reader()).await?;
        let known = self.seen.as_ref().map(|(known, _)| known);
        if found.as_ref() != known {
            self.seen = found.map(|row| (row, Instant::now()));
        }
        Ok(())
    }
}

fn column(column: Column) -> Expr {
    Expr::col((Entity, column))
}

fn micros(at: OffsetDateTime) -> i64 {
    (at.unix_timestamp_nanos() / 1000) as i64
}
