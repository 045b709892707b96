//! Disclosures: what left the organization about a patient, and the accounting of it (45 CFR 164.528).
use caseward_api::patient::v1::{
    self as pb,
    disclosure::{Basis, State as Wire},
};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Page, Result, Time, Violations,
    check::{self, Checked},
    weight,
};
use caseward_store::{Resource, Scope, Transition, Tx, relation};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*, sea_query::ExprTrait};
use time::Duration;

use crate::patient::{self, PatientId};

#[derive(Debug)]
pub struct Disclosure;
impl Kind for Disclosure {
    const COLLECTION: &'static str = "disclosures";
}
pub type DisclosureId = Id<Disclosure>;
pub type DisclosureName = (PatientId, DisclosureId);

/// What an accounting covers: six years, whatever the leap days.
const ACCOUNTED: Duration = Duration::days(6 * 365 + 2);

/// The grounds that an accounting may leave out (164.528(a)(1)).
const EXEMPT: [Basis; 6] = [
    Basis::Treatment,
    Basis::Payment,
    Basis::Operations,
    Basis::Individual,
    Basis::Authorization,
    Basis::InvolvedPersons,
];

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "disclosure")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DisclosureId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub disclosed_at: Time,
    pub recipient_name: String,
    pub recipient_address: String,
    pub description: String,
    pub purpose: String,
    pub basis: i32,
    pub accounting_exempt: bool,
    /// SHA-256 in hexadecimal, or nothing.
    pub payload_hash: String,
    pub state: State,
    pub state_reason: String,
    pub author: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "RECORDED")]
    Recorded,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a disclosure: it is history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[Step::EnterInError];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Recorded, Step::EnterInError) => Some(State::EnteredInError),
            (State::EnteredInError, Step::EnterInError) => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Recorded => "RECORDED",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    /// An auditor sees those of every patient, others of those whom they may see.
    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of disclosures begins"
        )]
        let all = Self::find().filter(Column::Organization.eq(ctx.organization()));
        if ctx.may("audit.read") {
            return all;
        }
        all.filter(relation::visible_beyond_scope(ctx, Column::Patient))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        format!("{}/{}", row.patient, row.id)
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

impl Model {
    /// A new row with every field of `from` checked.
    fn draft(ctx: &Ctx, patient: PatientId, from: &pb::Disclosure) -> Result<Self> {
        let now = ctx.now();
        let mut bad = Violations::default();
        let at = bad.take("disclosure.disclose_time", check::timestamp(&from.disclose_time));
        if at.is_some_and(|at| at > now) {
            bad.add("disclosure.disclose_time", "is in the future");
        }
        let mut text = |field: &str, value: &str, length| {
            bad.take(&format!("disclosure.{field}"), check::text(value, length)).unwrap_or_default()
        };
        let recipient_name = text("recipient_name", &from.recipient_name, 1..=300);
        let recipient_address = text("recipient_address", &from.recipient_address, 0..=500);
        let description = text("description", &from.description, 1..=2000);
        let purpose = text("purpose", &from.purpose, 1..=1000);
        let basis = bad.take("disclosure.basis", check::known::<Basis>(from.basis));
        if from.accounting_exempt && basis.is_some_and(|basis| !EXEMPT.contains(&basis)) {
            bad.add("disclosure.accounting_exempt", "cannot be on this ground");
        }
        let payload_hash = bad.take("disclosure.payload_hash", digest(&from.payload_hash));
        bad.finish()?;
        Ok(Model {
            id: DisclosureId::generate(),
            organization: ctx.organization(),
            patient,
            disclosed_at: at.unwrap_or(now),
            recipient_name,
            recipient_address,
            description,
            purpose,
            basis: basis.map_or(0, Into::into),
            accounting_exempt: from.accounting_exempt,
            payload_hash: payload_hash.unwrap_or_default(),
            state: State::Recorded,
            state_reason: String::new(),
            author: ctx.subject().to_owned(),
            created_at: now,
            updated_at: now,
            revision: 1,
        })
    }
}

/// 64 lower-case hexadecimal digits, or nothing.
fn digest(text: &str) -> Checked<String> {
    let spelled = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if spelled && matches!(text.len(), 0 | 64) {
        return Ok(text.to_owned());
    }
    Err("wants 64 lower-case hexadecimal digits".to_owned())
}

pub async fn create(tx: Tx, patient: PatientId, from: pb::Disclosure) -> Result<Model> {
    let patient = patient::get(&tx, patient).await?;
    let row = Model::draft(&tx.ctx, patient.id, &from)?;
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    let (disclosure, patient, revision) =
        (Entity::name(&row), row.patient.to_string(), row.revision);
    tx.emit(
        Entity::name(&row),
        revision,
        &pb::DisclosureRecorded { disclosure, patient, revision },
    );
    Ok(row)
}

pub async fn get(scope: &Scope, (patient, id): DisclosureName) -> Result<Model> {
    let select =
        Entity::of(&scope.ctx).filter(Column::Patient.eq(patient)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{patient}/{id}")).await
}

/// The accounting of what was disclosed about `patient`, in the order in which it happened.
pub async fn list(
    scope: &Scope,
    patient: PatientId,
    (from, until): (Option<Time>, Option<Time>),
    include_all: bool,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let ctx = &scope.ctx;
    let auditor = ctx.may("audit.read");
    if include_all && !auditor {
        return Err(Error::Denied);
    }
    if !auditor {
        patient::get(scope, patient).await?;
    }
    let mut select = Entity::of(ctx)
        .filter(Column::Patient.eq(patient))
        .filter(Column::DisclosedAt.gte(from.unwrap_or(ctx.now() - ACCOUNTED)));
    if let Some(until) = until {
        select = select.filter(Column::DisclosedAt.lt(until));
    }
    if !include_all {
        select = select
            .filter(Column::AccountingExempt.eq(false))
            .filter(Column::State.eq(State::Recorded));
    }
    if let Some((at, id)) = page.after().and_then(place) {
        let later = Column::DisclosedAt.eq(at).and(Column::Id.gt(id));
        select = select.filter(Column::DisclosedAt.gt(at).or(later));
    }
    let mut rows = select
        .order_by_asc(Column::DisclosedAt)
        .order_by_asc(Column::Id)
        .limit(page.limit())
        .all(&scope.db)
        .await?;
    let next = page.close(&mut rows, weight, |row| {
        [&row.disclosed_at.micros().to_be_bytes()[..], row.id.uuid().as_bytes()].concat()
    });
    for row in &rows {
        ctx.record.saw(row.patient.uuid());
    }
    Ok((rows, next))
}

/// Where a page ended: a moment and an id.
fn place(key: &[u8]) -> Option<(Time, Uuid)> {
    let (at, id) = key.split_first_chunk::<8>()?;
    Some((Time::from_micros(i64::from_be_bytes(*at)), Uuid::from_slice(id).ok()?))
}

pub async fn enter_in_error(
    tx: Tx,
    name: DisclosureName,
    etag: String,
    reason: String,
) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    let before = row.state;
    row.state = before.take(Step::EnterInError, Entity::name(&row))?;
    let reason = check::text(&reason, 1..=1000).map_err(|why| Error::invalid("reason", why))?;
    if row.author != tx.ctx.subject() && !tx.ctx.may("cases.supervise") {
        return Err(Error::Denied);
    }
    row.state_reason = reason;
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: Entity::name(&row),
        from: before.label(),
        to: row.state.label(),
        reason_text: row.state_reason.clone(),
        ..Default::default()
    });
    let (disclosure, patient, revision) =
        (Entity::name(&row), row.patient.to_string(), row.revision);
    let event = pb::DisclosureEnteredInError { disclosure, patient, revision };
    tx.emit(Entity::name(&row), revision, &event);
    Ok(row)
}

// === wire ===

impl From<Model> for pb::Disclosure {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient: _,
            disclosed_at,
            recipient_name,
            recipient_address,
            description,
            purpose,
            basis,
            accounting_exempt,
            payload_hash,
            state,
            state_reason,
            author,
            created_at,
            updated_at,
            revision,
        } = row;
        let state = match state {
            State::Recorded => Wire::Recorded,
            State::EnteredInError => Wire::EnteredInError,
        };
        pb::Disclosure {
            name,
            disclose_time: Some(disclosed_at.into()),
            recipient_name,
            recipient_address,
            description,
            purpose,
            basis,
            accounting_exempt,
            payload_hash,
            state: state.into(),
            state_reason,
            author,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
