//! The preference of a patient: how they want to be spoken to, and what matters to them.
use caseward_api::patient::v1 as pb;
use caseward_core::{
    Ctx, Error, Id, Kind, Result, Time, Violations,
    check::{self, Checked},
    data::Json,
};
use caseward_store::{Resource, Scope, Tx, relation};
use prost_types::FieldMask;
use sea_orm::entity::prelude::*;

use crate::{
    patient::{self, PatientId},
    related_person,
};

#[derive(Debug)]
pub struct Preference;
impl Kind for Preference {
    const COLLECTION: &'static str = "preference";
}
pub type PreferenceId = Id<Preference>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "preference")]
pub struct Model {
    /// The patient's id: there is one of each.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PreferenceId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub language: String,
    pub opted_out: Json<Vec<i32>>,
    pub quiet_start: String,
    pub quiet_end: String,
    pub time_zone: String,
    pub what_matters: String,
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
            reason = "the one place where a query of preferences begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_beyond_scope(ctx, Column::Patient))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        format!("{}/preference", row.patient)
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// The fields that a caller may set, as the mask names them.
const WRITABLE: [&str; 6] =
    ["language", "opted_out_channels", "quiet_start", "quiet_end", "time_zone", "what_matters"];

/// The patient in `patients/{patient}/preference`.
pub fn of(field: &str, name: &str) -> Result<PatientId> {
    let patient = name.strip_suffix("/preference").and_then(|patient| patient.parse().ok());
    patient.ok_or_else(|| Error::invalid(field, "wants `patients/{uuid}/preference`"))
}

impl Model {
    /// What a patient who never said anything prefers.
    fn blank(patient: &patient::Model) -> Self {
        Model {
            id: patient.id.uuid().into(),
            organization: patient.organization,
            patient: patient.id,
            language: String::new(),
            opted_out: Json::default(),
            quiet_start: String::new(),
            quiet_end: String::new(),
            time_zone: String::new(),
            what_matters: String::new(),
            created_at: patient.created_at,
            updated_at: patient.created_at,
            revision: 0,
        }
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::Preference) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("preference.{field}");
            match *field {
                "language" if from.language.is_empty() => self.language = String::new(),
                "language" => {
                    bad.put(&mut self.language, path, check::code(&from.language, 2..=35))
                }
                "opted_out_channels" => {
                    self.opted_out =
                        Json(related_person::channels(path, &from.opted_out_channels, &mut bad));
                }
                "quiet_start" => {
                    bad.put(&mut self.quiet_start, path, time_of_day(&from.quiet_start))
                }
                "quiet_end" => bad.put(&mut self.quiet_end, path, time_of_day(&from.quiet_end)),
                "time_zone" => {
                    bad.put(&mut self.time_zone, path, check::time_zone(&from.time_zone))
                }
                "what_matters" => {
                    bad.put(&mut self.what_matters, path, check::text(&from.what_matters, 0..=4000))
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        if self.quiet_start.is_empty() != self.quiet_end.is_empty() {
            bad.add("preference.quiet_end", "quiet hours want both a start and an end");
        }
        bad.finish()
    }
}

/// `HH:MM`, or nothing.
fn time_of_day(text: &str) -> Checked<String> {
    let within = |part: &str, most: u32| {
        part.len() == 2
            // `parse` takes a sign, too.
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|n| n <= most)
    };
    let right =
        text.split_once(':').is_some_and(|(hour, minute)| within(hour, 23) && within(minute, 59));
    if text.is_empty() || right { Ok(text.to_owned()) } else { Err("wants `HH:MM`".to_owned()) }
}

pub async fn get(scope: &Scope, patient: PatientId) -> Result<Model> {
    // No scope covers what a patient prefers: a caregiver is refused rather than shown an empty one.
    let told = relation::visible_beyond_scope(&scope.ctx, patient::Column::Id);
    let select = patient::Entity::of(&scope.ctx).filter(patient::Column::Id.eq(patient));
    let patient = caseward_store::get(scope, select.filter(told), patient).await?;
    let row = Entity::of(&scope.ctx).filter(Column::Patient.eq(patient.id)).one(&scope.db).await?;
    Ok(row.unwrap_or_else(|| Model::blank(&patient)))
}

pub async fn update(
    tx: Tx,
    patient: PatientId,
    from: pb::Preference,
    mask: FieldMask,
) -> Result<Model> {
    let before = get(&tx, patient).await?;
    caseward_store::expect(Entity::name(&before), before.revision, &from.etag)?;
    let fields = check::masked(&mask, &WRITABLE)?;
    let mut row = before.clone();
    row.take(&fields, &from)?;
    if row == before {
        return Ok(before);
    }
    let row = if before.revision == 0 {
        let now = tx.ctx.now();
        caseward_store::insert::<Entity>(
            &tx,
            Model { created_at: now, updated_at: now, revision: 1, ..row },
        )
        .await?
    } else {
        caseward_store::update::<Entity>(&tx, row).await?
    };
    let changed_fields = fields.into_iter().map(str::to_owned).collect();
    let event = pb::PreferenceUpdated {
        patient: patient.to_string(),
        revision: row.revision,
        changed_fields,
    };
    tx.emit(Entity::name(&row), row.revision, &event);
    Ok(row)
}

// === wire ===

impl From<Model> for pb::Preference {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient: _,
            language,
            opted_out,
            quiet_start,
            quiet_end,
            time_zone,
            what_matters,
            created_at: _,
            updated_at,
            revision,
        } = row;
        pb::Preference {
            name,
            language,
            opted_out_channels: opted_out.0,
            quiet_start,
            quiet_end,
            time_zone,
            what_matters,
            update_time: (revision > 0).then(|| updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
