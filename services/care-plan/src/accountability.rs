//! The ledger of who was accountable for a case: no gap and no overlap while somebody must be.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Error, Id, Kind, Page, Result, Time, data::Period};
use caseward_store::{
    Resource, Scope, Tx,
    relation::{self, Topic},
};
use sea_orm::{Condition, QueryOrder, entity::prelude::*};

use crate::{
    case::{self, CaseId, PatientId, When},
    member, task, timeline,
};

#[derive(Debug)]
pub struct Accountability;
impl Kind for Accountability {
    const COLLECTION: &'static str = "accountabilities";
}
pub type AccountabilityId = Id<Accountability>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "accountability")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AccountabilityId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub person: String,
    /// Inclusive.
    pub starts_at: Time,
    /// Exclusive; absent while it lasts.
    pub ends_at: Option<Time>,
    /// The case while it lasts: unique, so that nobody else is accountable beside.
    pub current_of: Option<CaseId>,
    pub handoff: String,
    pub emergency: bool,
    pub reason: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of accountabilities begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_in(ctx, Column::Patient, &[Topic::Plan]))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        format!("{}/{}", row.case_id, row.id)
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// How accountability came to somebody.
#[derive(Clone, Default)]
pub struct Cause {
    pub handoff: String,
    pub emergency: bool,
    pub reason: String,
}
caseward_core::confidential!(Cause);

/// Who is accountable now, if somebody is.
async fn current(scope: &Scope, case: CaseId) -> Result<Option<Model>> {
    Ok(Entity::of(&scope.ctx).filter(Column::CurrentOf.eq(case)).one(&scope.db).await?)
}

/// Begins accountability of `person` in a case where nobody is accountable; answers when it did.
pub async fn begin(
    tx: &Tx,
    case: &mut case::Model,
    person: &str,
    when: When,
    cause: Cause,
) -> Result<Time> {
    let former = Entity::of(&tx.ctx)
        .filter(Column::CaseId.eq(case.id))
        .order_by_desc(Column::StartsAt)
        .order_by_desc(Column::Id)
        .one(&tx.db)
        .await?;
    let ended = former.as_ref().and_then(|former| former.ends_at);
    let when = when.after(ended).ok_or_else(|| {
        Error::invalid("effective_time", "is before somebody else's accountability ended")
    })?;
    let now = tx.ctx.now();
    let row = Model {
        id: AccountabilityId::generate(),
        organization: case.organization,
        patient: case.patient,
        case_id: case.id,
        person: person.to_owned(),
        starts_at: when.at,
        ends_at: None,
        current_of: Some(case.id),
        handoff: cause.handoff,
        emergency: cause.emergency,
        reason: cause.reason.clone(),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    caseward_store::insert::<Entity>(tx, row).await?;
    case.accountable = Some(person.to_owned());
    member::ensure(tx, case, person, member::MANAGER).await?;
    if let Some(former) = former.filter(|former| former.person != person) {
        task::pass_on(tx, case, &former.person, person, &cause.reason).await?;
    }
    Ok(when.at)
}

/// Ends accountability, where the case no longer needs somebody.
pub async fn end(tx: &Tx, case: &mut case::Model, when: When) -> Result<()> {
    if let Some(mut row) = current(tx, case.id).await? {
        let when = when.after(Some(row.starts_at)).ok_or_else(|| {
            Error::invalid("effective_time", "is before the present accountability began")
        })?;
        row.ends_at = Some(when.at);
        row.current_of = None;
        let person = row.person.clone();
        caseward_store::update::<Entity>(tx, row).await?;
        member::dismiss(tx, case, &person, member::MANAGER, "no longer accountable").await?;
    }
    case.accountable = None;
    Ok(())
}

/// Moves accountability to `person` in this instant: one ends where the other begins.
pub async fn shift(tx: &Tx, case: &mut case::Model, person: &str, cause: Cause) -> Result<()> {
    let from = case.accountable.clone().unwrap_or_default();
    if from == person {
        return Err(Error::precondition(
            "ALREADY_ACCOUNTABLE",
            "is accountable for the case already",
        ));
    }
    let now = When::now(&tx.ctx);
    let (handoff, emergency) = (cause.handoff.clone(), cause.emergency);
    let reason = cause.reason.clone();
    end(tx, case, now).await?;
    let since = begin(tx, case, person, now, cause).await?;
    let detail = timeline::Detail { reason, ..Default::default() };
    timeline::tell(tx, case, "ACCOUNTABILITY_MOVED", case.id.to_string(), detail).await?;
    let event = pb::AccountabilityMoved {
        case: case.id.to_string(),
        patient: case.patient.to_string(),
        // The case is written after this, at its next revision.
        revision: case.revision + 1,
        from,
        to: person.to_owned(),
        handoff,
        emergency,
        effective_time: Some(since.into()),
    };
    tx.emit(case.id, event.revision, &event);
    Ok(())
}

/// Who was accountable at `time`.
pub async fn at(scope: &Scope, case: CaseId, time: Time) -> Result<Model> {
    case::get(scope, case).await?;
    let select = Entity::of(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::StartsAt.lte(time))
        .filter(Condition::any().add(Column::EndsAt.is_null()).add(Column::EndsAt.gt(time)));
    caseward_store::get(scope, select, format!("an accountable person of {case} at that time"))
        .await
}

pub async fn list(scope: &Scope, case: CaseId, page: &Page) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    caseward_store::page(scope, Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)), page).await
}

// === wire ===

impl From<Model> for pb::Accountability {
    fn from(row: Model) -> Self {
        pb::Accountability {
            name: Entity::name(&row),
            period: Some(Period { start: Some(row.starts_at), end: row.ends_at }.into()),
            person: row.person,
            handoff: row.handoff,
            emergency: row.emergency,
            reason: row.reason,
        }
    }
}
