//! Plans that pay for care: the row, its rules, its queries.
use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{
    Ctx, Id, Kind, Result, Time, check,
    data::{self, Concept, ContactPoint, Identifier, Json, Period},
};
use caseward_store::Resource;
use sea_orm::entity::prelude::*;

use crate::{
    likeness::Traits,
    list::Filter,
    location::LocationId,
    organization::{Organization, OrganizationId},
    parts,
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct InsurancePlan;
impl Kind for InsurancePlan {
    const COLLECTION: &'static str = "insurancePlans";
}
pub type InsurancePlanId = Id<InsurancePlan>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "insurance_plan")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InsurancePlanId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub display_name: String,
    pub aliases: Json<Vec<String>>,
    pub types: Json<Vec<Concept>>,
    pub plan_types: Json<Vec<Concept>>,
    pub owned_by: Option<OrganizationId>,
    pub administered_by: Option<OrganizationId>,
    pub coverage_areas: Json<Vec<LocationId>>,
    pub networks: Json<Vec<OrganizationId>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub period: Json<Period>,
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
            reason = "the one place where a query of insurance plans begins"
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
    type Kind = InsurancePlan;
    type Wire = pb::InsurancePlan;
    const FIELD: &'static str = "insurance_plan";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "display_name",
        "aliases",
        "types",
        "plan_types",
        "owned_by",
        "administered_by",
        "coverage_areas",
        "networks",
        "telecoms",
        "period",
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
            types: Json::default(),
            plan_types: Json::default(),
            owned_by: None,
            administered_by: None,
            coverage_areas: Json::default(),
            networks: Json::default(),
            telecoms: Json::default(),
            period: Json::default(),
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::InsurancePlan, taking: &mut Taking<'_>) {
        let Taking { path, refs, bad } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "display_name" => {
                bad.put(&mut row.display_name, path, check::text(&from.display_name, 1..=300))
            }
            "aliases" => row.aliases = parts::texts(path, &from.aliases, 20, bad),
            "types" => row.types = data::concepts(path, &from.types, 10, bad),
            "plan_types" => row.plan_types = data::concepts(path, &from.plan_types, 20, bad),
            "owned_by" => row.owned_by = refs.one(path, &from.owned_by, bad),
            "administered_by" => row.administered_by = refs.one(path, &from.administered_by, bad),
            "coverage_areas" => {
                row.coverage_areas = refs.many(path, &from.coverage_areas, 200, bad)
            }
            "networks" => row.networks = refs.many(path, &from.networks, 200, bad),
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "period" => {
                row.period = Json(bad.take(path, data::period(&from.period)).unwrap_or_default())
            }
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.names(std::iter::once(&row.display_name).chain(&row.aliases.0));
        traits.values(row.owned_by.map(|id| id.to_string()));
        traits.codes(&row.types.0);
    }

    fn terms(row: &Model, terms: &mut Terms) {
        terms.name(&row.display_name);
        row.aliases.0.iter().for_each(|alias| terms.name(alias));
    }

    fn sent(from: &pb::InsurancePlan) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::InsurancePlan) -> &[types::Identifier] {
        &from.identifiers
    }
    fn identifiers(row: &mut Model) -> &mut Vec<Identifier> {
        &mut row.identifiers.0
    }
    fn verification(row: &mut Model) -> &mut Verification {
        &mut row.verification.0
    }
}

/// The insurance plans that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListInsurancePlansRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .name_prefix(&req.name_prefix, 300)
        .naming::<Organization>("owned_by", Column::OwnedBy, &req.owned_by)
        .finish()
}

// === wire ===

impl From<Model> for pb::InsurancePlan {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            display_name,
            aliases,
            types,
            plan_types,
            owned_by,
            administered_by,
            coverage_areas,
            networks,
            telecoms,
            period,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::InsurancePlan {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            display_name,
            aliases: aliases.0,
            types: data::wire(types),
            plan_types: data::wire(plan_types),
            owned_by: owned_by.map(|id| id.to_string()).unwrap_or_default(),
            administered_by: administered_by.map(|id| id.to_string()).unwrap_or_default(),
            coverage_areas: coverage_areas.0.iter().map(ToString::to_string).collect(),
            networks: networks.0.iter().map(ToString::to_string).collect(),
            telecoms: data::wire(telecoms),
            period: parts::period(period.0),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
