//! Durable timers: rows that come due, fired once in effect by whichever replica runs them.
use caseward_core::{Ctx, Result, Time};
use sea_orm::{
    ActiveValue::Set, QueryOrder, QuerySelect, entity::prelude::*, sea_query::OnConflict,
};

use crate::{Store, Tx};

/// One timer.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "timer")]
pub struct Model {
    /// What comes due, such as `task.due`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// For which resource.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// When.
    pub due_at: Time,
    /// How often firing it failed.
    pub attempts: i32,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Sets the timer `kind` of `subject`, or moves it.
pub async fn set(tx: &Tx, kind: &'static str, subject: Uuid, due_at: Time) -> Result<()> {
    let row = ActiveModel {
        kind: Set(kind.to_owned()),
        subject: Set(subject),
        organization: Set(tx.ctx.organization()),
        due_at: Set(due_at),
        attempts: Set(0),
    };
    let conflict = OnConflict::columns([Column::Kind, Column::Subject])
        .update_columns([Column::DueAt, Column::Attempts])
        .to_owned();
    Entity::insert(row).on_conflict(conflict).exec_without_returning(&tx.db).await?;
    Ok(())
}

/// Clears the timer `kind` of `subject`, if it is set.
pub async fn clear(tx: &Tx, kind: &str, subject: Uuid) -> Result<()> {
    Entity::delete_by_id((kind.to_owned(), subject)).exec(&tx.db).await?;
    Ok(())
}

/// The timers due by `now`, the earliest first.
pub async fn due(store: &Store, now: Time, most: u64) -> Result<Vec<Model>> {
    let rows = Entity::find()
        .filter(Column::DueAt.lte(now))
        .order_by_asc(Column::DueAt)
        .limit(most)
        .all(store.reader())
        .await?;
    Ok(rows)
}

/// When the next timer comes due.
pub async fn next(store: &Store) -> Result<Option<Time>> {
    let row = Entity::find().order_by_asc(Column::DueAt).one(store.reader()).await?;
    Ok(row.map(|timer| timer.due_at))
}

/// Takes a timer that is still set as it was read; false where somebody moved or fired it.
pub async fn take(tx: &Tx, timer: &Model) -> Result<bool> {
    let done = Entity::delete_many()
        .filter(Column::Kind.eq(&timer.kind))
        .filter(Column::Subject.eq(timer.subject))
        .filter(Column::DueAt.eq(timer.due_at))
        .exec(&tx.db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Puts off a timer whose firing failed: a minute, then twice as long each time, at most a day.
pub async fn put_off(store: &Store, ctx: &Ctx, timer: &Model) -> Result<()> {
    let minutes = 1_i64 << timer.attempts.clamp(0, 10);
    let later = ctx.now() + time::Duration::minutes(minutes.min(1440));
    Entity::update_many()
        .col_expr(Column::DueAt, Expr::value(later))
        .col_expr(Column::Attempts, Expr::value(timer.attempts + 1))
        .filter(Column::Kind.eq(&timer.kind))
        .filter(Column::Subject.eq(timer.subject))
        .filter(Column::DueAt.eq(timer.due_at))
        .exec(&store.writer())
        .await?;
    Ok(())
}
