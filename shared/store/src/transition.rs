//! The log of changes of state: queue age, deadlines met and history all derive from it.
use caseward_core::{Ctx, Result, Time};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, entity::prelude::*};

use crate::Scope;

/// One change of state.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "transition")]
pub struct Model {
    /// The entry.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// The id of the resource.
    pub entity: Uuid,
    /// The name of the resource.
    pub name: String,
    /// The id of the topmost resource in the name, such as the case of a task.
    pub root: Uuid,
    /// The state left; empty at creation.
    pub from_state: String,
    /// The state entered.
    pub to_state: String,
    /// When it happened.
    pub effective_at: Time,
    /// When it was written down.
    pub recorded_at: Time,
    /// Who did it.
    pub actor: String,
    /// The role in which they did it.
    pub role: String,
    /// For which purpose of use.
    pub purpose: String,
    /// Why, from the reasons of the machine.
    pub reason_code: String,
    /// Why, in words.
    pub reason_text: String,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// A change of state to log.
#[derive(Clone, Default)]
pub struct Transition {
    /// The id of the resource.
    pub entity: Uuid,
    /// The name of the resource.
    pub name: String,
    /// The state left; empty at creation.
    pub from: &'static str,
    /// The state entered.
    pub to: &'static str,
    /// When it happened, where that is not now.
    pub effective: Option<Time>,
    /// Why, from the reasons of the machine.
    pub reason_code: String,
    /// Why, in words.
    pub reason_text: String,
}
caseward_core::confidential!(Transition);

impl Transition {
    /// That a resource left `from` for `to`, and why.
    pub fn new(
        entity: Uuid,
        name: String,
        from: &'static str,
        to: &'static str,
        reason: &str,
    ) -> Self {
        Transition { entity, name, from, to, reason_text: reason.to_owned(), ..Default::default() }
    }

    pub(crate) fn row(self, ctx: &Ctx) -> ActiveModel {
        let now = ctx.now();
        ActiveModel {
            id: Set(Uuid::now_v7()),
            organization: Set(ctx.organization()),
            entity: Set(self.entity),
            root: Set(root(&self.name).unwrap_or(self.entity)),
            name: Set(self.name),
            from_state: Set(self.from.to_owned()),
            to_state: Set(self.to.to_owned()),
            effective_at: Set(self.effective.unwrap_or(now)),
            recorded_at: Set(now),
            actor: Set(ctx.subject().to_owned()),
            role: Set(ctx.caller.roles.first().cloned().unwrap_or_default()),
            purpose: Set(ctx.caller.purpose.code().to_owned()),
            reason_code: Set(self.reason_code),
            reason_text: Set(self.reason_text),
        }
    }
}

fn root(name: &str) -> Option<Uuid> {
    Uuid::try_parse(name.split('/').nth(1)?).ok()
}

/// The changes of state of `root` and of everything below it, oldest first; of the resource called `name` only,
/// where that is not empty. The caller has already been allowed to see the root.
pub async fn below(
    scope: &Scope,
    root: Uuid,
    name: &str,
    after: Option<Uuid>,
    most: u64,
) -> Result<Vec<Model>> {
    let mut select = Entity::find()
        .filter(Column::Organization.eq(scope.ctx.organization()))
        .filter(Column::Root.eq(root));
    if !name.is_empty() {
        select = select.filter(Column::Name.eq(name));
    }
    if let Some(after) = after {
        select = select.filter(Column::Id.gt(after));
    }
    Ok(select.order_by_asc(Column::Id).limit(most).all(&scope.db).await?)
}

/// Every change of state of one resource that the caller has already been allowed to see, oldest first.
pub async fn of(scope: &Scope, entity: Uuid) -> Result<Vec<Model>> {
    let rows = Entity::find()
        .filter(Column::Organization.eq(scope.ctx.organization()))
        .filter(Column::Entity.eq(entity))
        .order_by_asc(Column::Id)
        .all(&scope.db)
        .await?;
    Ok(rows)
}
