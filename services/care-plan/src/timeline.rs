//! The timeline of a case: everything that happened, in one order, for pages and for streams.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Page, Result, Time, weight};
use caseward_store::{Scope, Transition, Tx};
use sea_orm::{
    ActiveValue::Set,
    QueryOrder, QuerySelect,
    entity::prelude::*,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use crate::{
    case::{self, CaseId},
    sight,
};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "timeline")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub case_id: CaseId,
    /// The place in the order, from 1, without a gap.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub organization: Uuid,
    pub event: String,
    pub resource: String,
    pub actor: String,
    pub effective_at: Time,
    pub recorded_at: Time,
    pub from_state: String,
    pub to_state: String,
    pub reason: String,
}
caseward_core::confidential!(Model);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// The last place taken in the order of each case.
mod head {
    use super::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "timeline_head")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub case_id: CaseId,
        pub sequence: i64,
    }
    caseward_core::confidential!(Model);

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// What there is to tell beside the event itself.
#[derive(Clone, Default)]
pub struct Detail {
    pub effective: Option<Time>,
    pub from: &'static str,
    pub to: &'static str,
    pub reason: String,
}
caseward_core::confidential!(Detail);

/// Tells that `event` happened to `resource`, within `case`.
pub async fn add(tx: &Tx, case: &case::Model, event: &'static str, resource: String) -> Result<()> {
    tell(tx, case, event, resource, Detail::default()).await
}

/// The same with its detail.
pub async fn tell(
    tx: &Tx,
    case: &case::Model,
    event: &'static str,
    resource: String,
    detail: Detail,
) -> Result<()> {
    // Taking the place locks the head until the commit, so that places become visible in their order: a reader who
    // goes on after the last one it saw misses none, on any database.
    let first = head::ActiveModel { case_id: Set(case.id), sequence: Set(1) };
    let next = OnConflict::column(head::Column::CaseId)
        .value(head::Column::Sequence, Expr::col((head::Entity, head::Column::Sequence)).add(1))
        .to_owned();
    let head = head::Entity::insert(first).on_conflict(next).exec_with_returning(&tx.db).await?;
    let now = tx.ctx.now();
    let row = ActiveModel {
        case_id: Set(case.id),
        sequence: Set(head.sequence),
        organization: Set(case.organization),
        event: Set(event.to_owned()),
        resource: Set(resource),
        actor: Set(tx.ctx.subject().to_owned()),
        effective_at: Set(detail.effective.unwrap_or(now)),
        recorded_at: Set(now),
        from_state: Set(detail.from.to_owned()),
        to_state: Set(detail.to.to_owned()),
        reason: Set(detail.reason),
    };
    Entity::insert(row).exec_without_returning(&tx.db).await?;
    Ok(())
}

/// Logs a change of state, and tells of it as `event`: what was left, what was entered, why.
pub async fn moved(
    tx: &Tx,
    case: &case::Model,
    event: &'static str,
    change: Transition,
) -> Result<()> {
    let detail = Detail {
        effective: change.effective,
        from: change.from,
        to: change.to,
        reason: change.reason_text.clone(),
    };
    tell(tx, case, event, change.name.clone(), detail).await?;
    tx.log(change);
    Ok(())
}

/// The entries of a case after `sequence`, which the caller was allowed to see.
pub async fn after(
    scope: &Scope,
    case: &case::Model,
    sequence: i64,
    most: u64,
) -> Result<Vec<Model>> {
    #[expect(clippy::disallowed_methods, reason = "the case was found through its own scope")]
    let select =
        Entity::find().filter(Column::CaseId.eq(case.id)).filter(Column::Sequence.gt(sequence));
    Ok(select.order_by_asc(Column::Sequence).limit(most).all(&scope.db).await?)
}

/// One page of the timeline of a case.
pub async fn list(scope: &Scope, case: CaseId, page: &Page) -> Result<(Vec<Model>, String)> {
    let case = case::get(scope, case).await?;
    let last = page.after().and_then(|key| key.try_into().ok()).map_or(0, i64::from_be_bytes);
    let mut rows = after(scope, &case, last, page.limit()).await?;
    let next = page.close(&mut rows, weight, |row| row.sequence.to_be_bytes().to_vec());
    Ok((shown(scope, &case, rows).await?, next))
}

/// `rows` without what the caller does not see of the case.
pub async fn shown(scope: &Scope, case: &case::Model, rows: Vec<Model>) -> Result<Vec<Model>> {
    sight::shown(scope, case, rows, |row| &row.resource).await
}

/// The last place taken in the order of a case.
pub async fn last(scope: &Scope, case: &case::Model) -> Result<i64> {
    let head = head::Entity::find_by_id(case.id).one(&scope.db).await?;
    Ok(head.map_or(0, |head| head.sequence))
}

// === wire ===

/// The token after which a stream goes on.
fn token(row: &Model) -> String {
    format!("{}.{}", row.case_id.uuid(), row.sequence)
}

/// The place that a token of `case` stands for.
pub fn place(case: CaseId, token: &str) -> Option<i64> {
    let (of, sequence) = token.split_once('.')?;
    let sequence: i64 = sequence.parse().ok().filter(|sequence| *sequence >= 0)?;
    (of == case.uuid().to_string()).then_some(sequence)
}

impl From<Model> for pb::TimelineEntry {
    fn from(row: Model) -> Self {
        let resume_token = token(&row);
        let Model {
            case_id: _,
            sequence,
            organization: _,
            event,
            resource,
            actor,
            effective_at,
            recorded_at,
            from_state,
            to_state,
            reason,
        } = row;
        pb::TimelineEntry {
            sequence,
            event,
            resource,
            actor,
            effective_time: Some(effective_at.into()),
            record_time: Some(recorded_at.into()),
            from_state,
            to_state,
            reason,
            resume_token,
        }
    }
}
