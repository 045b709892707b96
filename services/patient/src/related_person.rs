//! Related persons: those close to a patient, and what each of them may see and hear.
use caseward_api::patient::v1::{self as pb, CaregiverScope as WireScope};
use caseward_core::{
    Ctx, Error, Id, Kind, Result, Time, Violations, check,
    data::{
        self, Address, Concept, ContactPoint, HumanName, Identifier, Json, PartialDate, Period,
    },
};
use caseward_store::{
    Basis, Resource, Tx,
    relation::{self, Topic},
};
use prost_types::FieldMask;
use sea_orm::{Condition, entity::prelude::*};
use serde::{Deserialize, Serialize};

use crate::{
    child::{self, Child},
    patient::{self, Communication, PatientId},
    relations,
};

#[derive(Debug)]
pub struct RelatedPerson;
impl Kind for RelatedPerson {
    const COLLECTION: &'static str = "relatedPersons";
}
pub type RelatedPersonId = Id<RelatedPerson>;
pub type RelatedPersonName = (PatientId, RelatedPersonId);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "related_person")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RelatedPersonId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub identifiers: Json<Vec<Identifier>>,
    pub names: Json<Vec<HumanName>>,
    pub relationships: Json<Vec<Concept>>,
    pub gender: i32,
    pub birth_date: Option<Json<PartialDate>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub addresses: Json<Vec<Address>>,
    pub communications: Json<Vec<Communication>>,
    pub time_zone: String,
    pub subject: Option<String>,
    pub period: Json<Period>,
    pub scope: Option<Json<Scope>>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// What a related person may see and hear, on whose word, for how long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub topics: Vec<i32>,
    pub channels: Vec<i32>,
    pub legal_basis: i32,
    pub evidence: String,
    pub period: Period,
    pub grantor: String,
    pub revoked_at: Option<Time>,
    pub revoke_reason: String,
}
caseward_core::confidential!(Scope);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of related persons begins"
        )]
        Self::find().filter(Column::Organization.eq(ctx.organization())).filter(
            // A caregiver sees themselves, not who else is close to the patient.
            Condition::any().add(relation::visible_beyond_scope(ctx, Column::Patient)).add(
                relation::visible(ctx, Column::Patient).add(Column::Subject.eq(ctx.subject())),
            ),
        )
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

/// The fields that a caller may set, as the mask names them.
const WRITABLE: [&str; 11] = [
    "identifiers",
    "names",
    "relationships",
    "gender",
    "birth_date",
    "telecoms",
    "addresses",
    "communications",
    "time_zone",
    "subject",
    "period",
];

impl Model {
    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::RelatedPerson, now: Time) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("related_person.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "names" => self.names = data::names(path, &from.names, 0..=20, &mut bad),
                "relationships" => {
                    self.relationships = data::concepts(path, &from.relationships, 10, &mut bad)
                }
                "gender" => bad.put(
                    &mut self.gender,
                    path,
                    data::enumeration::<pb::patient::Gender>(from.gender),
                ),
                "birth_date" => {
                    bad.put(&mut self.birth_date, path, patient::birth_date(&from.birth_date, now))
                }
                "telecoms" => self.telecoms = data::telecoms(path, &from.telecoms, 30, &mut bad),
                "addresses" => {
                    self.addresses = data::addresses(path, &from.addresses, 20, &mut bad)
                }
                "communications" => {
                    self.communications =
                        patient::communications(path, &from.communications, &mut bad);
                }
                "time_zone" => {
                    bad.put(&mut self.time_zone, path, check::time_zone(&from.time_zone))
                }
                "subject" => bad.put(&mut self.subject, path, check::optional(&from.subject, 200)),
                "period" => bad.put(&mut self.period, path, data::period(&from.period).map(Json)),
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        if self.names.0.is_empty() && self.relationships.0.is_empty() {
            bad.add("related_person", "wants a name or a relationship");
        }
        bad.finish()
    }
}

impl Child for Entity {
    type Kind = RelatedPerson;
    type Wire = pb::RelatedPerson;
    const IDENTIFIED: &'static str = "related_person";
    const LOADED: &'static str = "related_persons";
    const PATIENT: Column = Column::Patient;

    fn draft(tx: &Tx, patient: PatientId, from: &pb::RelatedPerson) -> Result<Model> {
        let now = tx.ctx.now();
        let mut row = Model {
            id: RelatedPersonId::generate(),
            organization: tx.ctx.organization(),
            patient,
            identifiers: Json::default(),
            names: Json::default(),
            relationships: Json::default(),
            gender: 0,
            birth_date: None,
            telecoms: Json::default(),
            addresses: Json::default(),
            communications: Json::default(),
            time_zone: String::new(),
            subject: None,
            period: Json::default(),
            scope: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from, now)?;
        Ok(row)
    }

    fn identifiers(row: &Model) -> &[Identifier] {
        &row.identifiers.0
    }

    fn merged(before: &Model, draft: Model) -> Model {
        Model {
            id: before.id,
            subject: draft.subject.clone().or(before.subject.clone()),
            time_zone: patient::time_zone(&before.time_zone, &draft.time_zone),
            scope: before.scope.clone(),
            created_at: before.created_at,
            updated_at: before.updated_at,
            revision: before.revision,
            ..draft
        }
    }

    /// A load may say with which subject they sign in; their scope is theirs with it.
    async fn settle(tx: &Tx, row: &Model) -> Result<()> {
        open(tx, row).await
    }

    fn tell(tx: &Tx, row: &Model, changed_fields: Vec<String>) {
        let (related_person, patient, revision) =
            (Entity::name(row), row.patient.to_string(), row.revision);
        let event = pb::RelatedPersonChanged { related_person, patient, revision, changed_fields };
        tx.emit(Entity::name(row), revision, &event);
    }
}

pub async fn update(
    tx: Tx,
    name: RelatedPersonName,
    from: pb::RelatedPerson,
    mask: FieldMask,
) -> Result<Model> {
    let before = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&before), before.revision, &from.etag)?;
    let fields = check::masked(&mask, &WRITABLE)?;
    let mut row = before.clone();
    row.take(&fields, &from, tx.ctx.now())?;
    let former = before.clone();
    let fields = fields.into_iter().map(str::to_owned).collect();
    let row = child::update::<Entity>(&tx, before, row, fields).await?;
    match &row.subject {
        subject if *subject == former.subject && row.period == former.period => {}
        Some(_) => open(&tx, &row).await?,
        None => close(&tx, &Model { revision: row.revision, ..former }).await?,
    }
    Ok(row)
}

pub async fn grant(
    tx: Tx,
    name: RelatedPersonName,
    etag: String,
    from: WireScope,
) -> Result<Model> {
    use pb::caregiver_scope::{LegalBasis, Topic};
    let mut row = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    let mut bad = Violations::default();
    let topics = check::list("scope.topics", &from.topics, 1..=6, &mut bad, |topic, bad| {
        bad.take("", check::known::<Topic>(*topic).map(|topic| topic as i32))
    });
    let channels = channels("scope.channels", &from.channels, &mut bad);
    for (field, list) in [("scope.topics", &topics), ("scope.channels", &channels)] {
        if (1..list.len()).any(|n| list[n..].contains(&list[n - 1])) {
            bad.add(field, "holds a member twice");
        }
    }
    let legal_basis = bad.take("scope.legal_basis", check::known::<LegalBasis>(from.legal_basis));
    let evidence = bad.take("scope.evidence", check::text(&from.evidence, 0..=1000));
    let period = bad.take("scope.period", data::period(&from.period));
    bad.finish()?;
    let now = tx.ctx.now();
    let mut period = period.unwrap_or_default();
    period.start.get_or_insert(now);
    row.scope = Some(Json(Scope {
        topics,
        channels,
        legal_basis: legal_basis.map_or(0, Into::into),
        evidence: evidence.unwrap_or_default(),
        period,
        grantor: tx.ctx.subject().to_owned(),
        revoked_at: None,
        revoke_reason: String::new(),
    }));
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    open(&tx, &row).await?;
    let (related_person, patient, revision) =
        (Entity::name(&row), row.patient.to_string(), row.revision);
    tx.emit(
        Entity::name(&row),
        revision,
        &pb::CaregiverScopeGranted { related_person, patient, revision },
    );
    Ok(row)
}

/// Checks a list of channels.
pub fn channels(field: &str, from: &[i32], bad: &mut Violations) -> Vec<i32> {
    check::list(field, from, 0..=3, bad, |channel, bad| {
        bad.take("", check::known::<pb::Channel>(*channel).map(|channel| channel as i32))
    })
}

pub async fn revoke(
    tx: Tx,
    name: RelatedPersonName,
    etag: String,
    reason: String,
) -> Result<Model> {
    let mut row = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    let reason = check::text(&reason, 0..=1000).map_err(|why| Error::invalid("reason", why))?;
    match &mut row.scope {
        Some(Json(scope)) if scope.revoked_at.is_none() => {
            scope.revoked_at = Some(tx.ctx.now());
            scope.revoke_reason = reason;
        }
        _ => {
            return Err(Error::precondition(
                "NO_SCOPE",
                format!("{} has no scope", Entity::name(&row)),
            ));
        }
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    close(&tx, &row).await?;
    let (related_person, patient, revision) =
        (Entity::name(&row), row.patient.to_string(), row.revision);
    tx.emit(
        Entity::name(&row),
        revision,
        &pb::CaregiverScopeRevoked { related_person, patient, revision },
    );
    Ok(row)
}

/// Lets the person see the patient for as long as their scope says and they are close. Whoever signed in as them before
/// does no more: the row is one relation.
async fn open(tx: &Tx, row: &Model) -> Result<()> {
    match &row.scope {
        Some(Json(scope)) if scope.revoked_at.is_none() => {
            if row.subject.as_deref() == Some(tx.ctx.subject()) {
                return Err(Error::precondition(
                    "OWN_SCOPE",
                    "nobody lets themselves see a patient",
                ));
            }
            relate(tx, row, scope.period.within(&row.period.0)).await
        }
        _ => Ok(()),
    }
}

/// Ends what the person may see, now.
async fn close(tx: &Tx, row: &Model) -> Result<()> {
    let Some(Json(scope)) = &row.scope else { return Ok(()) };
    let now = tx.ctx.now();
    relate(tx, row, Period { start: scope.period.start.min(Some(now)), end: Some(now) }).await
}

async fn relate(tx: &Tx, row: &Model, period: Period) -> Result<()> {
    let Some(subject) = &row.subject else { return Ok(()) };
    let grant = relations::Grant {
        patient: row.patient,
        subject,
        basis: Basis::Caregiver,
        source: row.id.uuid(),
        name: Entity::name(row),
        revision: row.revision,
        period,
    };
    let scope = row.scope.iter().flat_map(|scope| &scope.0.topics);
    let topics = relation::set(scope.filter_map(|n| Topic::try_from(*n).ok()));
    relations::share(tx, grant, topics).await
}

// === wire ===

impl From<Model> for pb::RelatedPerson {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient: _,
            identifiers,
            names,
            relationships,
            gender,
            birth_date,
            telecoms,
            addresses,
            communications,
            time_zone,
            subject,
            period,
            scope,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::RelatedPerson {
            name,
            identifiers: data::wire(identifiers),
            names: data::wire(names),
            relationships: data::wire(relationships),
            gender,
            birth_date: birth_date.map(|date| date.0.into()),
            telecoms: data::wire(telecoms),
            addresses: data::wire(addresses),
            communications: data::wire(communications),
            time_zone,
            subject: subject.unwrap_or_default(),
            period: Some(period.0.into()),
            scope: scope.map(|scope| scope.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Scope> for WireScope {
    fn from(scope: Scope) -> Self {
        let Scope {
            topics,
            channels,
            legal_basis,
            evidence,
            period,
            grantor,
            revoked_at,
            revoke_reason,
        } = scope;
        WireScope {
            topics,
            channels,
            legal_basis,
            evidence,
            period: Some(period.into()),
            grantor,
            revoke_time: revoked_at.map(Into::into),
            revoke_reason,
        }
    }
}
