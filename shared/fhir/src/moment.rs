//! FHIR `date`, `dateTime` and `instant`: a year, a month, a day, or a time with or without a zone.
use caseward_api::types::v1 as pb;
use prost_types::Timestamp;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// What a FHIR date or time says: no more than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A year.
    Year(i32),
    /// A month of a year.
    Month(i32, Month),
    /// A day.
    Day(Date),
    /// An instant.
    Instant {
        /// As published.
        at: OffsetDateTime,
        /// Whether the zone was said.
        zoned: bool,
    },
}

/// Understands a FHIR date or time; `None` where it is none or does not exist.
pub(crate) fn parse(text: &str) -> Option<Moment> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let year = i32::try_from(year).ok().filter(|year| *year >= 1)?;
    let Some(month) = parts.next() else {
        return time.is_none().then_some(Moment::Year(year));
    };
    let month = Month::try_from(u8::try_from(digits(month, 2)?).ok()?).ok()?;
    let Some(day) = parts.next() else {
        return time.is_none().then_some(Moment::Month(year, month));
    };
    let day = u8::try_from(digits(day, 2)?).ok()?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    match time {
        None => Some(Moment::Day(date)),
        Some(time) => instant(date, time),
    }
}

fn instant(date: Date, text: &str) -> Option<Moment> {
    let (clock, zone) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(|part| digits(part, 2).and_then(|n| u8::try_from(n).ok()));
    let (hour, minute) = (parts.next()??, parts.next()??);
    // A leap second is the second before it.
    let second = parts.next().unwrap_or(Some(0))?.min(59);
    if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: u32 = format!("{fraction:0<6.6}").parse().ok()?;
    let clock = Time::from_hms_micro(hour, minute, second, micros).ok()?;
    let offset = zone.map_or(Some(UtcOffset::UTC), offset)?;
    let at = PrimitiveDateTime::new(date, clock).assume_offset(offset);
    // At the edges of the calendar the zone may lead out of it.
    let year = at.checked_to_offset(UtcOffset::UTC)?.year();
    (1..=9999).contains(&year).then_some(Moment::Instant { at, zoned: zone.is_some() })
}

fn offset(zone: &str) -> Option<UtcOffset> {
    if matches!(zone, "Z" | "z") {
        return Some(UtcOffset::UTC);
    }
    let (hours, minutes) = zone[1..].split_once(':')?;
    let hours = i8::try_from(digits(hours, 2)?).ok()?;
    let minutes = i8::try_from(digits(minutes, 2)?).ok()?;
    match zone.as_bytes()[0] {
        b'+' => UtcOffset::from_hms(hours, minutes, 0).ok(),
        _ => UtcOffset::from_hms(-hours, -minutes, 0).ok(),
    }
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

impl Moment {
    /// The date, as far as it is known; of an instant, the date where it was written.
    pub(crate) fn date(&self) -> pb::Date {
        match self {
            Moment::Year(year) => pb::Date { year: *year, month: 0, day: 0 },
            Moment::Month(year, month) => {
                pb::Date { year: *year, month: i32::from(u8::from(*month)), day: 0 }
            }
            Moment::Day(date) => calendar(*date),
            Moment::Instant { at, .. } => calendar(at.date()),
        }
    }

    /// The first instant of what it says.
    pub(crate) fn begins(&self) -> Timestamp {
        match self {
            Moment::Instant { at, .. } => timestamp(*at),
            _ => timestamp(self.first_day().midnight().assume_utc()),
        }
    }

    /// The first instant after what it says: FHIR's `Period.end` includes the day, the month or the year it names.
    pub(crate) fn ends(&self) -> Timestamp {
        let next = match self {
            Moment::Instant { at, .. } => return timestamp(*at),
            Moment::Year(year) => Date::from_calendar_date(year + 1, Month::January, 1).ok(),
            Moment::Month(year, Month::December) => {
                Date::from_calendar_date(year + 1, Month::January, 1).ok()
            }
            Moment::Month(year, month) => Date::from_calendar_date(*year, month.next(), 1).ok(),
            Moment::Day(date) => date.next_day(),
        };
        timestamp(next.unwrap_or(Date::MAX).midnight().assume_utc())
    }

    /// The instant that stands for the day where only the day is known: noon, so that no zone changes the day.
    pub(crate) fn noon(&self) -> Timestamp {
        match self {
            Moment::Instant { at, .. } => timestamp(*at),
            _ => timestamp(self.first_day().midnight().assume_utc() + Duration::hours(12)),
        }
    }

    /// Whether it is a time whose zone was not said.
    pub(crate) fn lacks_zone(&self) -> bool {
        matches!(self, Moment::Instant { zoned: false, .. })
    }

    fn first_day(&self) -> Date {
        let first = |year, month| Date::from_calendar_date(year, month, 1).unwrap_or(Date::MIN);
        match self {
            Moment::Year(year) => first(*year, Month::January),
            Moment::Month(year, month) => first(*year, *month),
            Moment::Day(date) => *date,
            Moment::Instant { at, .. } => at.date(),
        }
    }
}

fn calendar(date: Date) -> pb::Date {
    pb::Date {
        year: date.year(),
        month: i32::from(u8::from(date.month())),
        day: i32::from(date.day()),
    }
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_precision_is_understood() {
        assert_eq!(parse("1974"), Some(Moment::Year(1974)));
        assert_eq!(parse("1974-12"), Some(Moment::Month(1974, Month::December)));
        assert_eq!(
            parse("1974-12-25").unwrap().date(),
            pb::Date { year: 1974, month: 12, day: 25 }
        );
        assert_eq!(parse("2014-01-03T05:43:59+10:00").unwrap().begins().seconds, 1_388_691_839);
        assert_eq!(parse("2019-08-18T12:31:35.123Z").unwrap().begins().nanos, 123_000_000);
        assert!(parse("2020-10-01T08:00:00").unwrap().lacks_zone());
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for text in [
            "",
            "19",
            "1974-13",
            "1974-02-30",
            "0000-01-01",
            "2020-01-01T25:00:00Z",
            "2020T10:00",
            "2020-01-01T10:00:00+1000",
            "tomorrow",
            "2020-01-01T",
            "9999-12-31T23:59:59-14:00",
            "2020-01-01T10:00:00Zé",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_end_includes_the_day_it_names() {
        assert_eq!(parse("2012-02-28").unwrap().ends(), parse("2012-02-29").unwrap().begins());
        assert_eq!(parse("2012-12").unwrap().ends(), parse("2013").unwrap().begins());
        assert_eq!(parse("2012").unwrap().ends(), parse("2013").unwrap().begins());
    }
}
