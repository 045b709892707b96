//! Patients: the row, its rules, its queries.
use caseward_api::{
    patient::v1 as pb,
    types::v1::{Date, ingest_outcome::Action},
};
use caseward_core::{
    Ctx, Error, Id, Kind, Page, Reach, Result, Time, Violations,
    check::{self, Checked},
    data::{self, Address, ContactPoint, HumanName, Identifier, Json, PartialDate, Period},
};
use caseward_store::{Basis, Resource, Scope, Transition, Tx, identifier, relation};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::relations;

#[derive(Debug)]
pub struct Patient;
impl Kind for Patient {
    const COLLECTION: &'static str = "patients";
}
pub type PatientId = Id<Patient>;

/// The kind of a patient's identifiers.
pub const IDENTIFIED: &str = "patient";

/// How long whoever made a record may see it without being on a care team.
pub const REGISTRATION: Duration = Duration::days(30);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "patient")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PatientId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub names: Json<Vec<HumanName>>,
    pub gender: i32,
    pub birth_date: Option<Json<PartialDate>>,
    pub deceased: bool,
    pub deceased_at: Option<Time>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub addresses: Json<Vec<Address>>,
    pub communications: Json<Vec<Communication>>,
    pub time_zone: String,
    /// With which the patient signs in.
    pub subject: Option<String>,
    pub state: State,
    pub merged_into: Option<PatientId>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// A language a person speaks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Communication {
    pub language: String,
    pub interpreter: bool,
}
caseward_core::confidential!(Communication);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "INACTIVE")]
    Inactive,
    #[sea_orm(string_value = "MERGED")]
    Merged,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

impl State {
    /// As the log of transitions has it.
    fn label(self) -> &'static str {
        match self {
            State::Active => "ACTIVE",
            State::Inactive => "INACTIVE",
            State::Merged => "MERGED",
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

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of patients begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible(ctx, Column::Id))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.id.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// The fields that a caller may set, as the mask names them.
const WRITABLE: [&str; 9] = [
    "identifiers",
    "names",
    "gender",
    "birth_date",
    "deceased",
    "telecoms",
    "addresses",
    "communications",
    "time_zone",
];

impl Model {
    /// A new row with every field of `from` checked.
    pub fn draft(ctx: &Ctx, from: &pb::Patient) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: PatientId::generate(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            names: Json::default(),
            gender: 0,
            birth_date: None,
            deceased: false,
            deceased_at: None,
            telecoms: Json::default(),
            addresses: Json::default(),
            communications: Json::default(),
            time_zone: String::new(),
            subject: None,
            state: State::Active,
            merged_into: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let mut bad = Violations::default();
        for field in WRITABLE.into_iter().chain(["subject"]) {
            row.take(field, from, now, &mut bad);
        }
        vouched(ctx, None, &from.subject, &mut bad);
        bad.finish()?;
        Ok(row)
    }

    /// Takes one field from the wire: the one place where it is named, checked and mapped.
    fn take(&mut self, field: &str, from: &pb::Patient, now: Time, bad: &mut Violations) {
        let path = &format!("patient.{field}");
        match field {
            "identifiers" => self.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "names" => self.names = data::names(path, &from.names, 1..=20, bad),
            "gender" => bad.put(
                &mut self.gender,
                path,
                data::enumeration::<pb::patient::Gender>(from.gender),
            ),
            "birth_date" => bad.put(&mut self.birth_date, path, birth_date(&from.birth_date, now)),
            "deceased" | "deceased_time" => {
                bad.put(
                    &mut self.deceased_at,
                    "patient.deceased_time",
                    check::moment(&from.deceased_time),
                );
                self.deceased = from.deceased || from.deceased_time.is_some();
            }
            "telecoms" => self.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "addresses" => self.addresses = data::addresses(path, &from.addresses, 20, bad),
            "communications" => {
                self.communications = communications(path, &from.communications, bad)
            }
            "time_zone" => bad.put(&mut self.time_zone, path, check::time_zone(&from.time_zone)),
            "subject" => bad.put(&mut self.subject, path, check::optional(&from.subject, 200)),
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    /// Whether both have a family name in common, and one day of birth, where both say so.
    fn likeness(&self, other: &Model) -> (bool, bool) {
        let families = |row: &Model| -> Vec<String> {
            let all = row.names.0.iter().map(|name| name.family.to_lowercase());
            all.filter(|family| !family.is_empty()).collect()
        };
        let (ours, theirs) = (families(self), families(other));
        let unnamed = ours.is_empty() || theirs.is_empty();
        let named = unnamed || ours.iter().any(|family| theirs.contains(family));
        let unborn = self.birth_date.is_none() || other.birth_date.is_none();
        (named, unborn || self.birth_date == other.birth_date)
    }

    /// Whether both may be one person: nothing differs of what both say of birth and family name.
    fn may_be(&self, other: &Model) -> bool {
        self.likeness(other) == (true, true)
    }

    /// Whether both are two persons, whatever number they share. People marry, and dates are corrected; not both at once.
    fn is_another(&self, other: &Model) -> bool {
        self.likeness(other) == (false, false)
    }

    /// The fields in which two rows differ, as the mask names them.
    fn changes(&self, other: &Model) -> Vec<String> {
        let fields = [
            ("identifiers", self.identifiers != other.identifiers),
            ("names", self.names != other.names),
            ("gender", self.gender != other.gender),
            ("birth_date", self.birth_date != other.birth_date),
            ("deceased", (self.deceased, self.deceased_at) != (other.deceased, other.deceased_at)),
            ("telecoms", self.telecoms != other.telecoms),
            ("addresses", self.addresses != other.addresses),
            ("communications", self.communications != other.communications),
            ("time_zone", self.time_zone != other.time_zone),
            ("subject", self.subject != other.subject),
            ("state", self.state != other.state),
        ];
        fields
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(field, _)| field.to_owned())
            .collect()
    }
}

/// Who a patient signs in as opens the record to that subject, so those who see all patients say it: anybody else
/// could make themselves the patient.
fn vouched(ctx: &Ctx, before: Option<&str>, subject: &str, bad: &mut Violations) {
    if before.unwrap_or_default() != subject && ctx.caller.reach != Reach::Organization {
        bad.add("patient.subject", "is set by a supervisor or an integration");
    }
}

pub fn birth_date(from: &Option<Date>, now: Time) -> Checked<Option<Json<PartialDate>>> {
    let Some(date) = data::partial_date(from)? else { return Ok(None) };
    if date.year < 1850 {
        return Err("is before 1850".to_owned());
    }
    let today = now.utc().date();
    let (month, day) = (date.month.max(1), date.day.max(1));
    if (date.year, month, day) > (today.year(), u8::from(today.month()).into(), today.day().into())
    {
        return Err("is in the future".to_owned());
    }
    Ok(Some(Json(date)))
}

pub fn communications(
    path: &str,
    from: &[pb::Communication],
    bad: &mut Violations,
) -> Json<Vec<Communication>> {
    Json(check::list(path, from, 0..=10, bad, |from, bad| {
        let language = bad.take("language", check::code(&from.language, 2..=35))?;
        Some(Communication { language, interpreter: from.interpreter })
    }))
}

pub async fn get(scope: &Scope, id: PatientId) -> Result<Model> {
    caseward_store::get(scope, Entity::of(&scope.ctx).filter(Column::Id.eq(id)), id).await
}

/// Whether there is such a patient, whom the caller need not be allowed to see: for whoever names one in an emergency.
pub async fn exists(scope: &Scope, id: PatientId) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "it answers no more than that the name is right")]
    let known = Entity::find()
        .filter(Column::Organization.eq(scope.ctx.organization()))
        .filter(Column::Id.eq(id))
        .filter(Column::State.is_in([State::Active, State::Inactive]));
    match known.count(&scope.db).await? {
        0 => Err(Error::NotFound(id.to_string())),
        _ => Ok(()),
    }
}

pub async fn list(
    scope: &Scope,
    wanted: Option<Identifier>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let mut select = Entity::of(&scope.ctx);
    if let Some(one) = wanted {
        select = identifier::held(scope, select, IDENTIFIED, &[one]).await?;
    }
    caseward_store::page(scope, select, page).await
}

/// Makes the patient that a caller asks for.
pub async fn register(tx: Tx, row: Model) -> Result<Model> {
    identifier::free::<Entity>(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    create(tx, row).await
}

async fn create(tx: Tx, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    identifier::claim(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    let period = Period { start: Some(tx.ctx.now()), end: Some(tx.ctx.now() + REGISTRATION) };
    relate(&tx, &row, tx.ctx.subject(), Basis::Registrar, period).await?;
    relate_subject(&tx, &row, None).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: row.id.to_string(),
        to: row.state.label(),
        ..Default::default()
    });
    tx.emit(
        row.id,
        row.revision,
        &pb::PatientCreated { patient: row.id.to_string(), revision: row.revision },
    );
    Ok(row)
}

pub async fn update(tx: Tx, id: PatientId, from: pb::Patient, mask: FieldMask) -> Result<Model> {
    let before = get(&tx, id).await?;
    caseward_store::expect(id, before.revision, &from.etag)?;
    let mut row = before.clone();
    let mut bad = Violations::default();
    for field in check::masked(&mask, &WRITABLE)? {
        row.take(field, &from, tx.ctx.now(), &mut bad);
        if field == "subject" {
            vouched(&tx.ctx, before.subject.as_deref(), &from.subject, &mut bad);
        }
    }
    bad.finish()?;
    if row.identifiers != before.identifiers {
        identifier::free::<Entity>(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
        identifier::replace(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    }
    store(&tx, before, row).await
}

/// Writes what differs, if anything does. Whose the identifiers are is the caller's to say.
async fn store(tx: &Tx, before: Model, row: Model) -> Result<Model> {
    let changed_fields = row.changes(&before);
    if changed_fields.is_empty() {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    if row.state != before.state {
        tx.log(Transition {
            entity: row.id.uuid(),
            name: row.id.to_string(),
            from: before.state.label(),
            to: row.state.label(),
            ..Default::default()
        });
    }
    if row.subject != before.subject {
        relate_subject(tx, &row, before.subject).await?;
    }
    let event =
        pb::PatientUpdated { patient: row.id.to_string(), revision: row.revision, changed_fields };
    tx.emit(row.id, row.revision, &event);
    Ok(row)
}

/// Makes each patient, or brings it up to date: found by any of its identifiers. One bad patient costs that one only.
pub async fn ingest(tx: Tx, patients: Vec<pb::Patient>) -> Result<pb::IngestPatientsResponse> {
    check::within(patients.len(), 1..=200).map_err(|why| Error::invalid("patients", why))?;
    let mut outcomes = Vec::with_capacity(patients.len());
    for from in patients {
        outcomes.push(match ingest_one(&tx, &from).await {
            Ok((action, row)) => data::taken(action, row.id),
            Err(Error::Invalid(violations)) => data::refused(violations),
            Err(other) => return Err(other),
        });
    }
    Ok(pb::IngestPatientsResponse { outcomes })
}

/// Where another system says that a record stands, where it does: in use or not. What else may become of one is decided
/// here.
fn loaded_state(from: pb::patient::State) -> Result<Option<State>> {
    match from {
        pb::patient::State::Unspecified => Ok(None),
        pb::patient::State::Active => Ok(Some(State::Active)),
        pb::patient::State::Inactive => Ok(Some(State::Inactive)),
        _ => Err(Error::invalid("patient.state", "is ACTIVE or INACTIVE in a load")),
    }
}

async fn ingest_one(tx: &Tx, from: &pb::Patient) -> Result<(Action, Model)> {
    let (mut draft, said) = check::all((Model::draft(&tx.ctx, from), loaded_state(from.state())))?;
    draft.state = said.unwrap_or(State::Active);
    if draft.identifiers.0.is_empty() {
        let why = "an ingested patient needs at least one";
        return Err(Error::invalid("patient.identifiers", why));
    }
    let Some(before) = same(tx, from, &mut draft).await? else {
        return Ok((Action::Created, create(tx.clone(), draft).await?));
    };
    vouch(tx, &before, &draft).await?;
    let row = Model {
        id: before.id,
        subject: draft.subject.clone().or(before.subject.clone()),
        // What another source knows of the person is kept.
        identifiers: Json(data::union(&before.identifiers.0, &draft.identifiers.0)),
        // A source that does not speak of a death denies none.
        deceased: before.deceased || draft.deceased,
        deceased_at: draft.deceased_at.or(before.deceased_at),
        time_zone: time_zone(&before.time_zone, &draft.time_zone),
        // What was merged, or never should have been, stays so.
        state: match (before.state, said) {
            (State::Active | State::Inactive, Some(said)) => said,
            (before, _) => before,
        },
        merged_into: before.merged_into,
        created_at: before.created_at,
        updated_at: before.updated_at,
        revision: before.revision,
        ..draft
    };
    let revision = before.revision;
    let row = store(tx, before, row).await?;
    let action = if row.revision == revision { Action::Unchanged } else { Action::Updated };
    Ok((action, row))
}

/// The patient that a load speaks of: who has the first of its identifiers, of which the source is surest, unless they
/// are plainly somebody else, as where two sources count from one; else who has another and may be the same person. An
/// identifier that is vouched to be somebody else's is left out; one that nobody vouches for makes nobody another's double.
async fn same(tx: &Tx, from: &pb::Patient, draft: &mut Model) -> Result<Option<Model>> {
    let owners = identifier::find(tx, IDENTIFIED, &draft.identifiers.0).await?;
    let mut alike = vec![];
    for id in &owners {
        alike.push(get(tx, (*id).into()).await?);
    }
    let surest = from.identifiers.first().cloned().unwrap_or_default();
    let surest = data::Identifier { system: surest.system, value: surest.value };
    let vouched = identifier::holders(&tx.ctx, IDENTIFIED, &[surest])
        .filter(identifier::Column::Vouched.eq(true));
    match vouched.one(&tx.db).await?.map(|holder| holder.resource) {
        Some(id) if !alike.iter().any(|one| one.id.uuid() == id && one.is_another(draft)) => {
            alike.retain(|one| one.id.uuid() == id);
        }
        _ => alike.retain(|one| one.may_be(draft)),
    }
    if alike.len() > 1 {
        return Err(Error::invalid("patient.identifiers", "belong to more than one patient"));
    }
    let found = alike.pop();
    if owners.iter().any(|id| found.as_ref().is_none_or(|one| one.id.uuid() != *id)) {
        let mut own = vec![];
        for each in std::mem::take(&mut draft.identifiers.0) {
            let one = std::slice::from_ref(&each);
            let owner = identifier::find(tx, IDENTIFIED, one).await?;
            let theirs =
                owner.iter().all(|id| found.as_ref().is_some_and(|one| one.id.uuid() == *id));
            if theirs || !identifier::are_vouched(tx, IDENTIFIED, one).await? {
                own.push(each);
            }
        }
        draft.identifiers = Json(own);
    }
    if found.is_none() && draft.identifiers.0.is_empty() {
        return Err(Error::invalid("patient.identifiers", "belong to another person"));
    }
    Ok(found)
}

/// The time zone after a load: FHIR has no place for one, so what staff chose stays where a source says none.
pub fn time_zone(before: &str, said: &str) -> String {
    if said.is_empty() { before.to_owned() } else { said.to_owned() }
}

/// Vouches for the identifiers that a load says, and for no other that is on record: it may be mistyped, and somebody
/// else's.
async fn vouch(tx: &Tx, before: &Model, draft: &Model) -> Result<()> {
    let said = draft.identifiers.0.iter().cloned();
    let (known, new): (Vec<_>, Vec<_>) = said.partition(|one| before.identifiers.0.contains(one));
    identifier::vouch(tx, IDENTIFIED, before.id.uuid(), &known).await?;
    identifier::claim(tx, IDENTIFIED, before.id.uuid(), &new).await
}

/// The patient reaches their own record with the subject with which they sign in, and with no former one.
async fn relate_subject(tx: &Tx, row: &Model, former: Option<String>) -> Result<()> {
    let now = tx.ctx.now();
    let (subject, end) = match (&row.subject, former) {
        (Some(subject), _) => (subject.clone(), None),
        (None, Some(former)) => (former, Some(now)),
        (None, None) => return Ok(()),
    };
    relate(tx, row, &subject, Basis::Patient, Period { start: Some(now), end }).await
}

async fn relate(tx: &Tx, row: &Model, subject: &str, basis: Basis, period: Period) -> Result<()> {
    let (patient, source, name) = (row.id, row.id.uuid(), row.id.to_string());
    let revision = row.revision;
    let grant = relations::Grant { patient, subject, basis, source, name, revision, period };
    relations::grant(tx, grant).await
}

// === wire ===

impl From<Model> for pb::Patient {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            names,
            gender,
            birth_date,
            deceased,
            deceased_at,
            telecoms,
            addresses,
            communications,
            time_zone,
            subject,
            state,
            merged_into,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Patient {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            names: data::wire(names),
            gender,
            birth_date: birth_date.map(|date| date.0.into()),
            deceased_time: deceased_at.map(Into::into),
            deceased,
            telecoms: data::wire(telecoms),
            addresses: data::wire(addresses),
            communications: data::wire(communications),
            time_zone,
            subject: subject.unwrap_or_default(),
            state: pb::patient::State::from(state).into(),
            merged_into: merged_into.map(|id| id.to_string()).unwrap_or_default(),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Communication> for pb::Communication {
    fn from(Communication { language, interpreter }: Communication) -> Self {
        pb::Communication { language, interpreter }
    }
}

impl From<State> for pb::patient::State {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Inactive => Self::Inactive,
            State::Merged => Self::Merged,
            State::EnteredInError => Self::EnteredInError,
        }
    }
}
