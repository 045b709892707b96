//! Members of the care team, each for a time. A member with a subject sees the patient while the membership lasts.
use caseward_api::careplan::v1 as pb;
use caseward_core::{
    Ctx, Error, Id, Kind, Page, Result, Time, Violations, check,
    data::{self, Concept, Identifier, Json, Period},
};
use caseward_server::relation::told;
use caseward_store::{
    Basis, Resource, Scope, Tx,
    relation::{self, Topic},
};
use sea_orm::entity::prelude::*;

use crate::{
    case::{self, CaseId, PatientId, When},
    kin::Kin,
    timeline::{self, Detail},
};

#[derive(Debug)]
pub struct Member;
impl Kind for Member {
    const COLLECTION: &'static str = "members";
}
pub type MemberId = Id<Member>;
pub type MemberName = (CaseId, MemberId);

/// The role of whoever is accountable.
pub const MANAGER: &str = "Case manager";
/// The role of whoever made the case.
pub const REGISTRAR: &str = "Registrar";
/// The role of whoever was asked to take over.
pub const RECEIVER: &str = "Receiving case manager";

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "member")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MemberId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub identifiers: Json<Vec<Identifier>>,
    /// With which the member signs in; empty where they do not.
    pub person: String,
    pub display: String,
    pub role: Json<Concept>,
    pub practitioner: String,
    pub related_person: String,
    pub works_for: String,
    pub works_for_display: String,
    pub starts_at: Option<Time>,
    pub ends_at: Option<Time>,
    pub end_reason: String,
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
            reason = "the one place where a query of members begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_in(ctx, Column::Patient, &[Topic::Plan]))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.name()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    fn blank(ctx: &Ctx, case: &case::Model) -> Self {
        let now = ctx.now();
        Model {
            id: MemberId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            identifiers: Json::default(),
            person: String::new(),
            display: String::new(),
            role: Json::default(),
            practitioner: String::new(),
            related_person: String::new(),
            works_for: String::new(),
            works_for_display: String::new(),
            starts_at: Some(now),
            ends_at: None,
            end_reason: String::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// A new row of `case` with every field of `from` checked.
    pub fn draft(ctx: &Ctx, case: &case::Model, from: &pb::Member) -> Result<Self> {
        let mut row = Self::blank(ctx, case);
        let mut bad = Violations::default();
        row.identifiers = data::identifiers("member.identifiers", &from.identifiers, 20, &mut bad);
        bad.put(&mut row.person, "member.person", check::text(&from.person, 0..=200));
        bad.put(&mut row.display, "member.display", check::text(&from.display, 0..=300));
        row.role = Json(data::concept("member.role", &from.role, &mut bad).unwrap_or_default());
        bad.put(
            &mut row.practitioner,
            "member.practitioner",
            check::text(&from.practitioner, 0..=200),
        );
        bad.put(
            &mut row.works_for,
            "member.organization",
            check::text(&from.organization, 0..=200),
        );
        let display = check::text(&from.organization_display, 0..=300);
        bad.put(&mut row.works_for_display, "member.organization_display", display);
        if !from.related_person.is_empty()
            && !from.related_person.starts_with(&format!("{}/relatedPersons/", case.patient))
        {
            bad.add("member.related_person", "wants a related person of the patient");
        }
        row.related_person.clone_from(&from.related_person);
        if let Some(Period { start, end }) = bad.take("member.period", data::period(&from.period)) {
            row.starts_at = Some(start.unwrap_or(ctx.now()));
            row.ends_at = end;
        }
        if [
            &from.person,
            &from.display,
            &from.practitioner,
            &from.related_person,
            &from.organization,
        ]
        .iter()
        .all(|who| who.is_empty())
        {
            bad.add(
                "member",
                "wants a person, a display, a practitioner, a related person or an organization",
            );
        }
        bad.finish()?;
        Ok(row)
    }
}

pub async fn get(scope: &Scope, (case, id): MemberName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    case: CaseId,
    at: Option<Time>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case));
    if let Some(at) = at {
        select = select.filter(Column::StartsAt.lte(at)).filter(
            sea_orm::Condition::any().add(Column::EndsAt.is_null()).add(Column::EndsAt.gt(at)),
        );
    }
    caseward_store::page(scope, select, page).await
}

pub async fn add(tx: Tx, case: CaseId, from: pb::Member, kin: Kin) -> Result<Model> {
    let case = case::open(&tx, case).await?;
    let known = kin.known().map_err(|why| Error::invalid("member.related_person", why));
    let (row, ()) = check::all((Model::draft(&tx.ctx, &case, &from), known))?;
    insert(&tx, &case, row).await
}

/// Stores a checked row, with its history and the relation that it grants.
pub async fn insert(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    relate(tx, case, &row).await?;
    timeline::add(tx, case, "MEMBER_ADDED", row.name()).await?;
    Ok(row)
}

/// Stores a row that a load changed, with its history and the relation that it grants.
pub async fn amend(tx: &Tx, case: &case::Model, row: Model) -> Result<Model> {
    let row = caseward_store::update::<Entity>(tx, row).await?;
    relate(tx, case, &row).await?;
    timeline::add(tx, case, "MEMBER_UPDATED", row.name()).await?;
    Ok(row)
}

/// Makes `person` a member in `role`, unless they are.
pub async fn ensure(tx: &Tx, case: &case::Model, person: &str, role: &str) -> Result<()> {
    if current(tx, case.id, person, role).await?.is_empty() {
        let role = Json(Concept { text: role.to_owned(), codings: vec![] });
        let row = Model { person: person.to_owned(), role, ..Model::blank(&tx.ctx, case) };
        insert(tx, case, row).await?;
    }
    Ok(())
}

/// Ends the memberships of `person` in `role`.
pub async fn dismiss(
    tx: &Tx,
    case: &case::Model,
    person: &str,
    role: &str,
    reason: &str,
) -> Result<()> {
    for row in current(tx, case.id, person, role).await? {
        let now = When::now(&tx.ctx);
        let at = now.after(row.starts_at).unwrap_or(now).at;
        finish(tx, case, row, at, reason.to_owned()).await?;
    }
    Ok(())
}

async fn current(tx: &Tx, case: CaseId, person: &str, role: &str) -> Result<Vec<Model>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a rule of the case asks, which may act for somebody not on the team yet"
    )]
    let rows = Entity::find()
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::CaseId.eq(case))
        .filter(Column::Person.eq(person))
        .filter(Column::EndsAt.is_null())
        .all(&tx.db)
        .await?;
    Ok(rows.into_iter().filter(|row| row.role.0.text == role).collect())
}

pub async fn end(
    tx: Tx,
    name: MemberName,
    etag: String,
    reason: String,
    at: Option<Time>,
) -> Result<Model> {
    let row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::hold(&tx, name.0).await?;
    if row.ends_at.is_some_and(|ends| ends <= tx.ctx.now() || Some(ends) == row.starts_at) {
        return Err(Error::precondition("MEMBER_ENDED", format!("{} ended", row.name())));
    }
    if case.accountable.as_deref() == Some(&row.person) && row.role.0.text == MANAGER {
        let why = "is accountable for the case; hand the case over first";
        return Err(Error::precondition("MEMBER_ACCOUNTABLE", format!("{} {why}", row.name())));
    }
    let when = When::of(at, tx.ctx.now());
    let mut bad = Violations::default();
    if when.at > tx.ctx.now() {
        bad.add("end_time", "is in the future");
    }
    // One that was still to begin ends in the moment in which it would have, and so never was.
    let ahead = row.starts_at.filter(|starts| at.is_none() && *starts > tx.ctx.now());
    let ends = ahead.or(when.after(row.starts_at).map(|when| when.at));
    if ends.is_none() {
        bad.add("end_time", "is before the membership began");
    }
    let reason = bad.take("reason", check::text(&reason, 0..=1000)).unwrap_or_default();
    bad.finish()?;
    finish(&tx, &case, row, ends.unwrap_or(when.at), reason).await
}

async fn finish(
    tx: &Tx,
    case: &case::Model,
    mut row: Model,
    at: Time,
    reason: String,
) -> Result<Model> {
    row.ends_at = Some(at);
    row.end_reason = reason;
    let row = caseward_store::update::<Entity>(tx, row).await?;
    relate(tx, case, &row).await?;
    let detail = Detail { reason: row.end_reason.clone(), ..Detail::default() };
    timeline::tell(tx, case, "MEMBER_ENDED", row.name(), detail).await?;
    Ok(row)
}

/// What the membership allows its person to see, here at once and elsewhere by event.
async fn relate(tx: &Tx, case: &case::Model, row: &Model) -> Result<()> {
    let period = Some(Period { start: row.starts_at, end: row.ends_at }.into());
    let (member, patient, revision) = (row.name(), row.patient.to_string(), row.revision);
    let event = pb::MemberChanged {
        member: member.clone(),
        case: case.id.to_string(),
        patient: patient.clone(),
        revision,
        person: row.person.clone(),
        period,
    };
    tx.emit(row.name(), revision, &event);
    if row.person.is_empty() {
        return Ok(());
    }
    let relation = relation::Model {
        source: relation::key(row.id.uuid(), Basis::Team),
        organization: row.organization,
        subject: row.person.clone(),
        patient: row.patient.uuid(),
        basis: Basis::Team,
        starts_at: row.starts_at.unwrap_or(tx.ctx.now()),
        ends_at: row.ends_at,
        revision,
        topics: 0,
        narrowed_at: None,
    };
    let event = told(&relation, patient, member);
    relation::put(tx, relation, tx.ctx.now()).await?;
    tx.emit(row.name(), revision, &event);
    Ok(())
}

// === wire ===

impl From<Model> for pb::Member {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id: _,
            identifiers,
            person,
            display,
            role,
            practitioner,
            related_person,
            works_for,
            works_for_display,
            starts_at,
            ends_at,
            end_reason,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Member {
            name,
            identifiers: data::wire(identifiers),
            person,
            display,
            role: Some(role.0.into()),
            practitioner,
            related_person,
            organization: works_for,
            organization_display: works_for_display,
            period: Some(Period { start: starts_at, end: ends_at }.into()),
            end_reason,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
