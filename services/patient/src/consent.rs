//! Consents: what a patient agreed to, from when until when, and that they may take it back.
mod state;

use caseward_api::patient::v1::{self as pb, consent::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Name, Page, Result, Time, Violations, check,
    data::{self, Concept, Identifier, Json, Period},
};
use caseward_store::{Resource, Scope, Transition, Tx, relation, timer};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;

use crate::{
    child::{self, Child},
    patient::{self, PatientId},
    related_person,
};

pub use state::{State, Step};

#[derive(Debug)]
pub struct Consent;
impl Kind for Consent {
    const COLLECTION: &'static str = "consents";
}
pub type ConsentId = Id<Consent>;
pub type ConsentName = (PatientId, ConsentId);

/// The timer that ends a consent.
pub const EXPIRY: &str = "consent.expiry";

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "consent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ConsentId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub identifiers: Json<Vec<Identifier>>,
    pub kind: i32,
    pub decision: i32,
    pub grantor: String,
    pub recipients: Json<Vec<String>>,
    pub purposes: Json<Vec<Concept>>,
    pub data_classes: Json<Vec<Concept>>,
    pub channels: Json<Vec<i32>>,
    pub period: Json<Period>,
    pub evidence: String,
    pub author: String,
    pub state: State,
    pub state_reason: String,
    pub activated_at: Option<Time>,
    pub revoked_at: Option<Time>,
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
            reason = "the one place where a query of consents begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_beyond_scope(ctx, Column::Patient))
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

/// The fields that a caller may set, as the mask names them. What it is about is set once.
const WRITABLE: [&str; 9] = [
    "identifiers",
    "decision",
    "grantor",
    "recipients",
    "purposes",
    "data_classes",
    "channels",
    "period",
    "evidence",
];

impl Model {
    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::Consent) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("consent.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "type" => bad.put(
                    &mut self.kind,
                    path,
                    check::known::<pb::consent::Type>(from.r#type).map(Into::into),
                ),
                "decision" => {
                    bad.put(
                        &mut self.decision,
                        path,
                        data::enumeration::<pb::consent::Decision>(from.decision),
                    );
                    if self.decision == 0 {
                        self.decision = pb::consent::Decision::Permit.into();
                    }
                }
                "grantor" => {
                    let own = self.patient.to_string();
                    if !from.grantor.is_empty()
                        && from.grantor != own
                        && !from.grantor.starts_with(&format!("{own}/relatedPersons/"))
                    {
                        bad.add(path, "wants the patient or one of their related persons");
                    }
                    self.grantor = if from.grantor.is_empty() { own } else { from.grantor.clone() };
                }
                "recipients" => {
                    let recipients =
                        check::list(path, &from.recipients, 0..=50, &mut bad, |who, bad| {
                            bad.take("", check::text(who, 1..=300))
                        });
                    self.recipients = Json(recipients);
                }
                "purposes" => self.purposes = data::concepts(path, &from.purposes, 20, &mut bad),
                "data_classes" => {
                    self.data_classes = data::concepts(path, &from.data_classes, 50, &mut bad)
                }
                "channels" => {
                    self.channels = Json(related_person::channels(path, &from.channels, &mut bad))
                }
                "period" => bad.put(&mut self.period, path, data::period(&from.period).map(Json)),
                "evidence" => {
                    bad.put(&mut self.evidence, path, check::text(&from.evidence, 0..=1000))
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        if !self.channels.0.is_empty() && self.kind != i32::from(pb::consent::Type::Messaging) {
            bad.add("consent.channels", "belong to a MESSAGING consent");
        }
        bad.finish()
    }
}

impl Child for Entity {
    type Kind = Consent;
    type Wire = pb::Consent;
    const IDENTIFIED: &'static str = "consent";
    const LOADED: &'static str = "consents";
    const PATIENT: Column = Column::Patient;

    fn draft(tx: &Tx, patient: PatientId, from: &pb::Consent) -> Result<Model> {
        let now = tx.ctx.now();
        let mut row = Model {
            id: ConsentId::generate(),
            organization: tx.ctx.organization(),
            patient,
            identifiers: Json::default(),
            kind: 0,
            decision: 0,
            grantor: String::new(),
            recipients: Json::default(),
            purposes: Json::default(),
            data_classes: Json::default(),
            channels: Json::default(),
            period: Json::default(),
            evidence: String::new(),
            author: tx.ctx.subject().to_owned(),
            state: State::Draft,
            state_reason: String::new(),
            activated_at: None,
            revoked_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&[&["type"][..], &WRITABLE].concat(), from)?;
        Ok(row)
    }

    fn identifiers(row: &Model) -> &[Identifier] {
        &row.identifiers.0
    }

    fn merged(before: &Model, draft: Model) -> Model {
        Model {
            id: before.id,
            author: before.author.clone(),
            state_reason: before.state_reason.clone(),
            activated_at: before.activated_at.or(draft.activated_at),
            revoked_at: before.revoked_at,
            created_at: before.created_at,
            updated_at: before.updated_at,
            revision: before.revision,
            ..draft
        }
    }

    /// What another system recorded keeps its state, unless that would undo what was decided here: a consent that was
    /// taken back stays so.
    fn loaded(before: Option<&Model>, draft: &mut Model, from: &pb::Consent) -> Result<()> {
        let said = State::known(from.state).map(|said| match draft.period.0.end {
            // The source does not take back what came to its end; here it ends by itself.
            Some(end) if said == State::Active && end <= draft.created_at => State::Inactive,
            _ => said,
        });
        draft.state = match (said, before) {
            (Ok(said), Some(before)) if !before.state.reaches(said) => {
                let why = format!("cannot become {} from {}", said.label(), before.state.label());
                return Err(Error::invalid("consent.state", why));
            }
            (Ok(said), _) => said,
            (Err(_), Some(before)) if from.state == 0 => before.state,
            (Err(_), None) if from.state == 0 => State::Draft,
            (Err(_), _) => return Err(Error::invalid("consent.state", "is not known")),
        };
        if before.is_some_and(|before| before.kind != draft.kind) {
            return Err(Error::invalid("consent.type", "never changes"));
        }
        if from.state == i32::from(Wire::Active) {
            draft.activated_at = Some(draft.period.0.start.unwrap_or(draft.created_at));
        }
        Ok(())
    }

    async fn settle(tx: &Tx, row: &Model) -> Result<()> {
        await_expiry(tx, row).await
    }

    async fn verify(tx: &Tx, row: &Model) -> Result<()> {
        if row.grantor == row.patient.to_string() {
            return Ok(());
        }
        let name = Name::parse("consent.grantor", &row.grantor)?;
        match child::get::<related_person::Entity>(tx, name).await {
            Err(Error::NotFound(_)) => {
                Err(Error::invalid("consent.grantor", "is not a related person of the patient"))
            }
            found => found.map(|_| ()),
        }
    }

    fn tell(tx: &Tx, row: &Model, changed_fields: Vec<String>) {
        let (consent, patient, revision) =
            (Entity::name(row), row.patient.to_string(), row.revision);
        let (r#type, state) = (row.kind, Wire::from(row.state).into());
        let event =
            pb::ConsentChanged { consent, patient, revision, r#type, state, changed_fields };
        tx.emit(Entity::name(row), revision, &event);
    }
}

pub async fn list(
    scope: &Scope,
    patient: PatientId,
    kind: Option<pb::consent::Type>,
    states: &[State],
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    patient::get(scope, patient).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::Patient.eq(patient));
    if let Some(kind) = kind {
        select = select.filter(Column::Kind.eq(i32::from(kind)));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states.iter().copied()));
    }
    caseward_store::page(scope, select, page).await
}

pub async fn update(
    tx: Tx,
    name: ConsentName,
    from: pb::Consent,
    mask: FieldMask,
) -> Result<Model> {
    let before = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&before), before.revision, &from.etag)?;
    if before.state != State::Draft {
        let why = format!(
            "{} is {}; only a DRAFT can be rewritten",
            Entity::name(&before),
            before.state.label()
        );
        return Err(Error::precondition("CONSENT_NOT_DRAFT", why));
    }
    let fields = check::masked(&mask, &WRITABLE)?;
    let mut row = before.clone();
    row.take(&fields, &from)?;
    child::update::<Entity>(&tx, before, row, fields.into_iter().map(str::to_owned).collect()).await
}

pub async fn step(
    tx: Tx,
    name: ConsentName,
    step: Step,
    etag: String,
    reason: String,
    effective: Option<prost_types::Timestamp>,
) -> Result<Model> {
    let row = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    row.state.take(step, Entity::name(&row))?;
    let mut bad = Violations::default();
    let least = usize::from(step == Step::EnterInError);
    let reason = bad.take("reason", check::text(&reason, least..=1000)).unwrap_or_default();
    let at = bad.take("effective_time", check::moment(&effective)).flatten();
    if at.is_some_and(|at| at > tx.ctx.now()) {
        bad.add("effective_time", "is in the future");
    }
    bad.finish()?;
    if step == Step::EnterInError
        && row.author != tx.ctx.subject()
        && !tx.ctx.may("cases.supervise")
    {
        return Err(Error::Denied);
    }
    moved(&tx, row, step, reason, at).await
}

/// A consent came to its end.
pub async fn fire_expiry(tx: &Tx, id: ConsentId) -> Result<()> {
    let row = Entity::of(&tx.ctx).filter(Column::Id.eq(id)).one(&tx.db).await?;
    if let Some(row) = row.filter(|row| row.state == State::Active) {
        moved(tx, row, Step::Expire, String::new(), None).await?;
    }
    Ok(())
}

/// Sets the timer of a consent that holds until some time.
async fn await_expiry(tx: &Tx, row: &Model) -> Result<()> {
    match row.period.0.end {
        Some(end) if row.state == State::Active => timer::set(tx, EXPIRY, row.id.uuid(), end).await,
        _ => timer::clear(tx, EXPIRY, row.id.uuid()).await,
    }
}

async fn moved(
    tx: &Tx,
    mut row: Model,
    step: Step,
    reason: String,
    effective: Option<Time>,
) -> Result<Model> {
    let name = Entity::name(&row);
    let before = row.state;
    row.state = before.take(step, &name)?;
    row.state_reason = reason;
    let at = effective.unwrap_or(tx.ctx.now());
    match step {
        Step::Activate => row.activated_at = Some(at),
        Step::Revoke => row.revoked_at = Some(at),
        _ => {}
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    await_expiry(tx, &row).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: name.clone(),
        from: before.label(),
        to: row.state.label(),
        effective,
        reason_text: row.state_reason.clone(),
        ..Default::default()
    });
    let (consent, patient, revision, r#type) =
        (name.clone(), row.patient.to_string(), row.revision, row.kind);
    match step {
        Step::Activate => {
            tx.emit(&name, revision, &pb::ConsentActivated { consent, patient, revision, r#type })
        }
        Step::Revoke => {
            let effective_time = Some(at.into());
            let event = pb::ConsentRevoked { consent, patient, revision, r#type, effective_time };
            tx.emit(&name, revision, &event);
        }
        Step::Expire => {
            tx.emit(&name, revision, &pb::ConsentExpired { consent, patient, revision, r#type })
        }
        Step::Propose | Step::Reject | Step::EnterInError => {
            Entity::tell(tx, &row, vec!["state".to_owned()])
        }
    }
    Ok(row)
}

// === wire ===

impl From<Model> for pb::Consent {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient: _,
            identifiers,
            kind,
            decision,
            grantor,
            recipients,
            purposes,
            data_classes,
            channels,
            period,
            evidence,
            author: _,
            state,
            state_reason,
            activated_at,
            revoked_at,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Consent {
            name,
            identifiers: data::wire(identifiers),
            r#type: kind,
            decision,
            grantor,
            recipients: recipients.0,
            purposes: data::wire(purposes),
            data_classes: data::wire(data_classes),
            channels: channels.0,
            period: Some(period.0.into()),
            evidence,
            state: Wire::from(state).into(),
            state_reason,
            activate_time: activated_at.map(Into::into),
            revoke_time: revoked_at.map(Into::into),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
