//! Cases: one person in one programme, from identification to closure.
use caseward_api::careplan::v1::{self as pb, case::State as Wire};
use caseward_core::{
    Clock, Ctx, Error, Id, Kind, Machine, Name, Page, Result, Time, Violations, check,
    data::{self, Identifier, Json},
};
use caseward_store::{
    Resource, Scope, Transition, Tx, identifier,
    relation::{self, Sight, Topic},
};
use prost_types::FieldMask;
use sea_orm::{QuerySelect, entity::prelude::*};
use serde::{Deserialize, Serialize};

use crate::{member, sight, timeline};

#[derive(Debug)]
pub struct Case;
impl Kind for Case {
    const COLLECTION: &'static str = "cases";
}
pub type CaseId = Id<Case>;

/// The kind of a case's identifiers.
pub const IDENTIFIED: &str = "case";

/// The patient service's resource; here only its id is known.
#[derive(Debug)]
pub struct Patient;
impl Kind for Patient {
    const COLLECTION: &'static str = "patients";
}
pub type PatientId = Id<Patient>;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "care_case")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CaseId,
    pub organization: Uuid,
    pub patient: PatientId,
    pub identifiers: Json<Vec<Identifier>>,
    pub title: String,
    pub reason: String,
    pub programme: String,
    pub source: String,
    pub acuity: i32,
    pub state: State,
    pub state_reason: String,
    /// Who is accountable now; the ledger of accountabilities says who was.
    pub accountable: Option<String>,
    pub risk: Option<Json<Risk>>,
    /// Of the risk; the worklist sorts by it.
    pub risk_rank: i32,
    pub identified_at: Option<Time>,
    pub enrolled_at: Option<Time>,
    pub closed_at: Option<Time>,
    pub consent: String,
    pub consent_statement: String,
    pub close_reason: i32,
    pub closure_waiver: String,
    pub expected_return_at: Option<Time>,
    /// Since when the clocks stand.
    pub paused_at: Option<Time>,
    pub contact_attempts: Json<Vec<Attempt>>,
    /// Where a waiting case returns to.
    pub waitlisted_from: Option<State>,
    pub reopened_from: Option<State>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// How likely things are to go wrong, as some instrument found.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    pub instrument: String,
    pub value: f64,
    pub band: String,
    pub rank: i32,
    pub assessment: String,
    pub at: Time,
}
caseward_core::confidential!(Risk);

/// One attempt to reach the person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Time,
    pub mode: i32,
    pub outcome: i32,
    pub note: String,
    pub author: String,
}
caseward_core::confidential!(Attempt);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "IDENTIFIED")]
    Identified,
    #[sea_orm(string_value = "OUTREACH")]
    Outreach,
    #[sea_orm(string_value = "ASSESSING")]
    Assessing,
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "PAUSED")]
    Paused,
    #[sea_orm(string_value = "CLOSING")]
    Closing,
    #[sea_orm(string_value = "CLOSED")]
    Closed,
    #[sea_orm(string_value = "WAITLISTED")]
    Waitlisted,
    #[sea_orm(string_value = "DECLINED")]
    Declined,
    #[sea_orm(string_value = "UNABLE_TO_REACH")]
    UnableToReach,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    StartOutreach,
    Enrol,
    Decline,
    GiveUp,
    Waitlist,
    ReturnToOutreach,
    ReturnToAssessing,
    Activate,
    Pause,
    Resume,
    ProposeClosure,
    ReturnClosure,
    Close,
    Reopen,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::StartOutreach,
        Step::Enrol,
        Step::Decline,
        Step::GiveUp,
        Step::Waitlist,
        Step::ReturnToOutreach,
        Step::ReturnToAssessing,
        Step::Activate,
        Step::Pause,
        Step::Resume,
        Step::ProposeClosure,
        Step::ReturnClosure,
        Step::Close,
        Step::Reopen,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Identified, Step::StartOutreach) => Some(State::Outreach),
            (State::Outreach, Step::Enrol) => Some(State::Assessing),
            (State::Outreach, Step::Decline) => Some(State::Declined),
            (State::Outreach, Step::GiveUp) => Some(State::UnableToReach),
            (State::Outreach | State::Assessing, Step::Waitlist) => Some(State::Waitlisted),
            (State::Waitlisted, Step::ReturnToOutreach) => Some(State::Outreach),
            (State::Waitlisted, Step::ReturnToAssessing) => Some(State::Assessing),
            (State::Assessing, Step::Activate) => Some(State::Active),
            (State::Active, Step::Pause) => Some(State::Paused),
            (State::Paused, Step::Resume) => Some(State::Active),
            (State::Assessing | State::Active | State::Paused, Step::ProposeClosure) => {
                Some(State::Closing)
            }
            (State::Closing, Step::ReturnClosure) => Some(State::Active),
            (State::Closing, Step::Close) => Some(State::Closed),
            (State::Closed | State::Declined | State::UnableToReach, Step::Reopen) => {
                Some(State::Outreach)
            }
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Identified => "IDENTIFIED",
            State::Outreach => "OUTREACH",
            State::Assessing => "ASSESSING",
            State::Active => "ACTIVE",
            State::Paused => "PAUSED",
            State::Closing => "CLOSING",
            State::Closed => "CLOSED",
            State::Waitlisted => "WAITLISTED",
            State::Declined => "DECLINED",
            State::UnableToReach => "UNABLE_TO_REACH",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

impl State {
    /// Whether exactly one person must be accountable at every instant.
    pub fn is_accountable(self) -> bool {
        matches!(self, State::Assessing | State::Active | State::Paused | State::Closing)
    }

    /// Whether nothing more is done in the case.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            State::Closed | State::Declined | State::UnableToReach | State::EnteredInError
        )
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of cases begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible_in(ctx, Column::Patient, &sight::OF_CASES))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient.uuid())
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// The fields that a caller may set, as the mask names them. The patient is set once.
pub const WRITABLE: [&str; 7] =
    ["identifiers", "title", "reason", "programme", "source", "acuity", "identified_time"];

impl Model {
    /// A new row with every field of `from` checked.
    pub fn draft(ctx: &Ctx, from: &pb::Case) -> Result<Self> {
        let now = ctx.now();
        let mut row = Model {
            id: CaseId::generate(),
            organization: ctx.organization(),
            patient: Name::parse("case.patient", &from.patient)?,
            identifiers: Json::default(),
            title: String::new(),
            reason: String::new(),
            programme: String::new(),
            source: String::new(),
            acuity: 0,
            state: State::Identified,
            state_reason: String::new(),
            accountable: None,
            risk: None,
            risk_rank: 0,
            identified_at: None,
            enrolled_at: None,
            closed_at: None,
            consent: String::new(),
            consent_statement: String::new(),
            close_reason: 0,
            closure_waiver: String::new(),
            expected_return_at: None,
            paused_at: None,
            contact_attempts: Json::default(),
            waitlisted_from: None,
            reopened_from: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        row.take(&WRITABLE, from, now)?;
        row.identified_at.get_or_insert(now);
        Ok(row)
    }

    /// The case without what it tells of parts of the record that are not in `sight`.
    fn seen(mut self, sight: Sight) -> Self {
        if !sight.covers(Topic::Assessment) {
            self.risk = None;
        }
        if !sight.covers(Topic::Notes) {
            self.contact_attempts.0.iter_mut().for_each(|attempt| attempt.note.clear());
        }
        self
    }

    /// Takes `fields` from the wire: the one place where each is named, checked and mapped.
    pub fn take(&mut self, fields: &[&str], from: &pb::Case, now: Time) -> Result<()> {
        let mut bad = Violations::default();
        for field in fields {
            let path = &format!("case.{field}");
            match *field {
                "identifiers" => {
                    self.identifiers = data::identifiers(path, &from.identifiers, 20, &mut bad)
                }
                "title" => bad.put(&mut self.title, path, check::text(&from.title, 1..=200)),
                "reason" => bad.put(&mut self.reason, path, check::text(&from.reason, 0..=4000)),
                "programme" => {
                    bad.put(&mut self.programme, path, check::text(&from.programme, 0..=100))
                }
                "source" => bad.put(&mut self.source, path, check::text(&from.source, 0..=100)),
                "acuity" => bad.put(
                    &mut self.acuity,
                    path,
                    data::enumeration::<pb::case::Acuity>(from.acuity),
                ),
                "identified_time" => {
                    bad.put(&mut self.identified_at, path, check::moment(&from.identified_time));
                    if self.identified_at.is_some_and(|at| at > now) {
                        bad.add(path, "is in the future");
                    }
                }
                _ => bad.add("update_mask", format!("`{field}` cannot be set")),
            }
        }
        bad.finish()
    }

    /// What changed where `from` was left for where the case stands; `from` is empty where it was made.
    pub fn change(&self, from: &'static str) -> Transition {
        let (id, name) = (self.id.uuid(), self.id.to_string());
        Transition::new(id, name, from, self.state.label(), &self.state_reason)
    }
}

pub async fn get(scope: &Scope, id: CaseId) -> Result<Model> {
    caseward_store::get(scope, Entity::of(&scope.ctx).filter(Column::Id.eq(id)), id).await
}

/// The case as the caller may read it.
pub async fn read(scope: &Scope, id: CaseId) -> Result<Model> {
    let select = readable(scope).filter(Column::Id.eq(id));
    let row = caseward_store::get(scope, select, id).await?;
    let sight = relation::sight(scope, row.patient.uuid()).await?;
    Ok(row.seen(sight))
}

/// The cases that the caller may read; what lies below others they may see all the same.
fn readable(scope: &Scope) -> Select<Entity> {
    let granted = relation::visible_in(&scope.ctx, Column::Patient, &[Topic::Plan]);
    Entity::of(&scope.ctx).filter(granted)
}

/// When something happens: at the time that its caller gives, or now.
#[derive(Clone, Copy, Debug)]
pub struct When {
    pub at: Time,
    given: bool,
}

impl When {
    pub fn of(given: Option<Time>, now: Time) -> Self {
        When { at: given.unwrap_or(now), given: given.is_some() }
    }

    pub fn now(ctx: &Ctx) -> Self {
        Self::of(None, ctx.now())
    }

    /// The same where it follows `since`, which another process may have put on record by a clock that is ahead of this
    /// one: what happens now happens no sooner.
    pub fn after(self, since: Option<Time>) -> Option<Self> {
        match since {
            Some(since) if self.at < since => {
                let behind = !self.given && since - self.at <= Clock::SKEW;
                behind.then_some(When { at: since, ..self })
            }
            _ => Some(self),
        }
    }
}

/// The case, which until the transaction ends nobody else changes, nor what is in it: a rule that reads several rows of
/// a case reads them after this.
pub async fn hold(tx: &Tx, id: CaseId) -> Result<Model> {
    let select = Entity::of(&tx.ctx).filter(Column::Id.eq(id)).lock_exclusive();
    caseward_store::get(tx, select, id).await
}

/// The same, where something may still be done in it.
pub async fn open(tx: &Tx, id: CaseId) -> Result<Model> {
    let row = hold(tx, id).await?;
    if row.state.is_end() {
        let why = format!("{id} is {}; reopen it first", row.state.label());
        return Err(Error::precondition("CASE_ENDED", why));
    }
    Ok(row)
}

/// The case in which a step is taken: an open one, but what is on record may be put right in one that ended, too.
pub async fn of_step(tx: &Tx, id: CaseId, puts_right: bool) -> Result<Model> {
    if puts_right { hold(tx, id).await } else { open(tx, id).await }
}

/// The cases that a caller asks for.
pub async fn asked(scope: &Scope, req: &pb::ListCasesRequest) -> Result<Select<Entity>> {
    let (patient, states, accountable, identifier) = check::all((
        check::name::<PatientId>("patient", &req.patient),
        check::choices("states", &req.states, State::known),
        check::wanted("accountable", &req.accountable, check::SUBJECT),
        check::identifier("identifier", &req.identifier),
    ))?;
    let mut select = readable(scope);
    if let Some(patient) = patient {
        select = select.filter(Column::Patient.eq(patient));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states));
    }
    if let Some(accountable) = accountable {
        select = select.filter(Column::Accountable.eq(accountable));
    }
    if let Some(one) = identifier {
        select = identifier::held(scope, select, IDENTIFIED, &[one]).await?;
    }
    Ok(select)
}

pub async fn list(
    scope: &Scope,
    select: Select<Entity>,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let (rows, next) = caseward_store::page(scope, select, page).await?;
    let sights = relation::sights(scope, rows.iter().map(|row| row.patient.uuid())).await?;
    // Whoever stopped being related in between sees nothing.
    let seen = |row: Model| sights.get(&row.patient.uuid()).map(|sight| row.seen(*sight));
    Ok((rows.into_iter().filter_map(seen).collect(), next))
}

pub async fn create(tx: Tx, row: Model) -> Result<Model> {
    identifier::free::<Entity>(&tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    let row = insert(&tx, row).await?;
    // Whoever makes a case is on its team, or could not go on with it.
    let subject = tx.ctx.subject().to_owned();
    member::ensure(&tx, &row, &subject, member::REGISTRAR).await?;
    Ok(row)
}

/// Stores a checked row, with its history.
pub async fn insert(tx: &Tx, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    identifier::claim(tx, IDENTIFIED, row.id.uuid(), &row.identifiers.0).await?;
    let change = Transition { effective: row.identified_at, ..row.change("") };
    timeline::moved(tx, &row, "CASE_CREATED", change).await?;
    let (case, patient, revision) = (row.id.to_string(), row.patient.to_string(), row.revision);
    tx.emit(row.id, revision, &pb::CaseCreated { case, patient, revision });
    Ok(row)
}

pub async fn update(tx: Tx, id: CaseId, from: pb::Case, mask: FieldMask) -> Result<Model> {
    let before = open(&tx, id).await?;
    caseward_store::expect(id, before.revision, &from.etag)?;
    let mut row = before.clone();
    let fields = check::masked(&mask, &WRITABLE)?;
    row.take(&fields, &from, tx.ctx.now())?;
    if row == before {
        return Ok(before);
    }
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    if row.identifiers != before.identifiers {
        identifier::free::<Entity>(&tx, IDENTIFIED, id.uuid(), &row.identifiers.0).await?;
        identifier::replace(&tx, IDENTIFIED, id.uuid(), &row.identifiers.0).await?;
    }
    timeline::add(&tx, &row, "CASE_UPDATED", id.to_string()).await?;
    let changed_fields = fields.into_iter().map(str::to_owned).collect();
    let (case, patient, revision) = (id.to_string(), row.patient.to_string(), row.revision);
    tx.emit(id, revision, &pb::CaseUpdated { case, patient, revision, changed_fields });
    Ok(row)
}

/// Notes how likely things are to go wrong, as the latest assessment found; absent where none did.
pub async fn set_risk(tx: &Tx, case: &Model, risk: Option<Risk>) -> Result<Model> {
    let mut row = get(tx, case.id).await?;
    row.risk_rank = risk.as_ref().map_or(0, |risk| risk.rank);
    row.risk = risk.map(Json);
    caseward_store::update::<Entity>(tx, row).await
}

// === wire ===

impl State {
    /// The state that a list asks for.
    pub fn known(number: i32) -> Result<Self> {
        let state = match Wire::try_from(number) {
            Ok(Wire::Identified) => State::Identified,
            Ok(Wire::Outreach) => State::Outreach,
            Ok(Wire::Assessing) => State::Assessing,
            Ok(Wire::Active) => State::Active,
            Ok(Wire::Paused) => State::Paused,
            Ok(Wire::Closing) => State::Closing,
            Ok(Wire::Closed) => State::Closed,
            Ok(Wire::Waitlisted) => State::Waitlisted,
            Ok(Wire::Declined) => State::Declined,
            Ok(Wire::UnableToReach) => State::UnableToReach,
            Ok(Wire::EnteredInError) => State::EnteredInError,
            Ok(Wire::Unspecified) | Err(_) => {
                return Err(Error::invalid("states", "holds a value that is not known"));
            }
        };
        Ok(state)
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Identified => Wire::Identified,
            State::Outreach => Wire::Outreach,
            State::Assessing => Wire::Assessing,
            State::Active => Wire::Active,
            State::Paused => Wire::Paused,
            State::Closing => Wire::Closing,
            State::Closed => Wire::Closed,
            State::Waitlisted => Wire::Waitlisted,
            State::Declined => Wire::Declined,
            State::UnableToReach => Wire::UnableToReach,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}

impl From<Model> for pb::Case {
    fn from(row: Model) -> Self {
        let Model {
            id,
            organization: _,
            patient,
            identifiers,
            title,
            reason,
            programme,
            source,
            acuity,
            state,
            state_reason,
            accountable,
            risk,
            risk_rank: _,
            identified_at,
            enrolled_at,
            closed_at,
            consent,
            consent_statement,
            close_reason,
            closure_waiver,
            expected_return_at,
            paused_at: _,
            contact_attempts,
            waitlisted_from: _,
            reopened_from,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::Case {
            name: id.to_string(),
            patient: patient.to_string(),
            identifiers: data::wire(identifiers),
            title,
            reason,
            programme,
            source,
            acuity,
            state: Wire::from(state).into(),
            accountable: accountable.unwrap_or_default(),
            risk: risk.map(|risk| risk.0.into()),
            identified_time: identified_at.map(Into::into),
            enrolled_time: enrolled_at.map(Into::into),
            closed_time: closed_at.map(Into::into),
            consent,
            consent_statement,
            close_reason,
            closure_waiver,
            state_reason,
            expected_return_time: expected_return_at.map(Into::into),
            contact_attempts: data::wire(contact_attempts),
            reopened_from: reopened_from.map_or(0, |state| Wire::from(state).into()),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}

impl From<Risk> for pb::Risk {
    fn from(Risk { instrument, value, band, rank, assessment, at }: Risk) -> Self {
        pb::Risk { instrument, value, band, rank, assessment, compute_time: Some(at.into()) }
    }
}

impl From<Attempt> for pb::ContactAttempt {
    fn from(Attempt { at, mode, outcome, note, author }: Attempt) -> Self {
        pb::ContactAttempt { attempt_time: Some(at.into()), mode, outcome, note, author }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_step_says_where_the_case_can_go() {
        let Err(Error::State { allowed, .. }) = State::Identified.take(Step::Activate, "cases/1")
        else {
            panic!("must be refused")
        };
        assert_eq!(allowed, ["OUTREACH", "ENTERED_IN_ERROR"]);
    }

    #[test]
    fn what_happens_now_by_a_clock_that_is_behind_follows_what_is_on_record() {
        let now = Time::from_micros(0);
        let at = |when: When, since| when.after(Some(since)).map(|when| when.at);
        let (ahead, beyond) = (now + Clock::SKEW, now + Clock::SKEW + time::Duration::seconds(1));
        assert_eq!(at(When::of(None, now), ahead), Some(ahead));
        assert_eq!(at(When::of(None, now), beyond), None);
        assert_eq!(at(When::of(None, now), now - Clock::SKEW), Some(now));
        // A time that somebody gives is taken at its word.
        assert_eq!(at(When::of(Some(now), now), ahead), None);
    }
}
