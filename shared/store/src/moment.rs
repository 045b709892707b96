//! The moments that ids of version 7 hold, by the machine's clock.
use caseward_core::Time;
use uuid::Uuid;

/// When `id` was made.
pub(crate) fn of(id: Uuid) -> Option<Time> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Some(Time::from_micros(seconds as i64 * 1_000_000 + i64::from(nanos) / 1000))
}

/// The least id that can be made at `at`.
pub(crate) fn first_id(at: Time) -> Uuid {
    let millis = u64::try_from(at.micros() / 1000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
