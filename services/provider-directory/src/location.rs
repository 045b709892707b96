//! Places where care happens: the row, its rules, its queries.
use std::str::FromStr;

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
    organization::{Organization, OrganizationId},
    parts::{self, Availability, NewPatients, Position},
    postal_code,
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct Location;
impl Kind for Location {
    const COLLECTION: &'static str = "locations";
}
pub type LocationId = Id<Location>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "location")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: LocationId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub display_name: String,
    pub aliases: Json<Vec<String>>,
    pub description: String,
    pub types: Json<Vec<Concept>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub address: Option<Json<Address>>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub managing_organization: Option<OrganizationId>,
    pub part_of: Option<LocationId>,
    pub hours: Json<Vec<Availability>>,
    pub hours_exceptions: String,
    pub new_patients: Json<Vec<NewPatients>>,
    pub accessibility: Json<Vec<Concept>>,
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
            reason = "the one place where a query of locations begins"
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
    type Kind = Location;
    type Wire = pb::Location;
    const FIELD: &'static str = "location";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "display_name",
        "aliases",
        "description",
        "types",
        "telecoms",
        "address",
        "position",
        "managing_organization",
        "part_of",
        "hours",
        "hours_exceptions",
        "new_patients",
        "accessibility",
    ];

    fn blank(id: Uuid, ctx: &Ctx) -> Model {
        let now = ctx.now();
        Model {
            id: id.into(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            status: pb::RecordStatus::Active.into(),
            display_name: String::new(),
            aliases: Json::default(),
            description: String::new(),
            types: Json::default(),
            telecoms: Json::default(),
            address: None,
            latitude: None,
            longitude: None,
            managing_organization: None,
            part_of: None,
            hours: Json::default(),
            hours_exceptions: String::new(),
            new_patients: Json::default(),
            accessibility: Json::default(),
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::Location, taking: &mut Taking<'_>) {
        let Taking { path, refs, bad } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "display_name" => {
                bad.put(&mut row.display_name, path, check::text(&from.display_name, 1..=300))
            }
            "aliases" => row.aliases = parts::texts(path, &from.aliases, 20, bad),
            "description" => {
                bad.put(&mut row.description, path, check::text(&from.description, 0..=4000))
            }
            "types" => row.types = data::concepts(path, &from.types, 20, bad),
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "address" => row.put_address(data::optional_address(path, &from.address, bad)),
            "position" => {
                let said = bad.take(path, parts::position(&from.position)).flatten();
                row.stand(said.or(row.middle()));
            }
            "managing_organization" => {
                row.managing_organization = refs.one(path, &from.managing_organization, bad)
            }
            "part_of" => row.part_of = refs.one(path, &from.part_of, bad),
            "hours" => row.hours = parts::hours(path, &from.hours, bad),
            "hours_exceptions" => bad.put(
                &mut row.hours_exceptions,
                path,
                check::text(&from.hours_exceptions, 0..=1000),
            ),
            "new_patients" => {
                row.new_patients = parts::new_patients(path, &from.new_patients, refs, bad)
            }
            "accessibility" => {
                row.accessibility = data::concepts(path, &from.accessibility, 20, bad)
            }
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn columns(field: &str) -> Vec<Column> {
        match field {
            "position" => vec![Column::Latitude, Column::Longitude],
            field => Column::from_str(field).into_iter().collect(),
        }
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.names(std::iter::once(&row.display_name).chain(&row.aliases.0));
        traits.places(row.address.iter().map(|Json(address)| address));
    }

    fn terms(row: &Model, terms: &mut Terms) {
        terms.name(&row.display_name);
        row.aliases.0.iter().for_each(|alias| terms.name(alias));
        if let Some(Json(address)) = &row.address {
            terms.postal(address);
        }
    }

    fn sent(from: &pb::Location) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::Location) -> &[types::Identifier] {
        &from.identifiers
    }
    fn identifiers(row: &mut Model) -> &mut Vec<Identifier> {
        &mut row.identifiers.0
    }
    fn verification(row: &mut Model) -> &mut Verification {
        &mut row.verification.0
    }
}

impl Model {
    fn position(&self) -> Option<Position> {
        let both = self.latitude.zip(self.longitude);
        both.map(|(latitude, longitude)| Position { latitude, longitude })
    }

    /// Where its postal code is, in the country whose codes are known here.
    fn middle(&self) -> Option<Position> {
        let Json(address) = self.address.as_ref()?;
        let country = address.country.to_uppercase();
        let known = ["", "US", "USA", "UNITED STATES"].contains(&country.as_str());
        known.then(|| postal_code::middle(&address.postal_code)).flatten()
    }

    fn stand(&mut self, at: Option<Position>) {
        (self.latitude, self.longitude) =
            at.map(|Position { latitude, longitude }| (latitude, longitude)).unzip();
    }

    /// A position that came from the postal code moves with it.
    fn put_address(&mut self, address: Option<Json<Address>>) {
        let derived = self.position() == self.middle();
        self.address = address;
        if derived {
            self.stand(self.middle());
        }
    }
}

/// The locations that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListLocationsRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .name_prefix(&req.name_prefix, 300)
        .postal_code(&req.postal_code)
        .naming::<Organization>(
            "managing_organization",
            Column::ManagingOrganization,
            &req.managing_organization,
        )
        .finish()
}

// === wire ===

impl From<Model> for pb::Location {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            display_name,
            aliases,
            description,
            types,
            telecoms,
            address,
            latitude,
            longitude,
            managing_organization,
            part_of,
            hours,
            hours_exceptions,
            new_patients,
            accessibility,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Location {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            display_name,
            aliases: aliases.0,
            description,
            types: data::wire(types),
            telecoms: data::wire(telecoms),
            address: address.map(|address| address.0.into()),
            position: latitude
                .zip(longitude)
                .map(|(latitude, longitude)| Position { latitude, longitude }.into()),
            managing_organization: managing_organization
                .map(|id| id.to_string())
                .unwrap_or_default(),
            part_of: part_of.map(|id| id.to_string()).unwrap_or_default(),
            hours: data::wire(hours),
            hours_exceptions,
            new_patients: data::wire(new_patients),
            accessibility: data::wire(accessibility),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
