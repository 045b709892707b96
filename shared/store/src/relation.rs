//! Who is related to which patient: the answer to "which rows may this caller see".
use std::collections::HashMap;

pub use caseward_api::access::v1::relation_changed::Topic;
use caseward_core::{Clock, Ctx, Reach, Result, Time};
use sea_orm::{
    Condition, QuerySelect,
    entity::prelude::*,
    sea_query::{Alias, ExprTrait, OnConflict, Query},
};

use crate::{Scope, Tx, batch::Batch};

/// One relation of one subject to one patient, from one source.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "relation")]
pub struct Model {
    /// The [`key`] of what granted it: a care team member, a caregiver's scope.
    #[sea_orm(primary_key, auto_increment = false)]
    pub source: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// Who.
    pub subject: String,
    /// Whose data.
    pub patient: Uuid,
    /// Why.
    pub basis: Basis,
    /// Inclusive.
    pub starts_at: Time,
    /// Exclusive; open where absent.
    pub ends_at: Option<Time>,
    /// The revision of the source, so that an old event cannot undo a new one.
    pub revision: i64,
    /// Of a caregiver: the [`set`] of the parts that they may see. Nothing else looks at it.
    pub topics: i32,
    /// Of a caregiver: when they last lost one of these parts. [`put`] sees to it.
    pub narrowed_at: Option<Time>,
}
caseward_core::confidential!(Model);

impl Model {
    /// How much of the record it lets its subject see.
    fn sight(&self) -> Sight {
        if self.basis == Basis::Caregiver { Sight(self.topics) } else { Sight::WHOLE }
    }
}

/// Why a subject is related to a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Basis {
    /// On the care team.
    #[sea_orm(string_value = "TEAM")]
    Team,
    /// Made the record.
    #[sea_orm(string_value = "REGISTRAR")]
    Registrar,
    /// Is the patient.
    #[sea_orm(string_value = "PATIENT")]
    Patient,
    /// Cares for the patient, within a scope.
    #[sea_orm(string_value = "CAREGIVER")]
    Caregiver,
    /// Declared an emergency.
    #[sea_orm(string_value = "EMERGENCY")]
    Emergency,
}

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Restricts a query to the patients whom `ctx` may see, where `column` holds the patient's id.
pub fn visible(ctx: &Ctx, column: impl ColumnTrait) -> Condition {
    visible_if(ctx, column, Condition::all())
}

/// Restricts a query to the patients of whom `ctx` may see what no caregiver's scope covers.
pub fn visible_beyond_scope(ctx: &Ctx, column: impl ColumnTrait) -> Condition {
    visible_if(ctx, column, Condition::all().add(Column::Basis.ne(Basis::Caregiver)))
}

/// Restricts a query to the patients of whom `ctx` may see what staff write for each other.
pub fn visible_to_staff(ctx: &Ctx, column: impl ColumnTrait) -> Condition {
    let close = [Basis::Caregiver, Basis::Patient];
    visible_if(ctx, column, Condition::all().add(Column::Basis.is_not_in(close)))
}

/// Restricts a query to the patients of whom `ctx` may see one of `topics`: everybody but a caregiver sees them all.
pub fn visible_in(ctx: &Ctx, column: impl ColumnTrait, topics: &[Topic]) -> Condition {
    let granted = Expr::col((Entity, Column::Topics)).bit_and(set(topics.iter().copied())).ne(0);
    visible_if(ctx, column, Condition::any().add(Column::Basis.ne(Basis::Caregiver)).add(granted))
}

/// A set of topics as one number.
pub fn set(topics: impl IntoIterator<Item = Topic>) -> i32 {
    topics.into_iter().fold(0, |set, topic| set | 1 << topic as i32)
}

/// The topics in a [`set`].
pub fn topics(set: i32) -> Vec<Topic> {
    (1..i32::BITS as i32)
        .filter(|n| set & 1 << n != 0)
        .filter_map(|n| Topic::try_from(n).ok())
        .collect()
}

/// How much of the record of one patient somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight(i32);

impl Sight {
    /// Nothing is left out.
    const WHOLE: Sight = Sight(i32::MAX);

    /// Whether it is the whole record.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    /// Whether `topic` is part of it.
    pub fn covers(self, topic: Topic) -> bool {
        self.0 & set([topic]) != 0
    }

    fn and(self, other: Sight) -> Sight {
        Sight(self.0 | other.0)
    }

    fn lacks(self, other: Sight) -> bool {
        other.0 & !self.0 != 0
    }
}

/// How much the caller sees of each of `patients`; those of whom they see nothing are left out.
pub async fn sights(
    scope: &Scope,
    patients: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Sight>> {
    let patients = patients.into_iter();
    if scope.ctx.caller.reach == Reach::Organization {
        return Ok(patients.map(|patient| (patient, Sight::WHOLE)).collect());
    }
    let held = held(&scope.ctx, scope.ctx.subject()).filter(Column::Patient.is_in(patients));
    let mut sights = HashMap::new();
    for row in held.all(&scope.db).await? {
        let sight: &mut Sight = sights.entry(row.patient).or_insert(Sight(0));
        *sight = sight.and(row.sight());
    }
    Ok(sights)
}

/// Those of `patients` of whom the caller may have been shown more at `then` than they would be now.
pub(crate) async fn lost(scope: &Scope, patients: &[Uuid], then: Time) -> Result<Vec<Uuid>> {
    if scope.ctx.caller.reach == Reach::Organization || patients.is_empty() {
        return Ok(vec![]);
    }
    let known = known(&scope.ctx, scope.ctx.subject());
    let known = known.filter(Column::Patient.is_in(patients.iter().copied()));
    let (now, mut of) = (scope.ctx.now(), HashMap::<Uuid, Vec<Model>>::new());
    for row in known.all(&scope.db).await? {
        of.entry(row.patient).or_default().push(row);
    }
    of.retain(|_, rows| is_less(rows, then, now));
    Ok(of.into_keys().collect())
}

/// Whether these relations of one subject to one patient let them see less `now` than they may have `then`.
fn is_less(rows: &[Model], then: Time, now: Time) -> bool {
    let ended = |row: &&Model| row.ends_at.is_some_and(|end| end <= now);
    let (ended, rest): (Vec<_>, Vec<_>) = rows.iter().partition(ended);
    let held: Vec<_> = rest.into_iter().filter(|row| row.starts_at <= now).collect();
    if held.is_empty() {
        return !ended.is_empty();
    }
    let sees = held.iter().fold(Sight(0), |sees, row| sees.and(row.sight()));
    // An end is kept as so much older than it was.
    let held_then = |row: &Model| {
        row.starts_at <= then && row.ends_at.is_some_and(|end| then < end + Clock::SKEW)
    };
    ended.iter().any(|row| held_then(row) && sees.lacks(row.sight()))
        || !sees.is_whole() && held.iter().any(|row| row.narrowed_at.is_some_and(|at| then < at))
}

/// How much the caller sees of `patient`.
pub async fn sight(scope: &Scope, patient: Uuid) -> Result<Sight> {
    Ok(sights(scope, [patient]).await?.remove(&patient).unwrap_or(Sight(0)))
}

fn visible_if(ctx: &Ctx, column: impl ColumnTrait, wanted: Condition) -> Condition {
    match ctx.caller.reach {
        Reach::Organization => Condition::all(),
        Reach::Related => {
            let now = ctx.now();
            let related = Query::select()
                .column(Column::Patient)
                .from(Entity)
                .and_where(Column::Organization.eq(ctx.organization()))
                .and_where(Column::Subject.eq(ctx.subject()))
                .and_where(Column::StartsAt.lte(now))
                .cond_where(
                    Condition::any().add(Column::EndsAt.is_null()).add(Column::EndsAt.gt(now)),
                )
                .cond_where(wanted)
                .to_owned();
            Condition::all().add(column.in_subquery(related))
        }
    }
}

/// Names the relation that a resource grants on `basis`, alike in every service: a resource grants one of each.
pub fn key(resource: Uuid, basis: Basis) -> Uuid {
    let basis: u128 = match basis {
        Basis::Team => 1,
        Basis::Registrar => 2,
        Basis::Patient => 3,
        Basis::Caregiver => 4,
        Basis::Emergency => 5,
    };
    Uuid::from_u128(resource.as_u128() ^ basis)
}

/// Records what a source said at `at`; what it said at an earlier revision is replaced, a later one stands.
///
/// What had begun or ended by then has done so for everybody, also for a process whose clock is behind: it is kept as
/// so much older as clocks may differ.
pub async fn put(tx: &Tx, mut row: Model, at: Time) -> Result<()> {
    if row.subject == tx.ctx.subject() && row.ends_at.is_some_and(|end| end <= at) {
        tx.side(|side| side.left.push(row.patient));
    }
    if matches!(row.basis, Basis::Patient | Basis::Caregiver) {
        let before = find(tx, row.source).await?;
        if let Some(before) = before.filter(|before| before.revision < row.revision) {
            if before.subject != row.subject {
                let_go(tx, before, at).await?;
            } else if row.sight().lacks(before.sight()) {
                row.narrowed_at = Some(tx.ctx.now());
            } else {
                row.narrowed_at = before.narrowed_at;
            }
        }
    }
    keep(tx, row, at).await
}

/// Remembers that the subject of `row` was related to its patient and is no more: what it is the source of is somebody else's
/// from `at` on.
async fn let_go(tx: &Tx, row: Model, at: Time) -> Result<()> {
    let ends_at = Some(row.ends_at.map_or(at, |end| Ord::min(end, at)));
    keep(tx, Model { source: Uuid::now_v7(), ends_at, ..row }, at).await
}

async fn keep(tx: &Tx, mut row: Model, at: Time) -> Result<()> {
    row.starts_at = settled(row.starts_at, at);
    row.ends_at = row.ends_at.map(|end| settled(end, at));
    let conflict = OnConflict::column(Column::Source)
        .update_columns([
            Column::Subject,
            Column::Patient,
            Column::Basis,
            Column::StartsAt,
            Column::EndsAt,
            Column::Revision,
            Column::Topics,
            Column::NarrowedAt,
        ])
        .action_and_where(
            Expr::col((Entity, Column::Revision))
                .lt(Expr::col((Alias::new("excluded"), Column::Revision))),
        )
        .to_owned();
    let row = ActiveModel::from(row).reset_all();
    tx.batch(Batch::of::<Entity>([row])?.or(conflict)).await
}

/// `moment`, or, where it was past by `at`, one that is past by every clock.
fn settled(moment: Time, at: Time) -> Time {
    if moment <= at { Ord::min(moment, at - Clock::SKEW) } else { moment }
}

/// The revision of the relation named by `key`, 0 where there is none.
pub async fn revision(scope: &Scope, key: Uuid) -> Result<i64> {
    Ok(find(scope, key).await?.map_or(0, |row| row.revision))
}

/// The relation named by `key`.
async fn find(scope: &Scope, key: Uuid) -> Result<Option<Model>> {
    let row = Entity::find()
        .filter(Column::Organization.eq(scope.ctx.organization()))
        .filter(Column::Source.eq(key));
    Ok(row.one(&scope.db).await?)
}

/// Every relation of `subject` to `patient` that holds now.
pub async fn between(scope: &Scope, subject: &str, patient: Uuid) -> Result<Vec<Model>> {
    let held = held(&scope.ctx, subject).filter(Column::Patient.eq(patient));
    Ok(held.limit(100).all(&scope.db).await?)
}

/// The patients whom `subject` is or cares for, or once did; themselves first.
pub async fn cared_for(scope: &Scope, subject: &str) -> Result<Vec<Uuid>> {
    let mut rows = known(&scope.ctx, subject)
        .filter(Column::Basis.is_in([Basis::Patient, Basis::Caregiver]))
        .limit(100)
        .all(&scope.db)
        .await?;
    rows.sort_by_key(|row| (row.basis != Basis::Patient, row.source));
    Ok(rows.into_iter().map(|row| row.patient).collect())
}

/// The relations of `subject` that hold now.
fn held(ctx: &Ctx, subject: &str) -> Select<Entity> {
    let now = ctx.now();
    known(ctx, subject)
        .filter(Column::StartsAt.lte(now))
        .filter(Condition::any().add(Column::EndsAt.is_null()).add(Column::EndsAt.gt(now)))
}

/// The relations of `subject`, those that ended among them.
fn known(ctx: &Ctx, subject: &str) -> Select<Entity> {
    Entity::find()
        .filter(Column::Organization.eq(ctx.organization()))
        .filter(Column::Subject.eq(subject))
}
