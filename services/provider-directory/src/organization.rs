//! Organizations and networks: the row, its rules, its queries.
use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{
    Ctx, Id, Kind, Result, Time, check,
    data::{self, Address, Concept, ContactPoint, Identifier, Json},
};
use caseward_store::Resource;
use sea_orm::entity::prelude::*;

use crate::{
    likeness::Traits,
    list::Filter,
    location::LocationId,
    parts::{self, Position, Qualification},
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct Organization;
impl Kind for Organization {
    const COLLECTION: &'static str = "organizations";
}
pub type OrganizationId = Id<Organization>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "organization")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OrganizationId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub types: Json<Vec<Concept>>,
    pub display_name: String,
    pub aliases: Json<Vec<String>>,
    pub description: String,
    pub specialties: Json<Vec<Concept>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub addresses: Json<Vec<Address>>,
    pub part_of: Option<OrganizationId>,
    pub locations: Json<Vec<LocationId>>,
    pub qualifications: Json<Vec<Qualification>>,
    pub position: Option<Json<Position>>,
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
            reason = "the one place where a query of organizations begins"
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
    type Kind = Organization;
    type Wire = pb::Organization;
    const FIELD: &'static str = "organization";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "types",
        "display_name",
        "aliases",
        "description",
        "specialties",
        "telecoms",
        "addresses",
        "part_of",
        "locations",
        "qualifications",
        "position",
    ];

    fn blank(id: Uuid, ctx: &Ctx) -> Model {
        let now = ctx.now();
        Model {
            id: id.into(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            status: pb::RecordStatus::Active.into(),
            types: Json::default(),
            display_name: String::new(),
            aliases: Json::default(),
            description: String::new(),
            specialties: Json::default(),
            telecoms: Json::default(),
            addresses: Json::default(),
            part_of: None,
            locations: Json::default(),
            qualifications: Json::default(),
            position: None,
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::Organization, taking: &mut Taking<'_>) {
        let Taking { path, refs, bad } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "types" => row.types = data::concepts(path, &from.types, 10, bad),
            "display_name" => {
                bad.put(&mut row.display_name, path, check::text(&from.display_name, 1..=300))
            }
            "aliases" => row.aliases = parts::texts(path, &from.aliases, 20, bad),
            "description" => {
                bad.put(&mut row.description, path, check::text(&from.description, 0..=4000))
            }
            "specialties" => row.specialties = data::concepts(path, &from.specialties, 50, bad),
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "addresses" => row.addresses = data::addresses(path, &from.addresses, 20, bad),
            "part_of" => row.part_of = refs.one(path, &from.part_of, bad),
            "locations" => row.locations = refs.many(path, &from.locations, 500, bad),
            "qualifications" => {
                row.qualifications = parts::qualifications(path, &from.qualifications, bad)
            }
            "position" => bad.put(
                &mut row.position,
                path,
                parts::position(&from.position).map(|at| at.map(Json)),
            ),
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.names(std::iter::once(&row.display_name).chain(&row.aliases.0));
        traits.codes(&row.types.0);
        traits.places(&row.addresses.0);
    }

    fn terms(row: &Model, terms: &mut Terms) {
        terms.name(&row.display_name);
        row.aliases.0.iter().for_each(|alias| terms.name(alias));
        terms.codes("type", &row.types.0);
        row.addresses.0.iter().for_each(|address| terms.postal(address));
    }

    fn sent(from: &pb::Organization) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::Organization) -> &[types::Identifier] {
        &from.identifiers
    }
    fn identifiers(row: &mut Model) -> &mut Vec<Identifier> {
        &mut row.identifiers.0
    }
    fn verification(row: &mut Model) -> &mut Verification {
        &mut row.verification.0
    }
}

/// The organizations that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListOrganizationsRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .name_prefix(&req.name_prefix, 300)
        .code("type", "type", &req.r#type)
        .postal_code(&req.postal_code)
        .finish()
}

// === wire ===

impl From<Model> for pb::Organization {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            types,
            display_name,
            aliases,
            description,
            specialties,
            telecoms,
            addresses,
            part_of,
            locations,
            qualifications,
            position,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Organization {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            types: data::wire(types),
            display_name,
            aliases: aliases.0,
            description,
            specialties: data::wire(specialties),
            telecoms: data::wire(telecoms),
            addresses: data::wire(addresses),
            part_of: part_of.map(|id| id.to_string()).unwrap_or_default(),
            locations: locations.0.iter().map(ToString::to_string).collect(),
            qualifications: data::wire(qualifications),
            position: position.map(|at| at.0.into()),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
