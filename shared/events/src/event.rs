//! An event as a consumer sees it.
use std::fmt;

use bytes::Bytes;
use caseward_core::{Error, Result, Time};
use caseward_store::{outbox, parked};
use prost::{Message, Name};
use uuid::Uuid;

/// One thing that happened in some service.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The same on every delivery.
    pub id: Uuid,
    /// The tenant.
    pub organization: Uuid,
    /// The full name of the event's message.
    pub subject: String,
    /// The name of the resource it is about; order is kept per aggregate.
    pub aggregate: String,
    /// The revision of the aggregate it speaks of.
    pub revision: i64,
    /// When it happened.
    pub occurred_at: Time,
    /// The W3C `traceparent` of the call that caused it, or nothing.
    pub trace: String,
    /// The message.
    pub payload: Bytes,
}

impl Event {
    /// Whether it is an `E`.
    pub fn is<E: Name>(&self) -> bool {
        self.subject == E::full_name()
    }

    /// The message, if it is an `E`. One that says so and cannot be read is an error, never silence.
    pub fn decode<E: Message + Name + Default>(&self) -> Result<Option<E>> {
        if !self.is::<E>() {
            return Ok(None);
        }
        E::decode(self.payload.clone()).map(Some).map_err(Error::internal)
    }
}

impl From<outbox::Model> for Event {
    fn from(row: outbox::Model) -> Self {
        let outbox::Model {
            id,
            organization,
            subject,
            aggregate,
            revision,
            payload,
            trace,
            created_at,
            published_at: _,
        } = row;
        let payload = payload.into();
        Event {
            id,
            organization,
            subject,
            aggregate,
            revision,
            occurred_at: created_at,
            trace,
            payload,
        }
    }
}

impl From<parked::Model> for Event {
    /// The row does not keep when the event happened; its id tells it to the millisecond.
    fn from(row: parked::Model) -> Self {
        let occurred_at = row.event.get_timestamp().map_or(row.parked_at, |at| {
            let (seconds, nanos) = at.to_unix();
            Time::from_micros(seconds as i64 * 1_000_000 + i64::from(nanos / 1000))
        });
        Event {
            id: row.event,
            organization: row.organization,
            subject: row.subject,
            aggregate: row.aggregate,
            revision: row.revision,
            occurred_at,
            trace: row.trace,
            payload: row.payload.into(),
        }
    }
}

/// The payload stays out of every log.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .field("aggregate", &self.aggregate)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
