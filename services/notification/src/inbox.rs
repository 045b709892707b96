//! Inboxes: what arrived, in order and without gaps, for the eyes of its owner only; supervisors share one.
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_api::notification::v1 as pb;
use caseward_core::{Ctx, Error, Id, Kind, Page, Result, Time, weight};
use caseward_store::{Resource, Scope, Tx};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};

use crate::message::{self, Case, MessageId, Patient, State};

mod counter;
mod name;

pub(crate) use name::{SUPERVISORS, item, owner};

#[derive(Debug)]
pub struct Item;
impl Kind for Item {
    const COLLECTION: &'static str = "items";
}
pub type ItemId = Id<Item>;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox_item")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ItemId,
    pub organization: Uuid,
    /// Whose inbox it is in, by the name with which they sign in; or [`SUPERVISORS`].
    pub owner: String,
    pub sequence: i64,
    pub message: MessageId,
    pub patient: Option<Id<Patient>>,
    pub case_id: Option<Id<Case>>,
    pub purpose: String,
    pub subject: String,
    pub body: String,
    pub read_at: Option<Time>,
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

    /// An inbox is its owner's, whatever else a caller may see.
    fn of(ctx: &Ctx) -> Select<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a query of inboxes begins"
        )]
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(Column::Owner.is_in(name::mine(ctx)))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        name::of(&row.owner, row.id)
    }
    fn patient(row: &Model) -> Option<Uuid> {
        row.patient.map(Id::uuid)
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// Puts `message` into the inbox of `owner`.
///
/// The counter's row is locked until the commit, so items become visible in the order of their sequence:
/// whoever has seen one has seen all before it.
pub(crate) async fn put(tx: &Tx, owner: &str, message: &message::Model) -> Result<()> {
    let (id, now) = (ItemId::generate(), tx.ctx.now());
    let row = Model {
        id,
        organization: tx.ctx.organization(),
        owner: owner.to_owned(),
        sequence: counter::next(tx, owner).await?,
        message: message.id,
        patient: message.patient,
        case_id: message.case_id,
        purpose: message.purpose.clone(),
        subject: message.subject.clone(),
        body: message.body.clone(),
        read_at: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    let row = caseward_store::insert::<Entity>(tx, row).await?;
    let event = pb::InboxItemReceived { inbox_item: name::of(owner, id), sequence: row.sequence };
    tx.emit(name::of(owner, id), row.revision, &event);
    Ok(())
}

/// The newest first.
pub(crate) async fn list(
    scope: &Scope,
    owner: &str,
    unread_only: bool,
    page: &Page,
) -> Result<(Vec<Model>, String)> {
    let mut select = Entity::of(&scope.ctx).filter(Column::Owner.eq(owner));
    if unread_only {
        select = select.filter(Column::ReadAt.is_null());
    }
    if let Some(last) = page.after().and_then(sequence) {
        select = select.filter(Column::Sequence.lt(last));
    }
    let mut rows =
        select.order_by_desc(Column::Sequence).limit(page.limit()).all(&scope.db).await?;
    let next = page.close(&mut rows, weight, |row| row.sequence.to_be_bytes().to_vec());
    for row in &rows {
        row.patient.iter().for_each(|patient| scope.ctx.record.saw(patient.uuid()));
    }
    Ok((rows, next))
}

/// What arrived after `last`, the oldest first.
pub(crate) async fn after(scope: &Scope, owner: &str, last: i64, most: u64) -> Result<Vec<Model>> {
    let select =
        Entity::of(&scope.ctx).filter(Column::Owner.eq(owner)).filter(Column::Sequence.gt(last));
    let rows = select.order_by_asc(Column::Sequence).limit(most).all(&scope.db).await?;
    for row in &rows {
        row.patient.iter().for_each(|patient| scope.ctx.record.saw(patient.uuid()));
    }
    Ok(rows)
}

/// The place of what arrived last; 0 in an empty inbox.
pub(crate) async fn last(scope: &Scope, owner: &str) -> Result<i64> {
    let select = Entity::of(&scope.ctx).filter(Column::Owner.eq(owner));
    let newest = select.order_by_desc(Column::Sequence).one(&scope.db).await?;
    Ok(newest.map_or(0, |row| row.sequence))
}

/// Notes that the owner read an item, and with it its message.
pub(crate) async fn mark_read(
    tx: Tx,
    (owner, id): (String, ItemId),
    etag: String,
) -> Result<Model> {
    let select = Entity::of(&tx.ctx).filter(Column::Owner.eq(&owner)).filter(Column::Id.eq(id));
    let row = caseward_store::get(&tx, select, name::of(&owner, id)).await?;
    caseward_store::expect(Entity::name(&row), row.revision, &etag)?;
    if row.read_at.is_some() {
        return Ok(row);
    }
    let read = Model { read_at: Some(tx.ctx.now()), ..row };
    let row = caseward_store::update::<Entity>(&tx, read).await?;
    // Their own message, which their role may not let them list.
    if let Some(mut message) = message::of_item(&tx, row.message).await?
        && message.state == State::Delivered
    {
        message.enter(&tx, State::Read, "")?;
        let message = caseward_store::update::<message::Entity>(&tx, message).await?;
        message::emit(&tx, &message);
    }
    Ok(row)
}

/// The place that a resume token names.
pub(crate) fn resume(token: &str) -> Result<i64> {
    let wrong = || Error::invalid("resume_token", "not a token of an inbox; start without one");
    let bytes = BASE64.decode(token).map_err(|_| wrong())?;
    sequence(&bytes).filter(|last| *last > 0).ok_or_else(wrong)
}

fn sequence(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

// === wire ===

impl From<Model> for pb::InboxItem {
    fn from(row: Model) -> Self {
        pb::InboxItem {
            name: Entity::name(&row),
            message: row.message.to_string(),
            patient: row.patient.map(|id| id.to_string()).unwrap_or_default(),
            case: row.case_id.map(|id| id.to_string()).unwrap_or_default(),
            purpose: row.purpose,
            subject: row.subject,
            body: row.body,
            receive_time: Some(row.created_at.into()),
            read_time: row.read_at.map(Into::into),
            sequence: row.sequence,
            resume_token: BASE64.encode(row.sequence.to_be_bytes()),
            etag: caseward_store::etag(row.revision),
        }
    }
}
