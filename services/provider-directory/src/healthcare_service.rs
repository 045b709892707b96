//! Services that people can be sent to: the row, its rules, its queries.
use caseward_api::{directory::v1 as pb, types::v1 as types};
use caseward_core::{
    Ctx, Id, Kind, Result, Time, Violations, check,
    data::{self, Concept, ContactPoint, Identifier, Json},
};
use caseward_store::Resource;
use sea_orm::entity::prelude::*;

use crate::{
    likeness::Traits,
    list::Filter,
    location::LocationId,
    organization::{Organization, OrganizationId},
    parts::{self, Absence, Availability, NewPatients},
    record::{Record, Taking},
    term::Terms,
    verification::Verification,
};

#[derive(Debug)]
pub struct HealthcareService;
impl Kind for HealthcareService {
    const COLLECTION: &'static str = "healthcareServices";
}
pub type HealthcareServiceId = Id<HealthcareService>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "healthcare_service")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: HealthcareServiceId,
    pub organization: Uuid,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub provided_by: Option<OrganizationId>,
    pub display_name: String,
    pub categories: Json<Vec<Concept>>,
    pub types: Json<Vec<Concept>>,
    pub specialties: Json<Vec<Concept>>,
    pub locations: Json<Vec<LocationId>>,
    pub description: String,
    pub programs: Json<Vec<Concept>>,
    pub telecoms: Json<Vec<ContactPoint>>,
    pub coverage_areas: Json<Vec<LocationId>>,
    pub eligibility: String,
    pub cost: String,
    pub languages: Json<Vec<String>>,
    pub delivery_methods: Json<Vec<Concept>>,
    pub referral_methods: Json<Vec<Concept>>,
    pub appointment_required: bool,
    pub hours: Json<Vec<Availability>>,
    pub absences: Json<Vec<Absence>>,
    pub hours_exceptions: String,
    pub new_patients: Json<Vec<NewPatients>>,
    pub networks: Json<Vec<OrganizationId>>,
    /// By which services are sorted: bytes, so that the order is the same on every database.
    pub sort_key: Vec<u8>,
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
            reason = "the one place where a query of healthcare services begins"
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
    type Kind = HealthcareService;
    type Wire = pb::HealthcareService;
    const FIELD: &'static str = "healthcare_service";
    const WRITABLE: &'static [&'static str] = &[
        "identifiers",
        "status",
        "provided_by",
        "display_name",
        "categories",
        "types",
        "specialties",
        "locations",
        "description",
        "programs",
        "telecoms",
        "coverage_areas",
        "eligibility",
        "cost",
        "languages",
        "delivery_methods",
        "referral_methods",
        "appointment_required",
        "hours",
        "absences",
        "hours_exceptions",
        "new_patients",
        "networks",
    ];

    fn blank(id: Uuid, ctx: &Ctx) -> Model {
        let now = ctx.now();
        Model {
            id: id.into(),
            organization: ctx.organization(),
            identifiers: Json::default(),
            status: pb::RecordStatus::Active.into(),
            provided_by: None,
            display_name: String::new(),
            categories: Json::default(),
            types: Json::default(),
            specialties: Json::default(),
            locations: Json::default(),
            description: String::new(),
            programs: Json::default(),
            telecoms: Json::default(),
            coverage_areas: Json::default(),
            eligibility: String::new(),
            cost: String::new(),
            languages: Json::default(),
            delivery_methods: Json::default(),
            referral_methods: Json::default(),
            appointment_required: false,
            hours: Json::default(),
            absences: Json::default(),
            hours_exceptions: String::new(),
            new_patients: Json::default(),
            networks: Json::default(),
            sort_key: vec![],
            verification: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    fn take(row: &mut Model, field: &str, from: &pb::HealthcareService, taking: &mut Taking<'_>) {
        let Taking { path, refs, bad } = taking;
        match field {
            "identifiers" => row.identifiers = data::identifiers(path, &from.identifiers, 50, bad),
            "status" => bad.put(&mut row.status, path, parts::status(from.status)),
            "provided_by" => row.provided_by = refs.one(path, &from.provided_by, bad),
            "display_name" => {
                bad.put(&mut row.display_name, path, check::text(&from.display_name, 0..=300))
            }
            "categories" => row.categories = data::concepts(path, &from.categories, 20, bad),
            "types" => row.types = data::concepts(path, &from.types, 50, bad),
            "specialties" => row.specialties = data::concepts(path, &from.specialties, 50, bad),
            "locations" => row.locations = refs.many(path, &from.locations, 500, bad),
            "description" => {
                bad.put(&mut row.description, path, check::text(&from.description, 0..=4000))
            }
            "programs" => row.programs = data::concepts(path, &from.programs, 20, bad),
            "telecoms" => row.telecoms = data::telecoms(path, &from.telecoms, 30, bad),
            "coverage_areas" => {
                row.coverage_areas = refs.many(path, &from.coverage_areas, 100, bad)
            }
            "eligibility" => {
                bad.put(&mut row.eligibility, path, check::text(&from.eligibility, 0..=4000))
            }
            "cost" => bad.put(&mut row.cost, path, check::text(&from.cost, 0..=1000)),
            "languages" => row.languages = parts::languages(path, &from.languages, bad),
            "delivery_methods" => {
                row.delivery_methods = data::concepts(path, &from.delivery_methods, 10, bad)
            }
            "referral_methods" => {
                row.referral_methods = data::concepts(path, &from.referral_methods, 20, bad)
            }
            "appointment_required" => row.appointment_required = from.appointment_required,
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
            "networks" => row.networks = refs.many(path, &from.networks, 200, bad),
            _ => bad.add("update_mask", format!("`{field}` cannot be set")),
        }
    }

    fn check(row: &mut Model, bad: &mut Violations) {
        let Some(name) = row.label() else {
            return bad.add(
                "healthcare_service.display_name",
                "a service has a name, a category or a type",
            );
        };
        row.sort_key = name.to_lowercase().into_bytes();
    }

    fn traits(row: &Model, traits: &mut Traits) {
        traits.names(row.label().map(str::to_owned).iter());
        traits.values(row.provided_by.map(|id| id.to_string()));
        traits.codes(&row.categories.0);
    }

    fn terms(row: &Model, terms: &mut Terms) {
        terms.name(&row.display_name);
        terms.words(&row.display_name);
        terms.words(&row.description);
        for concepts in [&row.categories.0, &row.types.0, &row.specialties.0] {
            terms.concept_words(concepts);
        }
        terms.codes("category", &row.categories.0);
        terms.codes("specialty", &row.specialties.0);
        row.languages.0.iter().for_each(|code| terms.exact("language", &code.to_lowercase()));
        terms.records("location", &row.locations.0);
        terms.records("network", &row.networks.0);
        row.accepting().into_iter().for_each(|network| terms.exact("accepting", &network));
    }

    fn sent(from: &pb::HealthcareService) -> (&str, &str) {
        (&from.name, &from.etag)
    }
    fn given(from: &pb::HealthcareService) -> &[types::Identifier] {
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
    /// What a person would call it.
    fn label(&self) -> Option<&str> {
        let concepts = self.categories.0.iter().chain(&self.types.0);
        let words = concepts.flat_map(|concept| {
            let codings = concept.codings.iter().flat_map(|each| [&each.display, &each.code]);
            std::iter::once(&concept.text).chain(codings)
        });
        std::iter::once(&self.display_name).chain(words).map(String::as_str).find(|s| !s.is_empty())
    }

    /// The networks in which it takes new patients; `*` where it takes those of no network in particular.
    fn accepting(&self) -> Vec<String> {
        let said = |network| self.new_patients.0.iter().find(|each| each.network == network);
        let takes = |network| said(network).is_some_and(NewPatients::takes_them);
        let named = self.new_patients.0.iter().filter_map(|each| each.network);
        let networks = self.networks.0.iter().copied().chain(named);
        // What is said of one network goes before what is said of all.
        let open =
            networks.filter(|id| said(Some(*id)).map_or(takes(None), NewPatients::takes_them));
        let general = takes(None).then(|| "*".to_owned());
        open.map(|id| id.uuid().to_string()).chain(general).collect()
    }
}

/// The healthcare services that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListHealthcareServicesRequest) -> Result<Select<Entity>> {
    Filter::<Entity>::new(ctx)
        .identifier(&req.identifier)
        .name_prefix(&req.name_prefix, 300)
        .naming::<Organization>("provided_by", Column::ProvidedBy, &req.provided_by)
        .code("category", "category", &req.category)
        .finish()
}

// === wire ===

impl From<Model> for pb::HealthcareService {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            identifiers,
            status,
            provided_by,
            display_name,
            categories,
            types,
            specialties,
            locations,
            description,
            programs,
            telecoms,
            coverage_areas,
            eligibility,
            cost,
            languages,
            delivery_methods,
            referral_methods,
            appointment_required,
            hours,
            absences,
            hours_exceptions,
            new_patients,
            networks,
            sort_key: _,
            verification,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::HealthcareService {
            name: id.to_string(),
            identifiers: data::wire(identifiers),
            status,
            provided_by: provided_by.map(|id| id.to_string()).unwrap_or_default(),
            display_name,
            categories: data::wire(categories),
            types: data::wire(types),
            specialties: data::wire(specialties),
            locations: locations.0.iter().map(ToString::to_string).collect(),
            description,
            programs: data::wire(programs),
            telecoms: data::wire(telecoms),
            coverage_areas: coverage_areas.0.iter().map(ToString::to_string).collect(),
            eligibility,
            cost,
            languages: languages.0,
            delivery_methods: data::wire(delivery_methods),
            referral_methods: data::wire(referral_methods),
            appointment_required,
            hours: data::wire(hours),
            absences: data::wire(absences),
            hours_exceptions,
            new_patients: data::wire(new_patients),
            networks: networks.0.iter().map(ToString::to_string).collect(),
            verification: Some(verification.0.into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
