//! A moment in time, stored alike on every database.
use std::{
    fmt,
    ops::{Add, Sub},
};

use sea_orm::{
    ColIdx, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment in UTC, to the microsecond.
///
/// Stored as microseconds since 1970 in a `BIGINT`: the text that SQLite would hold does not sort
/// where fractions of a second differ in length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(i64);

impl Time {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Time(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Into::into)
    }

    /// As the calendar knows it, in UTC.
    pub fn utc(self) -> OffsetDateTime {
        // Every value was made from an `OffsetDateTime` or bounded by `check::timestamp`.
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Time {
    fn from(at: OffsetDateTime) -> Self {
        Time((at.unix_timestamp_nanos() / 1000) as i64)
    }
}

impl From<Time> for prost_types::Timestamp {
    fn from(at: Time) -> Self {
        prost_types::Timestamp {
            seconds: at.0.div_euclid(1_000_000),
            nanos: (at.0.rem_euclid(1_000_000) * 1000) as i32,
        }
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, by: Duration) -> Time {
        Time(self.0.saturating_add(by.whole_microseconds() as i64))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, by: Duration) -> Time {
        self + -by
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        Duration::microseconds(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().format(&Rfc3339).unwrap_or_default())
    }
}

// === storage ===

impl From<Time> for Value {
    fn from(at: Time) -> Value {
        at.0.into()
    }
}
impl TryGetable for Time {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        i64::try_get_by(row, index).map(Time)
    }
}
impl ValueType for Time {
    fn try_from(v: Value) -> Result<Self, ValueTypeErr> {
        <i64 as ValueType>::try_from(v).map(Time)
    }
    fn type_name() -> String {
        "Time".to_owned()
    }
    fn array_type() -> ArrayType {
        i64::array_type()
    }
    fn column_type() -> ColumnType {
        i64::column_type()
    }
}
impl Nullable for Time {
    fn null() -> Value {
        i64::null()
    }
}
impl sea_orm::IntoActiveValue<Time> for Time {
    fn into_active_value(self) -> sea_orm::ActiveValue<Time> {
        sea_orm::ActiveValue::Set(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wire_and_the_table() {
        for text in
            ["2026-11-23T11:26:00.000001Z", "1850-01-01T00:00:00Z", "1969-12-31T23:59:59.9Z"]
        {
            let at = Time::parse(text).unwrap();
            assert_eq!(at.to_string(), text);
            let wire: prost_types::Timestamp = at.into();
            assert_eq!(crate::check::timestamp(&Some(wire)).unwrap(), at);
            assert_eq!(<Time as ValueType>::try_from(at.into()).unwrap(), at);
        }
    }
}
