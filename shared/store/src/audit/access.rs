//! Whose data each entry of the log is about, so that a patient's accesses are found without a walk over the log.
use caseward_core::{Result, Time};
use sea_orm::{
    Condition, QueryOrder, QuerySelect,
    entity::prelude::*,
    sea_query::{Alias, ExprTrait, Query, SelectStatement},
};

use crate::Store;

/// One patient of one entry. Derived from the log: [`super::verify`] finds a row too many or too few.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_patient")]
pub struct Model {
    /// Whose data.
    #[sea_orm(primary_key, auto_increment = false)]
    pub patient: Uuid,
    /// The call, so that the latest are found first.
    #[sea_orm(primary_key, auto_increment = false)]
    pub record: Uuid,
    /// The entry.
    #[sea_orm(primary_key, auto_increment = false)]
    pub chain: Uuid,
    /// The entry's place.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
}
caseward_core::confidential!(Model);

/// Where the entry is.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The entry itself.
    #[sea_orm(
        belongs_to = "super::Entity",
        from = "(Column::Chain, Column::Seq)",
        to = "(super::Column::Chain, super::Column::Seq)"
    )]
    Entry,
}
impl Related<super::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Entry.def()
    }
}
impl ActiveModelBehavior for ActiveModel {}

/// The rows that lead to `entry`.
pub(crate) fn rows(entry: &super::Model) -> impl Iterator<Item = Model> + '_ {
    let patients =
        entry.patients.split_ascii_whitespace().filter_map(|id| Uuid::try_parse(id).ok());
    patients.map(|patient| Model {
        patient,
        record: entry.record,
        chain: entry.chain,
        seq: entry.seq,
    })
}

/// Which accesses to a patient's data somebody wants to know of.
#[derive(Clone)]
pub struct Wanted {
    /// The tenant.
    pub organization: Uuid,
    /// Whose data.
    pub patient: Uuid,
    /// Only those by this subject, where one is named.
    pub actor: String,
    /// Only those since then.
    pub from: Option<Time>,
    /// Only those before then.
    pub until: Option<Time>,
    /// Only those before this call.
    pub before: Option<Uuid>,
    /// How many at most.
    pub most: u64,
}
caseward_core::confidential!(Wanted);

/// Who saw or changed the data of a patient, latest first. The beginning of a call stands for it until there is more.
pub async fn accesses(store: &Store, wanted: Wanted) -> Result<Vec<super::Model>> {
    let mut select = Entity::find()
        .find_also_related(super::Entity)
        .filter(Column::Patient.eq(wanted.patient))
        .filter(super::Column::Organization.eq(wanted.organization))
        .filter(
            Condition::any().add(super::Column::Phase.ne("BEGIN")).add(Expr::exists(other()).not()),
        )
        .order_by_desc(Column::Record)
        .limit(wanted.most);
    if !wanted.actor.is_empty() {
        select = select.filter(super::Column::Subject.eq(wanted.actor));
    }
    if let Some(from) = wanted.from {
        select = select.filter(super::Column::At.gte(from));
    }
    if let Some(until) = wanted.until {
        select = select.filter(super::Column::At.lt(until));
    }
    if let Some(before) = wanted.before {
        select = select.filter(Column::Record.lt(before));
    }
    let found = select.all(store.reader()).await?;
    Ok(found.into_iter().filter_map(|(_, entry)| entry).collect())
}

/// Another entry of the same call about the same patient, which any chain may have.
fn other() -> SelectStatement {
    let of = |column| Expr::col((Alias::new("other"), column));
    let here = |column| (Entity, column);
    let elsewhere = of(Column::Chain).ne(Expr::col(here(Column::Chain)));
    Query::select()
        .expr(Expr::val(1))
        .from_as(Entity, Alias::new("other"))
        .and_where(of(Column::Patient).equals(here(Column::Patient)))
        .and_where(of(Column::Record).equals(here(Column::Record)))
        .and_where(elsewhere.or(of(Column::Seq).ne(Expr::col(here(Column::Seq)))))
        .to_owned()
}
