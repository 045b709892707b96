//! Emergency access ("break-glass"): somebody who may not see a patient otherwise sees the record for an hour, says why,
//! and answers for it. The patient is told, and a supervisor reviews each.
use std::sync::Arc;

use caseward_api::patient::v1::{
    self as pb, emergency_access::State as Wire, review_emergency_access_request::Verdict,
};
use caseward_core::{
    Caller, Ctx, Error, Id, Kind, Machine, Page, Purpose, Reach, Result, Time, Violations, check,
    data::Period,
};
use caseward_store::{Basis, Resource, Scope, Transition, Tx, relation, timer};
use sea_orm::{Condition, QueryOrder, entity::prelude::*};
use time::Duration;

use crate::{
    patient::{self, PatientId},
    relations,
};

#[derive(Debug)]
pub struct EmergencyAccess;
impl Kind for EmergencyAccess {
    const COLLECTION: &'static str = "emergencyAccesses";
}
pub type EmergencyAccessId = Id<EmergencyAccess>;
pub type EmergencyAccessName = (PatientId, EmergencyAccessId);

/// The timer that ends an access whose hour is over. The relation ends by the clock, whether the timer is late or not.
pub const EXPIRY: &str = "emergency.expiry";

/// How long one access lasts.
const LIFE: Duration = Duration::minutes(60);

/// An access that was active so lately is renewed by the next one. One that was found unjustified so lately bars it.
const LATELY: Duration = Duration::hours(24);

/// How often an access may be renewed before a supervisor has looked at it.
const RENEWALS: i32 = 3;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "emergency_access")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EmergencyAccessId,
    pub organization: Uuid,
    pub patient: PatientId,
    /// Who asked, in which roles.
    pub subject: String,
    pub roles: String,
    pub reason: String,
    pub state: State,
    pub starts_at: Time,
    pub expires_at: Time,
    pub ended_at: Option<Time>,
    pub renews: Option<EmergencyAccessId>,
    pub renewals: i32,
    pub reviewer: String,
    pub review_comment: String,
    pub reviewed_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "EXPIRED")]
    Expired,
    #[sea_orm(string_value = "ENDED")]
    Ended,
    #[sea_orm(string_value = "JUSTIFIED")]
    Justified,
    #[sea_orm(string_value = "UNJUSTIFIED")]
    Unjustified,
}

/// What may be done to an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Expire,
    End,
    Justify,
    Condemn,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[Step::Expire, Step::End, Step::Justify, Step::Condemn];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Active, Step::Expire) => Some(State::Expired),
            (State::Active, Step::End) => Some(State::Ended),
            (State::Expired | State::Ended, Step::Justify) => Some(State::Justified),
            (State::Expired | State::Ended, Step::Condemn) => Some(State::Unjustified),
            (State::Active, Step::Justify | Step::Condemn)
            | (State::Expired | State::Ended, Step::Expire | Step::End)
            | (State::Justified | State::Unjustified, _) => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Active => "ACTIVE",
            State::Expired => "EXPIRED",
            State::Ended => "ENDED",
            State::Justified => "JUSTIFIED",
            State::Unjustified => "UNJUSTIFIED",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    /// Whoever may see the patient, and whoever asked: they answer for it when they no longer see the patient.
    fn of(ctx: &Ctx) -> Select<Self> {
        let all = of_organization(ctx);
        match ctx.caller.reach {
            Reach::Organization => all,
            Reach::Related => all.filter(
                Condition::any()
                    .add(relation::visible_beyond_scope(ctx, Column::Patient))
                    .add(Column::Subject.eq(ctx.subject())),
            ),
        }
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

fn of_organization(ctx: &Ctx) -> Select<Entity> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where a query of emergency accesses begins"
    )]
    Entity::find().filter(Column::Organization.eq(ctx.organization()))
}

/// `ctx`, for the purpose of an emergency: so it stands in the audit log.
pub fn declared(ctx: Ctx) -> Ctx {
    let caller = Caller { purpose: Purpose::Emergency, ..Caller::clone(&ctx.caller) };
    Ctx { caller: Arc::new(caller), ..ctx }
}

/// Lets the caller see the patient, whom they need not have seen before, for an hour.
pub async fn request(tx: Tx, patient: PatientId, reason: String) -> Result<Model> {
    let reason = check::text(&reason, 1..=1000).map_err(|why| Error::invalid("reason", why))?;
    patient::exists(&tx, patient).await?;
    refuse_condemned(&tx, patient).await?;
    let now = tx.ctx.now();
    let before = last(&tx, patient).await?.filter(|before| before.over() > now - LATELY);
    let (renews, renewals) = match &before {
        // Reviewed, it is done with.
        Some(before) if before.reviewed_at.is_none() => (Some(before.id), before.renewals + 1),
        _ => (None, 0),
    };
    if renewals > RENEWALS {
        let why = "it was renewed three times; a supervisor must review the last one first";
        return Err(Error::precondition("EMERGENCY_REVIEW_DUE", why));
    }
    if let Some(before) = before.filter(|before| before.state == State::Active) {
        let before = settled(&tx, before).await?;
        if before.state == State::Active {
            moved(&tx, before, Step::End, String::new()).await?;
        }
    }
    let row = Model {
        id: EmergencyAccessId::generate(),
        organization: tx.ctx.organization(),
        patient,
        subject: tx.ctx.subject().to_owned(),
        roles: tx.ctx.caller.roles.join(" "),
        reason,
        state: State::Active,
        starts_at: now,
        expires_at: now + LIFE,
        ended_at: None,
        renews,
        renewals,
        reviewer: String::new(),
        review_comment: String::new(),
        reviewed_at: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    let row = caseward_store::insert::<Entity>(&tx, row).await?;
    relate(&tx, &row, row.expires_at).await?;
    timer::set(&tx, EXPIRY, row.id.uuid(), row.expires_at).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: Entity::name(&row),
        to: row.state.label(),
        reason_text: row.reason.clone(),
        ..Default::default()
    });
    let event = pb::EmergencyAccessGranted {
        emergency_access: Entity::name(&row),
        patient: patient.to_string(),
        revision: row.revision,
        subject: row.subject.clone(),
        expire_time: Some(row.expires_at.into()),
        renewals,
    };
    tx.emit(Entity::name(&row), row.revision, &event);
    Ok(row)
}

pub async fn get(scope: &Scope, name: EmergencyAccessName) -> Result<Model> {
    Ok(find(scope, name).await?.at(scope.ctx.now()))
}

/// As it is in the table, where a timer that is late has not been yet.
async fn find(scope: &Scope, (patient, id): EmergencyAccessName) -> Result<Model> {
    let select =
        Entity::of(&scope.ctx).filter(Column::Patient.eq(patient)).filter(Column::Id.eq(id));
    caseward_store::get(scope, select, format!("{patient}/{id}")).await
}

/// Ends what is over by the clock, whether its timer has come or not.
async fn settled(tx: &Tx, row: Model) -> Result<Model> {
    if row.state == State::Active && row.expires_at <= tx.ctx.now() {
        return moved(tx, row, Step::Expire, String::new()).await;
    }
    Ok(row)
}

/// Those of `patient`, or of every patient whom the caller may see.
pub async fn list(
    scope: &Scope,
    patient: Option<PatientId>,
    states: &[State],
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let mut select = Entity::of(&scope.ctx);
    if let Some(patient) = patient {
        patient::get(scope, patient).await?;
        select = select.filter(Column::Patient.eq(patient));
    }
    let now = scope.ctx.now();
    if !states.is_empty() {
        let mut wanted = Condition::any();
        for state in states {
            wanted = wanted.add(match *state {
                State::Active => Condition::all()
                    .add(Column::State.eq(State::Active))
                    .add(Column::ExpiresAt.gt(now)),
                State::Expired => Condition::any().add(Column::State.eq(State::Expired)).add(
                    Condition::all()
                        .add(Column::State.eq(State::Active))
                        .add(Column::ExpiresAt.lte(now)),
                ),
                state => Condition::all().add(Column::State.eq(state)),
            });
        }
        select = select.filter(wanted);
    }
    let (rows, next) = caseward_store::page(scope, select, page).await?;
    Ok((rows.into_iter().map(|row| row.at(now)).collect(), next))
}

/// Ends an access before its hour is over.
pub async fn end(tx: Tx, name: EmergencyAccessName, etag: String) -> Result<Model> {
    let row = find(&tx, name).await?;
    if row.subject != tx.ctx.subject() && !tx.ctx.may("emergencies.review") {
        return Err(Error::Denied);
    }
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    moved(&tx, settled(&tx, row).await?, Step::End, String::new()).await
}

/// Says whether there was an emergency.
pub async fn review(
    tx: Tx,
    name: EmergencyAccessName,
    etag: String,
    verdict: i32,
    comment: String,
) -> Result<Model> {
    let row = find(&tx, name).await?;
    if row.subject == tx.ctx.subject() {
        return Err(Error::precondition("OWN_EMERGENCY", "nobody reviews their own access"));
    }
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    let mut bad = Violations::default();
    let verdict = bad.take("verdict", check::known::<Verdict>(verdict));
    let least = usize::from(verdict == Some(Verdict::Unjustified));
    let comment = bad.take("comment", check::text(&comment, least..=2000)).unwrap_or_default();
    bad.finish()?;
    let step = match verdict {
        Some(Verdict::Unjustified) => Step::Condemn,
        _ => Step::Justify,
    };
    moved(&tx, settled(&tx, row).await?, step, comment).await
}

/// The hour of an access is over.
pub async fn fire_expiry(tx: &Tx, id: EmergencyAccessId) -> Result<()> {
    let row = Entity::of(&tx.ctx).filter(Column::Id.eq(id)).one(&tx.db).await?;
    match row {
        Some(row) => settled(tx, row).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Who saw `patient` because of an emergency, from when until when.
pub async fn periods(scope: &Scope, patient: PatientId) -> Result<Vec<(String, Time, Time)>> {
    let rows =
        of_organization(&scope.ctx).filter(Column::Patient.eq(patient)).all(&scope.db).await?;
    Ok(rows.into_iter().map(|row| (row.subject.clone(), row.starts_at, row.over())).collect())
}

/// The caller's accesses to the patient.
fn own(tx: &Tx, patient: PatientId) -> Select<Entity> {
    Entity::of(&tx.ctx)
        .filter(Column::Patient.eq(patient))
        .filter(Column::Subject.eq(tx.ctx.subject()))
}

async fn last(tx: &Tx, patient: PatientId) -> Result<Option<Model>> {
    Ok(own(tx, patient).order_by_desc(Column::Id).one(&tx.db).await?)
}

/// Refuses a caller of whose accesses to the patient any was found unjustified lately, whatever they asked for since.
async fn refuse_condemned(tx: &Tx, patient: PatientId) -> Result<()> {
    let condemned = own(tx, patient)
        .filter(Column::State.eq(State::Unjustified))
        .filter(Column::ReviewedAt.gt(tx.ctx.now() - LATELY));
    if condemned.count(&tx.db).await? > 0 {
        let why = "a supervisor found no emergency within the last 24 hours; ask the supervisor";
        return Err(Error::precondition("EMERGENCY_UNJUSTIFIED", why));
    }
    Ok(())
}

async fn moved(tx: &Tx, mut row: Model, step: Step, comment: String) -> Result<Model> {
    let (name, now) = (Entity::name(&row), tx.ctx.now());
    let before = row.state;
    row.state = before.take(step, &name)?;
    match step {
        Step::Expire | Step::End => row.ended_at = Some(now.min(row.expires_at)),
        Step::Justify | Step::Condemn => {
            row.reviewer = tx.ctx.subject().to_owned();
            row.review_comment = comment;
            row.reviewed_at = Some(now);
        }
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    relate(tx, &row, row.over()).await?;
    timer::clear(tx, EXPIRY, row.id.uuid()).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: name.clone(),
        from: before.label(),
        to: row.state.label(),
        reason_text: row.review_comment.clone(),
        ..Default::default()
    });
    let (emergency_access, patient, revision) =
        (name.clone(), row.patient.to_string(), row.revision);
    let (subject, state) = (row.subject.clone(), Wire::from(row.state).into());
    match step {
        Step::Expire | Step::End => tx.emit(
            &name,
            revision,
            &pb::EmergencyAccessEnded { emergency_access, patient, revision, subject, state },
        ),
        Step::Justify | Step::Condemn => tx.emit(
            &name,
            revision,
            &pb::EmergencyAccessReviewed { emergency_access, patient, revision, subject, state },
        ),
    }
    Ok(row)
}

/// Lets the subject see the patient until `end`, in every service.
async fn relate(tx: &Tx, row: &Model, end: Time) -> Result<()> {
    let grant = relations::Grant {
        patient: row.patient,
        subject: &row.subject,
        basis: Basis::Emergency,
        source: row.id.uuid(),
        name: Entity::name(row),
        revision: row.revision,
        period: Period { start: Some(row.starts_at), end: Some(end) },
    };
    relations::grant(tx, grant).await
}

impl Model {
    /// When it was over, or will be.
    fn over(&self) -> Time {
        self.ended_at.unwrap_or(self.expires_at)
    }

    /// As it stands at `now`, whether its timer has fired or not.
    fn at(mut self, now: Time) -> Self {
        if self.state == State::Active && self.expires_at <= now {
            self.state = State::Expired;
            self.ended_at = Some(self.expires_at);
        }
        self
    }
}

// === wire ===

impl State {
    /// The state with this number in the contract.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Active) => Ok(State::Active),
            Ok(Wire::Expired) => Ok(State::Expired),
            Ok(Wire::Ended) => Ok(State::Ended),
            Ok(Wire::Justified) => Ok(State::Justified),
            Ok(Wire::Unjustified) => Ok(State::Unjustified),
            Ok(Wire::Unspecified) | Err(_) => {
                Err(Error::invalid("states", "holds a value that is not known"))
            }
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Active => Wire::Active,
            State::Expired => Wire::Expired,
            State::Ended => Wire::Ended,
            State::Justified => Wire::Justified,
            State::Unjustified => Wire::Unjustified,
        }
    }
}

impl From<Model> for pb::EmergencyAccess {
    fn from(row: Model) -> Self {
        let name = Entity::name(&row);
        let Model {
            id: _,
            organization: _,
            patient,
            subject,
            roles,
            reason,
            state,
            starts_at,
            expires_at,
            ended_at,
            renews,
            renewals,
            reviewer,
            review_comment,
            reviewed_at,
            created_at,
            updated_at,
            revision,
        } = row;
        pb::EmergencyAccess {
            name,
            subject,
            roles,
            reason,
            state: Wire::from(state).into(),
            start_time: Some(starts_at.into()),
            expire_time: Some(expires_at.into()),
            end_time: ended_at.map(Into::into),
            renews: renews.map(|renews| format!("{patient}/{renews}")).unwrap_or_default(),
            renewals,
            reviewer,
            review_comment,
            review_time: reviewed_at.map(Into::into),
            create_time: Some(created_at.into()),
            update_time: Some(updated_at.into()),
            etag: caseward_store::etag(revision),
        }
    }
}
