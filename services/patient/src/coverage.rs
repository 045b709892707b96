//! Coverages: what pays for the care of a patient.
use caseward_api::patient::v1 as pb;
use caseward_core::{
    Ctx, Id, Kind, Result, Time, Violations, check,
    data::{self, Concept, Identifier, Json, PartialDate, Period},
};
use caseward_store::{Resource, Tx, relation};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;

use crate::{
    child::{self, Child},
    patient::PatientId,
};

#[derive(Debug)]
pub struct Coverage;
impl Kind for Coverage {
    const COLLECTION: &'static str = "coverages";
}
pub type CoverageId = Id<Coverage>;
pub type CoverageName = (PatientId, CoverageId);

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "coverage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CoverageId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub identifiers: Json<Vec<Identifier>>,
    pub status: i32,
    pub kind: Option<Json<Concept>>,
    pub payer: String,
    pub payer_display: String,
    pub plan: String,
    pub plan_display: String,
    pub member_id: String,
    pub group_number: String,
    pub relationship: Option<Json<Concept>>,
    pub period: Json<Period>,
    pub redetermination_due: Option<Json<PartialDate>>,
    /// Which pays first.
    pub rank: i32,
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
            reason = "the one place where a query of coverages begins"
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

/// The fields that a caller may set, as the mask names them.
const WRITABLE: [&str; 13] = [
    "identifiers",
    "status",
    "type",
    "payer",
    "payer_display",
    "plan",
    "plan_display",
    "member_id",
    "group_number",
    "relationship",
    "period",
    "redetermination_due_date",
    "order",
];

impl Model {
    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::Coverage) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("coverage.{field}");
            let bad = &mut bad;
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, bad)
                }
                "status" => {
                    bad.put(
                        &mut self.status,
                        path,
                        data::enumeration::<pb::coverage::Status>(from.status),
                    );
                    if self.status == 0 {
                        self.status = pb::coverage::Status::Active.into();
                    }
                }
                "type" => self.kind = optional(path, &from.r#type, bad),
                "payer" => bad.put(&mut self.payer, path, check::text(&from.payer, 0..=200)),
                "payer_display" => bad.put(
                    &mut self.payer_display,
                    path,
                    check::text(&from.payer_display, 0..=300),
                ),
                "plan" => bad.put(&mut self.plan, path, check::text(&from.plan, 0..=200)),
                "plan_display" => {
                    bad.put(&mut self.plan_display, path, check::text(&from.plan_display, 0..=300))
                }
                "member_id" => {
                    bad.put(&mut self.member_id, path, check::text(&from.member_id, 0..=100))
                }
                "group_number" => {
                    bad.put(&mut self.group_number, path, check::text(&from.group_number, 0..=100))
                }
                "relationship" => self.relationship = optional(path, &from.relationship, bad),
                "period" => bad.put(&mut self.period, path, data::period(&from.period).map(Json)),
                "redetermination_due_date" => {
                    let date = data::partial_date(&from.redetermination_due_date)
                        .map(|date| date.map(Json));
                    bad.put(&mut self.redetermination_due, path, date);
                }
                "order" => bad.put(&mut self.rank, path, check::within(from.order, 0..=20)),
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        if self.payer.is_empty() && self.payer_display.is_empty() {
            bad.add("coverage.payer", "is required: the payer's record, or payer_display");
        }
        bad.finish()
    }
}

fn optional(
    path: &str,
    from: &Option<caseward_api::types::v1::Concept>,
    bad: &mut Violations,
) -> Option<Json<Concept>> {
    from.is_some().then(|| data::concept(path, from, bad)).flatten().map(Json)
}

/// The record of the plan after a load: FHIR names plans in words only, so the record that staff chose stays, unless
/// those words come to be others.
fn plan(before: &Model, said: &Model) -> String {
    let (was, is) = (&before.plan_display, &said.plan_display);
    let another = !was.is_empty() && !is.is_empty() && was != is;
    if said.plan.is_empty() && !another { before.plan.clone() } else { said.plan.clone() }
}

impl Child for Entity {
    type Kind = Coverage;
    type Wire = pb::Coverage;
    const IDENTIFIED: &'static str = "coverage";
    const LOADED: &'static str = "coverages";
    const PATIENT: Column = Column::Patient;

    fn draft(tx: &Tx, patient: PatientId, from: &pb::Coverage) -> Result<Model> {
        let now = tx.ctx.now();
        let mut row = Model {
            id: CoverageId::generate(),
            organization: tx.ctx.organization(),
            patient,
            identifiers: Json::default(),
            status: 0,
            kind: None,
            payer: String::new(),
            payer_display: String::new(),
            plan: String::new(),
            plan_display: String::new(),
            member_id: String::new(),
            group_number: String::new(),
            relationship: None,
            period: Json::default(),
            redetermination_due: None,
            rank: 0,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from)?;
        Ok(row)
    }

    fn identifiers(row: &Model) -> &[Identifier] {
        &row.identifiers.0
    }

    fn merged(before: &Model, draft: Model) -> Model {
        Model {
            id: before.id,
            plan: plan(before, &draft),
            redetermination_due: draft
                .redetermination_due
                .clone()
                .or(before.redetermination_due.clone()),
            created_at: before.created_at,
            updated_at: before.updated_at,
            revision: before.revision,
            ..draft
        }
    }

    fn tell(tx: &Tx, row: &Model, changed_fields: Vec<String>) {
        let (coverage, patient, revision) =
            (Entity::name(row), row.patient.to_string(), row.revision);
        tx.emit(
            Entity::name(row),
            revision,
            &pb::CoverageChanged { coverage, patient, revision, changed_fields },
        );
    }
}

pub async fn update(
    tx: Tx,
    name: CoverageName,
    from: pb::Coverage,
    mask: FieldMask,
) -> Result<Model> {
    let before = child::get::<Entity>(&tx, name).await?;
    caseward_store::expect(Entity::name(&before), before.revision, &from.etag)?;
    let fields = check::masked(&mask, &WRITABLE)?;
    let mut row = before.clone();
    row.take(&fields, &from)?;
    child::update::<Entity>(&tx, before, row, fields.into_iter().map(str::to_owned).collect()).await
}

// === wire ===

impl From<Model> for pb::Coverage {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient: _,
            identifiers,
            status,
            kind,
            payer,
            payer_display,
            plan,
            plan_display,
            member_id,
            group_number,
            relationship,
            period,
            redetermination_due,
            rank,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Coverage {
            name,
            identifiers: data::wire(identifiers),
            status,
            r#type: kind.map(|kind| kind.0.into()),
            payer,
            payer_display,
            plan,
            plan_display,
            member_id,
            group_number,
            relationship: relationship.map(|relationship| relationship.0.into()),
            period: Some(period.0.into()),
            redetermination_due_date: redetermination_due.map(|date| date.0.into()),
            order: rank,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
