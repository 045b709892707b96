//! The last place given out in each inbox.
use caseward_core::{Error, Result};
use caseward_store::Tx;
use sea_orm::{
    entity::prelude::*,
    sea_query::{ExprTrait, OnConflict},
};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox_counter")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner: String,
    pub last: i64,
}
caseward_core::confidential!(Model);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The next place in the inbox of `owner`, from 1.
pub(super) async fn next(tx: &Tx, owner: &str) -> Result<i64> {
    let organization = tx.ctx.organization();
    let first = Model { organization, owner: owner.to_owned(), last: 1 };
    let counted = OnConflict::columns([Column::Organization, Column::Owner])
        .value(Column::Last, Expr::col((Entity, Column::Last)).add(1))
        .to_owned();
    let insert = Entity::insert(ActiveModel::from(first).reset_all()).on_conflict(counted);
    insert.exec_without_returning(&tx.db).await?;
    let row = Entity::find_by_id((organization, owner.to_owned())).one(&tx.db).await?;
    row.map(|row| row.last).ok_or_else(|| Error::internal("a counter that is not there"))
}
