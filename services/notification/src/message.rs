//! Messages: the row, its queries, the requests about it.
use std::collections::BTreeMap;

use caseward_api::notification::v1 as pb;
use caseward_core::{
    Ctx, Error, Id, Kind, Name, Reach, Result, Time, Violations, check, data::Json,
};
use caseward_store::{
    Resource, Scope, Transition, Tx,
    relation::{self, Topic},
    timer,
};
use sea_orm::{Condition, entity::prelude::*};
use serde::{Deserialize, Serialize};
use time::Duration;

pub(crate) use crate::state::State;
use crate::{
    channel::Channel,
    template::{self, TemplateId},
};

mod events;
mod recipient;
mod wire;

pub(crate) use events::emit;
pub(crate) use recipient::Recipient;

#[derive(Debug)]
pub struct Message;
impl Kind for Message {
    const COLLECTION: &'static str = "messages";
}
pub type MessageId = Id<Message>;

/// A patient of the patient service.
#[derive(Debug)]
pub struct Patient;
impl Kind for Patient {
    const COLLECTION: &'static str = "patients";
}

/// A case of the care-plan service.
#[derive(Debug)]
pub struct Case;
impl Kind for Case {
    const COLLECTION: &'static str = "cases";
}

pub(crate) type PatientName = Id<Patient>;
pub(crate) type CaseName = Id<Case>;

/// For how long a message is of use where its sender does not say.
const USEFUL: Duration = Duration::hours(72);

/// The timer at which a message is to be looked at next.
pub(crate) const DUE: &str = "message.due";

/// How many attempts are kept.
const KEPT: usize = 20;

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MessageId,
    pub organization: Uuid,
    pub recipient: String,
    pub patient: Option<Id<Patient>>,
    pub case_id: Option<Id<Case>>,
    pub purpose: String,
    pub template: TemplateId,
    pub template_key: String,
    pub language: String,
    /// As asked for; empty leaves the order to us.
    pub channels: Json<Vec<Channel>>,
    pub phi_class: i32,
    pub state: State,
    /// The number of the wire's `Suppression`.
    pub suppression: i32,
    pub attempts: Json<Vec<Attempt>>,
    pub cause: String,
    /// What the event is about that caused it, by name; empty where a caller sent it.
    pub about: String,
    /// The event, the recipient and the template: one event tells one person one thing once.
    pub event_key: Option<String>,
    pub variables: Json<BTreeMap<String, String>>,
    pub due_at: Time,
    pub expires_at: Time,
    /// Over which it went, or is going.
    pub channel: Option<i32>,
    pub sent_at: Option<Time>,
    pub subject: String,
    pub body: String,
    /// When a channel was about to get it. Still there once nobody works on it: a process died in between.
    pub claimed_at: Option<Time>,
    /// Whether that happened before.
    pub interrupted: bool,
    /// Why it must not be sent any more, where its cause ended while a channel had it in its hands; else empty.
    pub withdrawn: String,
    /// The W3C trace context of the call that caused it, or nothing.
    pub trace: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: i64,
}
caseward_core::confidential!(Model);

/// One attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Time,
    pub channel: Channel,
    /// The number of the wire's `Outcome`.
    pub outcome: i32,
    pub retryable: bool,
    pub next: Option<Time>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    fn of(ctx: &Ctx) -> Select<Self> {
        // What is about no patient is seen by who sent it.
        let own =
            Condition::all().add(Column::Patient.is_null()).add(Column::Cause.eq(ctx.subject()));
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of messages begins"
        )]
        Self::find().filter(Column::Organization.eq(ctx.organization())).filter(
            Condition::any()
                .add(relation::visible_in(ctx, Column::Patient, &[Topic::Messages]))
                .add(own),
        )
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        row.patient.map(Id::uuid)
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

impl Model {
    /// A draft of `template` to `recipient`, of use from now on.
    pub(crate) fn draft(ctx: &Ctx, template: &template::Model, recipient: &Recipient) -> Self {
        let now = ctx.now();
        Model {
            id: MessageId::generate(),
            organization: ctx.organization(),
            recipient: recipient.to_string(),
            patient: recipient.patient(),
            case_id: None,
            purpose: template.key.clone(),
            template: template.id,
            template_key: template.key.clone(),
            language: String::new(),
            channels: Json::default(),
            phi_class: template.phi_class(),
            state: State::Drafted,
            suppression: 0,
            attempts: Json::default(),
            cause: ctx.subject().to_owned(),
            about: String::new(),
            event_key: None,
            variables: Json::default(),
            due_at: now,
            expires_at: now + USEFUL,
            channel: None,
            sent_at: None,
            subject: String::new(),
            body: String::new(),
            claimed_at: None,
            interrupted: false,
            withdrawn: String::new(),
            trace: ctx.record.trace().to_owned(),
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    pub(crate) fn to(&self) -> Result<Recipient> {
        Recipient::read(&self.recipient)
            .ok_or_else(|| Error::internal("a recipient that no longer reads"))
    }

    /// Enters `to` and writes it on the log; the row is still to be written.
    pub(crate) fn enter(&mut self, tx: &Tx, to: State, reason: &str) -> Result<()> {
        if !self.state.next().contains(&to) {
            let allowed = self.state.next().iter().map(|state| state.name()).collect();
            return Err(Error::State {
                name: self.id.to_string(),
                state: self.state.name(),
                allowed,
            });
        }
        tx.log(Transition {
            entity: self.id.uuid(),
            name: self.id.to_string(),
            from: self.state.name(),
            to: to.name(),
            reason_code: reason.to_owned(),
            ..Default::default()
        });
        self.state = to;
        Ok(())
    }

    /// Notes an attempt; the oldest are forgotten.
    pub(crate) fn attempted(&mut self, attempt: Attempt) {
        let excess = (self.attempts.0.len() + 1).saturating_sub(KEPT);
        self.attempts.0.drain(..excess);
        self.attempts.0.push(attempt);
    }

    /// Whether `channel` failed for good, or too often.
    pub(crate) fn is_spent(&self, channel: Channel) -> bool {
        self.attempts.0.iter().rfind(|attempt| attempt.channel == channel).is_some_and(|last| {
            last.next.is_none()
                && last.outcome != i32::from(pb::delivery_attempt::Outcome::Accepted)
        })
    }

    /// Whether two processes died while they sent it. A channel may have it twice by now and gets it no third time.
    pub(crate) fn is_lost(&self) -> bool {
        self.claimed_at.is_some() && self.interrupted
    }

    /// How often `channel` was tried.
    pub(crate) fn tries(&self, channel: Channel) -> usize {
        self.attempts.0.iter().filter(|attempt| attempt.channel == channel).count()
    }
}

pub async fn get(scope: &Scope, id: MessageId) -> Result<Model> {
    caseward_store::get(scope, Entity::of(&scope.ctx).filter(Column::Id.eq(id)), id).await
}

/// The messages that a caller asks for.
pub fn asked(ctx: &Ctx, ask: &pb::ListMessagesRequest) -> Result<Select<Entity>> {
    let (patient, case, states) = check::all((
        check::name::<Id<Patient>>("patient", &ask.patient),
        check::name::<Id<Case>>("case", &ask.case),
        check::choices("states", &ask.states, check::known::<pb::message::State>),
    ))?;
    let mut select = Entity::of(ctx);
    if let Some(patient) = patient {
        select = select.filter(Column::Patient.eq(patient));
    }
    if let Some(case) = case {
        select = select.filter(Column::CaseId.eq(case));
    }
    if !states.is_empty() {
        select = select.filter(Column::State.is_in(states.into_iter().filter_map(State::of)));
    }
    Ok(select)
}

/// Drafts what a caller wants to tell somebody.
pub async fn send(tx: Tx, ask: pb::SendMessageRequest) -> Result<Model> {
    let from = ask.message.unwrap_or_default();
    let mut bad = Violations::default();
    let recipient = bad.take("message.recipient", recipient::checked(&from.recipient));
    let purpose = bad.take("message.purpose", template::purpose(&from.purpose));
    let patient = bad.take("message.patient", optional::<Patient>(&from.patient));
    let case = bad.take("message.case", optional::<Case>(&from.case));
    let channels =
        check::list("message.channels", &from.channels, 0..=3, &mut bad, |channel, bad| {
            bad.take("", Channel::checked(*channel))
        });
    if (1..channels.len()).any(|n| channels[..n].contains(&channels[n])) {
        bad.add("message.channels", "holds a channel twice");
    }
    let now = tx.ctx.now();
    let due_at = bad
        .take("message.due_time", check::moment(&from.due_time))
        .flatten()
        .unwrap_or(now)
        .max(now);
    let expires_at = bad.take("message.expire_time", check::moment(&from.expire_time)).flatten();
    let expires_at = expires_at.unwrap_or(due_at + USEFUL);
    if expires_at <= due_at {
        bad.add("message.expire_time", "wants to be later than due_time and than now");
    }
    if due_at > now + Duration::days(366) {
        bad.add("message.due_time", "is more than a year ahead");
    }
    if let Some(recipient) = &recipient
        && let (Some(of), Some(Some(about))) = (recipient.patient(), &patient)
        && of != *about
    {
        bad.add("message.patient", "is not the patient of the recipient");
    }
    let template: Option<TemplateId> = match Name::parse("message.template", &from.template) {
        Err(Error::Invalid(violations)) => {
            violations.into_iter().for_each(|one| bad.add(one.field, one.why));
            None
        }
        named => Some(named?),
    };
    bad.finish()?;
    let (Some(recipient), Some(purpose), Some(template)) = (recipient, purpose, template) else {
        return Err(Error::internal("a check that failed said nothing"));
    };
    let template = template::get(&tx, template).await?;
    if template.state != template::State::Approved {
        return Err(Error::precondition(
            "TEMPLATE_NOT_APPROVED",
            "only an approved template is sent",
        ));
    }
    let variables = Json(template.values(&ask.variables)?);
    let drafted = Model::draft(&tx.ctx, &template, &recipient);
    let row = Model {
        patient: drafted.patient.or(patient.flatten()),
        case_id: case.flatten(),
        purpose,
        channels: Json(channels),
        variables,
        due_at,
        expires_at,
        ..drafted
    };
    if let Some(patient) = row.patient {
        reachable(&tx, patient).await?;
    }
    insert(&tx, row).await
}

/// Refuses a patient whom the caller may not see, as if there were none.
async fn reachable(tx: &Tx, patient: Id<Patient>) -> Result<()> {
    let seen = match tx.ctx.caller.reach {
        Reach::Organization => true,
        Reach::Related => {
            !relation::between(tx, tx.ctx.subject(), patient.uuid()).await?.is_empty()
        }
    };
    if seen { Ok(()) } else { Err(Error::NotFound(patient.to_string())) }
}

fn optional<K: Kind>(name: &str) -> check::Checked<Option<Id<K>>> {
    if name.is_empty() {
        return Ok(None);
    }
    Name::parse("", name).map(Some).map_err(|_| format!("wants `{}`", Id::<K>::pattern()))
}

/// Writes a draft and the time at which it is looked at.
pub(crate) async fn insert(tx: &Tx, row: Model) -> Result<Model> {
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    tx.log(Transition {
        entity: row.id.uuid(),
        name: row.id.to_string(),
        to: State::Drafted.name(),
        ..Default::default()
    });
    timer::set(tx, DUE, row.id.uuid(), row.due_at).await?;
    emit(tx, &row);
    Ok(row)
}

pub async fn cancel(tx: Tx, id: MessageId, ask: pb::CancelMessageRequest) -> Result<Model> {
    check::text(&ask.reason, 0..=1000).map_err(|why| Error::invalid("reason", why))?;
    let row = get(&tx, id).await?;
    caseward_store::expect(id, row.revision, &ask.etag)?;
    withdraw(&tx, row, "CALLER").await
}

/// Cancels a message that no channel got yet.
async fn withdraw(tx: &Tx, mut row: Model, reason: &str) -> Result<Model> {
    if row.claimed_at.is_some() {
        // A channel has it in its hands; in a moment it will have taken it or not.
        return Err(Error::precondition(
            "BEING_SENT",
            "the message is being sent; look again in a moment",
        ));
    }
    row.enter(tx, State::Cancelled, reason)?;
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timer::clear(tx, DUE, row.id.uuid()).await?;
    emit(tx, &row);
    Ok(row)
}

/// Ends a message that waits and whose cause ended. What a channel has in its hands it may still take, but it is not
/// sent again.
pub(crate) async fn end(tx: &Tx, mut row: Model, reason: &str) -> Result<()> {
    if row.claimed_at.is_none() {
        return withdraw(tx, row, reason).await.map(|_| ());
    }
    reason.clone_into(&mut row.withdrawn);
    let row = caseward_store::update::<Entity>(tx, row).await?;
    timer::set(tx, DUE, row.id.uuid(), tx.ctx.now()).await
}

/// Has those that wait looked at now, of those that `which` names: what allowed them may have ended.
pub(crate) async fn look_again(tx: &Tx, which: Condition) -> Result<()> {
    // What a channel has in its hands is judged again before another attempt.
    for row in waiting(tx, which).await?.iter().filter(|row| row.claimed_at.is_none()) {
        timer::set(tx, DUE, row.id.uuid(), tx.ctx.now()).await?;
    }
    Ok(())
}

/// The messages that wait, of those that `which` names.
pub(crate) async fn waiting(scope: &Scope, which: Condition) -> Result<Vec<Model>> {
    let select = Entity::of(&scope.ctx).filter(which).filter(Column::State.is_in(State::WAITING));
    caseward_store::list(scope, select).await
}

/// How many messages `recipient` got over channels that disturb, since `since`.
pub(crate) async fn disturbed(scope: &Scope, recipient: &str, since: Time) -> Result<u64> {
    let loud = [pb::Channel::Email, pb::Channel::Sms].map(i32::from);
    let select = Entity::of(&scope.ctx)
        .filter(Column::Recipient.eq(recipient))
        .filter(Column::SentAt.gt(since))
        .filter(Column::Channel.is_in(loud));
    Ok(select.count(&scope.db).await?)
}

/// Whether the same was told to the same person within a day.
pub(crate) async fn is_duplicate(scope: &Scope, row: &Model) -> Result<bool> {
    let select = Entity::of(&scope.ctx)
        .filter(Column::Recipient.eq(&row.recipient))
        .filter(Column::SentAt.gt(scope.ctx.now() - Duration::days(1)))
        .filter(Column::State.is_in(State::TAKEN))
        .filter(Column::TemplateKey.eq(&row.template_key))
        .filter(Column::Cause.eq(&row.cause))
        .filter(Column::Id.ne(row.id));
    let earlier = select.all(&scope.db).await?;
    Ok(earlier.iter().any(|sent| {
        (sent.patient, sent.case_id, &sent.purpose, &sent.variables)
            == (row.patient, row.case_id, &row.purpose, &row.variables)
    }))
}

/// The message of an item that its owner reads: theirs, whatever patients they may see.
pub(crate) async fn of_item(scope: &Scope, id: MessageId) -> Result<Option<Model>> {
    let found = Entity::find_by_id(id).filter(Column::Organization.eq(scope.ctx.organization()));
    Ok(found.one(&scope.db).await?)
}
