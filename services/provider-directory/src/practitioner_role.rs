//! What practitioners do for organizations: the row, its rules, its queries.
use std::str::FromStr;

use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{
    Ctx, Id, Kind, Result, Time, Violations, check,
    data::{self, Concept, ContactPoint, Identifier, Json, Period},
};
use caseward_store::Resource;
use sea_orm::entity::prelude::*;

use crate::{
    healthcare_service::HealthcareServiceId,
    likeness::Traits,
    list::Filter,
    location::LocationId,
    organization::{Organization, OrganizationId},
    parts::{self, Absence, Availability, NewPatients, Qualification},
    practitioner::{Practitioner, PractitionerId},
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct PractitionerRole;
impl Kind for PractitionerRole {
    const COLLECTION: &'static str = "practitionerRoles";
}
pub type PractitionerRoleId = Id<PractitionerRole>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "practitioner_role")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PractitionerRoleId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub practitioner: Option<PractitionerId>,
    /// For whom; `organization` is the tenant.
    pub for_organization: Option<OrganizationId>,
    pub roles: Json<Vec<Concept>>,
    pub specialties: Json<Vec<Concept>>,
    pub locations: Json<Vec<LocationId>>,
    pub healthcare_services: Json<Vec<HealthcareServiceId>>,
    pub networks: Json<Vec<OrganizationId>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub period: Json<Period>,
    pub hours: Json<Vec<Availability>>,
    pub absences: Json<Vec<Absence>>,
    pub hours_exceptions: String,
    pub new_patients: Json<Vec<NewPatients>>,
    pub qualifications: Json<Vec<Qualification>>,
    pub verification: Json<Verification>,
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
            reason = "the one place where a query of practitioner roles begins"
        )]
        Self::find().filter(Column::Organization.eq(ctx.organization()))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(_row: &Model) -> Option<Uuid> {
        None
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

impl Record for Entity {
    type Kind = PractitionerRole;
    type Wire = pb::PractitionerRole;
    const FIELD: &'static str = "practitioner_role";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "practitioner",
        "organization",
        "roles",
        "specialties",
        "locations",
        "healthcare_services",
        "networks",
        "telecoms",
        "period",
        "hours",
        "absences",
        "hours_exceptions",
        "new_patients",
        "qualifications",
    ];

    fn blank(id: Uuid, ctx: &Ctx) -> Model {
        let now = ctx.now();
        Model {
            id: id.into(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            status: pb::RecordStatus::Active.into(),
            practitioner: None,
            for_organization: None,
            roles: Json::default(),
            specialties: Json::default(),
            locations: Json::default(),
            healthcare_services: Json::default(),
            networks: Json::default(),
            telecoms: Json::default(),
            period: Json::default(),
            hours: Json::default(),
            absences: Json::default(),
            hours_exceptions: String::new(),
            new_patients: Json::default(),
            qualifications: Json::default(),
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::PractitionerRole, taking: &mut Taking<'_>) {
        let Taking { path, refs, bad } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "practitioner" => row.practitioner = refs.one(path, &from.practitioner, bad),
            "organization" => row.for_organization = refs.one(path, &from.organization, bad),
            "roles" => row.roles = data::concepts(path, &from.roles, 20, bad),
            "specialties" => row.specialties = data::concepts(path, &from.specialties, 50, bad),
            "locations" => row.locations = refs.many(path, &from.locations, 100, bad),
            "healthcare_services" => {
                row.healthcare_services = refs.many(path, &from.healthcare_services, 100, bad)
            }
            "networks" => row.networks = refs.many(path, &from.networks, 200, bad),
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "period" => {
                row.period = Json(bad.take(path, data::period(&from.period)).unwrap_or_default())
            }
            "hours" => row.hours = parts::hours(path, &from.hours, bad),
            "absences" => row.absences = parts::absences(path, &from.absences, bad),
            "hours_exceptions" => bad.put(
                &mut row.hours_exceptions,
                path,
                check::text(&from.hours_exceptions, 0..=1000),
            ),
            "new_patients" => {
                row.new_patients = parts::new_patients(path, &from.new_patients, refs, bad)
            }
            "qualifications" => {
                row.qualifications = parts::qualifications(path, &from.qualifications, bad)
            }
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn check(row: &mut Model, bad: &mut Violations) {
        if row.practitioner.is_none() && row.for_organization.is_none() && bad.is_empty() {
            bad.add(
                "practitioner_role.practitioner",
                "a role has a practitioner or an organization",
            );
        }
    }

    fn columns(field: &str) -> Vec<Column> {
        match field {
            // The column of this name is the tenant.
            "organization" => vec![Column::ForOrganization],
            field => Column::from_str(field).into_iter().collect(),
        }
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.values(row.practitioner.map(|id| id.to_string()));
        traits.values(row.for_organization.map(|id| id.to_string()));
        traits.codes(&row.roles.0);
    }

    fn terms(row: &Model, terms: &mut Terms) {
        terms.codes("specialty", &row.specialties.0);
    }

    fn sent(from: &pb::PractitionerRole) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::PractitionerRole) -> &[types::Identifier] {
        &from.identifiers
    }
    fn identifiers(row: &mut Model) -> &mut Vec<Identifier> {
        &mut row.identifiers.0
    }
    fn verification(row: &mut Model) -> &mut Verification {
        &mut row.verification.0
    }
}

/// The practitioner roles that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListPractitionerRolesRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .naming::<Practitioner>("practitioner", Column::Practitioner, &req.practitioner)
        .naming::<Organization>("organization", Column::ForOrganization, &req.organization)
        .code("specialty", "specialty", &req.specialty)
        .finish()
}

// === wire ===

impl From<Model> for pb::PractitionerRole {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            practitioner,
            for_organization,
            roles,
            specialties,
            locations,
            healthcare_services,
            networks,
            telecoms,
            period,
            hours,
            absences,
            hours_exceptions,
            new_patients,
            qualifications,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::PractitionerRole {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            practitioner: practitioner.map(|id| id.to_string()).unwrap_or_default(),
            organization: for_organization.map(|id| id.to_string()).unwrap_or_default(),
            roles: data::wire(roles),
            specialties: data::wire(specialties),
            locations: locations.0.iter().map(ToString::to_string).collect(),
            healthcare_services: healthcare_services.0.iter().map(ToString::to_string).collect(),
            networks: networks.0.iter().map(ToString::to_string).collect(),
            telecoms: data::wire(telecoms),
            period: parts::period(period.0),
            hours: data::wire(hours),
            absences: data::wire(absences),
            hours_exceptions,
            new_patients: data::wire(new_patients),
            qualifications: data::wire(qualifications),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
