//! People who provide care: the row, its rules, its queries.
use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{
    Ctx, Id, Kind, Result, Time,
    data::{self, Address, Concept, ContactPoint, HumanName, Identifier, Json},
};
use caseward_store::Resource;
use sea_orm::entity::prelude::*;

use crate::{
    likeness::Traits,
    list::Filter,
    parts::{self, Qualification},
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct Practitioner;
impl Kind for Practitioner {
    const COLLECTION: &'static str = "practitioners";
}
pub type PractitionerId = Id<Practitioner>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "practitioner")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PractitionerId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub names: Json<Vec<HumanName>>,
    pub gender: i32,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub addresses: Json<Vec<Address>>,
    pub languages: Json<Vec<String>>,
    pub specialties: Json<Vec<Concept>>,
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
            reason = "the one place where a query of practitioners begins"
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
    type Kind = Practitioner;
    type Wire = pb::Practitioner;
    const FIELD: &'static str = "practitioner";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "names",
        "gender",
        "telecoms",
        "addresses",
        "languages",
        "specialties",
        "qualifications",
    ];

    fn blank(id: Uuid, ctx: &Ctx) -> Model {
        let now = ctx.now();
        Model {
            id: id.into(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            status: pb::RecordStatus::Active.into(),
            names: Json::default(),
            gender: 0,
            telecoms: Json::default(),
            addresses: Json::default(),
            languages: Json::default(),
            specialties: Json::default(),
            qualifications: Json::default(),
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::Practitioner, taking: &mut Taking<'_>) {
        let Taking { path, bad, .. } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "names" => row.names = data::names(path, &from.names, 1..=20, bad),
            "gender" => {
                bad.put(&mut row.gender, path, data::enumeration::<pb::Gender>(from.gender))
            }
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "addresses" => row.addresses = data::addresses(path, &from.addresses, 20, bad),
            "languages" => row.languages = parts::languages(path, &from.languages, bad),
            "specialties" => row.specialties = data::concepts(path, &from.specialties, 50, bad),
            "qualifications" => {
                row.qualifications = parts::qualifications(path, &from.qualifications, bad)
            }
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.person(&row.names.0);
        let gender = (row.gender != 0).then(|| row.gender.to_string());
        traits.values(gender);
    }

    fn terms(row: &Model, terms: &mut Terms) {
        row.names.0.iter().for_each(|name| terms.name(&name.family));
        terms.codes("specialty", &row.specialties.0);
        row.addresses.0.iter().for_each(|address| terms.postal(address));
    }

    fn sent(from: &pb::Practitioner) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::Practitioner) -> &[types::Identifier] {
        &from.identifiers
    }
    fn identifiers(row: &mut Model) -> &mut Vec<Identifier> {
        &mut row.identifiers.0
    }
    fn verification(row: &mut Model) -> &mut Verification {
        &mut row.verification.0
    }
}

/// The practitioners that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListPractitionersRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .name_prefix(&req.name_prefix, 100)
        .code("specialty", "specialty", &req.specialty)
        .postal_code(&req.postal_code)
        .finish()
}

// === wire ===

impl From<Model> for pb::Practitioner {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            names,
            gender,
            telecoms,
            addresses,
            languages,
            specialties,
            qualifications,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Practitioner {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            names: data::wire(names),
            gender,
            telecoms: data::wire(telecoms),
            addresses: data::wire(addresses),
            languages: languages.0,
            specialties: data::wire(specialties),
            qualifications: data::wire(qualifications),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
