//! Notes: what happened, written by one person, signed, amended, never changed.
use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use caseward_api::careplan::v1::{self as pb, note::State as Wire};
use caseward_core::{
    Ctx, Error, Id, Kind, Machine, Name, Page, Result, Time, Violations, check,
    data::{self, Json},
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
};
use prost::Message;
use prost_types::FieldMask;
use sea_orm::{Condition, QuerySelect, entity::prelude::*, sea_query::ExprTrait};
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::{
    case::{self, CaseId, PatientId},
    goal::{self, GoalName},
    timeline, transition,
};

#[derive(Debug)]
pub struct Note;
impl Kind for Note {
    const COLLECTION: &'static str = "notes";
}
pub type NoteId = Id<Note>;
pub type NoteName = (CaseId, NoteId);

/// How long after the fact a note counts as late.
const LATE: Duration = Duration::hours(24);

/// How often a note may be added to, so that one is never larger than a message.
const ADDENDA: usize = 20;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "note")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NoteId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub case_id: CaseId,
    pub class: i32,
    pub title: String,
    pub text: String,
    pub effective_at: Time,
    pub mode: i32,
    pub contact_outcome: i32,
    pub contact_with: String,
    pub goals: Json<Vec<String>>,
    pub author: String,
    pub state: State,
    pub state_reason: String,
    pub signed_at: Option<Time>,
    /// SHA-256 of what was signed.
    pub content_hash: String,
    pub addenda: Json<Vec<Addendum>>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// What was added to a signed note.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addendum {
    pub text: String,
    pub reason: String,
    pub author: String,
    pub at: Time,
}
caseward_core::confidential!(Addendum);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    #[sea_orm(string_value = "SIGNED")]
    Signed,
    #[sea_orm(string_value = "AMENDED")]
    Amended,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Sign,
    Amend,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[Step::Sign, Step::Amend, Step::EnterInError];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Draft, Step::Sign) => Some(State::Signed),
            (State::Signed | State::Amended, Step::Amend) => Some(State::Amended),
            (State::Draft | State::Signed | State::Amended, Step::EnterInError) => {
                Some(State::EnteredInError)
            }
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Draft => "DRAFT",
            State::Signed => "SIGNED",
            State::Amended => "AMENDED",
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
        let supervision = i32::from(pb::note::Class::Supervision);
        let granted = Condition::all()
            .add(relation::visible_in(ctx, Column::Patient, &[Topic::Notes]))
            .add(Column::Class.ne(supervision));
        let staff = relation::visible_to_staff(ctx, Column::Patient);
        // What was never signed is nobody's but its author's.
        let said = Column::SignedAt.is_not_null().or(Column::Author.eq(ctx.subject()));
        of_organization(ctx).filter(Condition::any().add(staff).add(granted)).filter(said)
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

#[expect(clippy::disallowed_methods, reason = "the one place where a query of notes begins")]
fn of_organization(ctx: &Ctx) -> Select<Entity> {
    Entity::find().filter(Column::Organization.eq(ctx.organization()))
}

/// The fields that a caller may set, as the mask names them.
const WRITABLE: [&str; 8] = [
    "class",
    "title",
    "text",
    "effective_time",
    "mode",
    "contact_outcome",
    "contact_with",
    "goals",
];

impl Model {
    pub fn name(&self) -> String {
        format!("{}/{}", self.case_id, self.id)
    }

    /// A new row of `case` with every field of `from` checked.
    fn draft(ctx: &Ctx, case: &case::Model, from: &pb::Note) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: NoteId::generate(),
            organization: case.organization,
            patient: case.patient,
            case_id: case.id,
            class: 0,
            title: String::new(),
            text: String::new(),
            effective_at: now,
            mode: 0,
            contact_outcome: 0,
            contact_with: String::new(),
            goals: Json::default(),
            author: ctx.subject().to_owned(),
            state: State::Draft,
            state_reason: String::new(),
            signed_at: None,
            content_hash: String::new(),
            addenda: Json::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from, now)?;
        Ok(row)
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    fn take(&mut self, fields: &[&str], from: &pb::Note, now: Time) -> Result<()> {
        use pb::{ContactMode, contact_attempt::Outcome, note::Class};
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("note.{field}");
            match *field {
                "class" => bad.put(
                    &mut self.class,
                    path,
                    check::known::<Class>(from.class).map(Into::into),
                ),
                "title" => bad.put(&mut self.title, path, check::text(&from.title, 0..=200)),
                "text" => bad.put(&mut self.text, path, check::text(&from.text, 1..=50_000)),
                "effective_time" => {
                    let at = bad
                        .take(path, check::moment(&from.effective_time))
                        .flatten()
                        .unwrap_or(now);
                    if at > now {
                        bad.add(path, "is in the future");
                    }
                    self.effective_at = at;
                }
                "mode" => {
                    bad.put(&mut self.mode, path, data::enumeration::<ContactMode>(from.mode))
                }
                "contact_outcome" => {
                    bad.put(
                        &mut self.contact_outcome,
                        path,
                        data::enumeration::<Outcome>(from.contact_outcome),
                    );
                }
                "contact_with" => {
                    bad.put(&mut self.contact_with, path, check::text(&from.contact_with, 0..=300))
                }
                "goals" => {
                    let goals = check::list(path, &from.goals, 0..=50, &mut bad, |name, bad| {
                        let parsed = GoalName::parse("", name)
                            .ok()
                            .filter(|(case, ..)| *case == self.case_id);
                        bad.take(
                            "",
                            parsed
                                .map(|_| name.clone())
                                .ok_or_else(|| "wants a goal of this case".to_owned()),
                        )
                    });
                    self.goals = Json(goals);
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        let contact = self.class == i32::from(Class::Contact);
        if contact && self.mode == 0 {
            bad.add("note.mode", "is required in a contact note");
        }
        if !contact
            && (self.mode != 0 || self.contact_outcome != 0 || !self.contact_with.is_empty())
        {
            bad.add(
                "note.mode",
                "belongs to a contact note, as do contact_outcome and contact_with",
            );
        }
        bad.finish()
    }

    /// SHA-256 over what is signed, in lower-case hexadecimal.
    fn hash(&self) -> String {
        let content = pb::Note {
            class: self.class,
            title: self.title.clone(),
            text: self.text.clone(),
            effective_time: Some(self.effective_at.into()),
            mode: self.mode,
            contact_outcome: self.contact_outcome,
            contact_with: self.contact_with.clone(),
            goals: self.goals.0.clone(),
            author: self.author.clone(),
            ..Default::default()
        };
        digest(&SHA256, &content.encode_to_vec())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// What changed where `from` was left for where the row stands; `from` is empty where it was made.
    fn change(&self, from: &'static str, reason: &str) -> Transition {
        let effective = from.is_empty().then_some(self.effective_at);
        let change = Transition::new(self.id.uuid(), self.name(), from, self.state.label(), reason);
        Transition { effective, ..change }
    }
}

pub async fn get(scope: &Scope, (case, id): NoteName) -> Result<Model> {
    let select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{case}/{id}")).await
}

pub async fn list(
    scope: &Scope,
    case: CaseId,
    class: Option<pb::note::Class>,
    states: Vec<State>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    case::get(scope, case).await?;
    let mut select = Entity::of(&scope.ctx).filter(Column::CaseId.eq(case));
    if let Some(class) = class {
        select = select.filter(Column::Class.eq(i32::from(class)));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    caseward_store::page(scope, select, page).await
}

/// The notes of a case that are not signed yet: what stands in the way of closing it. Staff learn of those of others, but
/// no more than that they are there.
pub async fn unsigned(scope: &Scope, case: CaseId) -> Result<Vec<Model>> {
    let me = scope.ctx.subject();
    let staff = relation::visible_to_staff(&scope.ctx, Column::Patient);
    let select = of_organization(&scope.ctx)
        .filter(Column::CaseId.eq(case))
        .filter(Column::State.eq(State::Draft))
        .filter(Condition::any().add(staff).add(Column::Author.eq(me)));
    let mut rows = caseward_store::list(scope, select).await?;
    for row in rows.iter_mut().filter(|row| row.author != me) {
        row.title = "a note that is not signed".to_owned();
    }
    Ok(rows)
}

/// Those of `ids` that the caller sees.
pub async fn seen(scope: &Scope, ids: Vec<NoteId>) -> Result<HashSet<NoteId>> {
    let select = Entity::of(&scope.ctx).select_only().column(Column::Id);
    let rows = select.filter(Column::Id.is_in(ids)).into_tuple().all(&scope.db).await?;
    Ok(rows.into_iter().collect())
}

pub async fn create(tx: Tx, case: CaseId, from: pb::Note) -> Result<Model> {
    // A closed case still takes notes: what was learned after it is part of the record.
    let case = case::get(&tx, case).await?;
    let row = Model::draft(&tx.ctx, &case, &from)?;
    known_goals(&tx, &row).await?;
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    timeline::moved(&tx, &case, "NOTE_CREATED", row.change("", "")).await?;
    let (note, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::NoteCreated { note, case, patient, revision: row.revision },
    );
    Ok(row)
}

async fn known_goals(tx: &Tx, row: &Model) -> Result<()> {
    let mut bad = Violations::default();
    for (n, name) in row.goals.0.iter().enumerate() {
        if goal::get(tx, GoalName::parse("note.goals", name)?).await.is_err() {
            bad.add(format!("note.goals[{n}]"), "is not a goal of this case");
        }
    }
    bad.finish()
}

pub async fn update(tx: Tx, name: NoteName, from: pb::Note, mask: FieldMask) -> Result<Model> {
    let before = get(&tx, name).await?;
    caseward_store::expect(before.name(), before.revision, &from.etag)?;
    if before.state != State::Draft {
        let why = format!("{} is {}; amend it instead", before.name(), before.state.label());
        return Err(Error::precondition("NOTE_SIGNED", why));
    }
    own(&tx, &before)?;
    let mut row = before.clone();
    row.take(&check::masked(&mask, &WRITABLE)?, &from, tx.ctx.now())?;
    if row.class != before.class {
        return Err(Error::invalid("note.class", "never changes"));
    }
    known_goals(&tx, &row).await?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let (note, case, patient) = names(&row);
    tx.emit(
        row.name(),
        row.revision,
        &pb::NoteUpdated { note, case, patient, revision: row.revision },
    );
    Ok(row)
}

fn own(tx: &Tx, row: &Model) -> Result<()> {
    if row.author == tx.ctx.subject() {
        return Ok(());
    }
    Err(Error::precondition("NOT_AUTHOR", "only its author rewrites and signs a note"))
}

/// What a step brings along.
#[derive(Clone, Default)]
pub struct Along {
    pub text: String,
    pub reason: String,
}
caseward_core::confidential!(Along);

pub async fn step(tx: Tx, name: NoteName, step: Step, etag: String, along: Along) -> Result<Model> {
    let mut row = get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::get(&tx, name.0).await?;
    let before = row.state;
    row.state = before.take(step, row.name())?;
    match step {
        Step::Sign => {
            own(&tx, &row)?;
            row.signed_at = Some(tx.ctx.now());
            row.content_hash = row.hash();
        }
        Step::Amend if row.addenda.0.len() >= ADDENDA => {
            let why = format!("{} has {ADDENDA} addenda; write another note", row.name());
            return Err(Error::precondition("TOO_MANY_ADDENDA", why));
        }
        Step::Amend => {
            let mut bad = Violations::default();
            let text = bad.take("text", check::text(&along.text, 1..=20_000));
            let reason = bad.take("reason", check::text(&along.reason, 1..=1000));
            bad.finish()?;
            let (author, at) = (tx.ctx.subject().to_owned(), tx.ctx.now());
            row.addenda.0.extend(text.zip(reason).map(|(text, reason)| Addendum {
                text,
                reason,
                author,
                at,
            }));
        }
        Step::EnterInError => {
            transition::retractable(&tx, row.id.uuid()).await?;
            let mut bad = Violations::default();
            bad.put(&mut row.state_reason, "reason", check::text(&along.reason, 1..=1000));
            bad.finish()?;
        }
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    let (note, case_name, patient) = names(&row);
    let revision = row.revision;
    let kind = match step {
        Step::Sign => {
            tx.emit(
                row.name(),
                revision,
                &pb::NoteSigned { note, case: case_name, patient, revision },
            );
            "NOTE_SIGNED"
        }
        Step::Amend => {
            tx.emit(
                row.name(),
                revision,
                &pb::NoteAmended { note, case: case_name, patient, revision },
            );
            "NOTE_AMENDED"
        }
        Step::EnterInError => {
            tx.emit(
                row.name(),
                revision,
                &pb::NoteMarkedInError { note, case: case_name, patient, revision },
            );
            "NOTE_ENTERED_IN_ERROR"
        }
    };
    timeline::moved(&tx, &case, kind, row.change(before.label(), &along.reason)).await?;
    Ok(row)
}

fn names(row: &Model) -> (String, String, String) {
    (row.name(), row.case_id.to_string(), row.patient.to_string())
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Draft) => Ok(State::Draft),
            Ok(Wire::Signed) => Ok(State::Signed),
            Ok(Wire::Amended) => Ok(State::Amended),
            Ok(Wire::EnteredInError) => Ok(State::EnteredInError),
            Ok(Wire::Unspecified) | Err(_) => {
                Err(Error::invalid("states", "holds a value that is not known"))
            }
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Wire::Draft,
            State::Signed => Wire::Signed,
            State::Amended => Wire::Amended,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Note {
    fn from(row: Model) -> Self {
        let name = row.name();
        let Model {
            id: _,
            organization: _,
            patient: _,
            case_id: _,
            class,
            title,
            text,
            effective_at,
            mode,
            contact_outcome,
            contact_with,
            goals,
            author,
            state,
            state_reason,
            signed_at,
            content_hash,
            addenda,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Note {
            name,
            class,
            title,
            text,
            effective_time: Some(effective_at.into()),
            record_time: Some(created_at.into()),
            late_entry: created_at - effective_at > LATE,
            mode,
            contact_outcome,
            contact_with,
            goals: goals.0,
            author,
            state: Wire::from(state).into(),
            sign_time: signed_at.map(Into::into),
            content_hash,
            addenda: data::wire(addenda),
            state_reason,
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Addendum> for pb::Addendum {
    fn from(Addendum { text, reason, author, at }: Addendum) -> Self {
        pb::Addendum { text, reason, author, record_time: Some(at.into()) }
    }
}
