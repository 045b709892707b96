//! Quiet hours: when a person is not to be disturbed, in their own zone.
use caseward_core::Time;
use jiff::{Timestamp, civil, tz::TimeZone};

/// From when until when, in one zone.
#[derive(Clone, Debug)]
pub(crate) struct Hours {
    zone: TimeZone,
    start: civil::Time,
    end: civil::Time,
}

impl Hours {
    /// Hours as text, `HH:MM`, in the IANA zone `zone`; nothing where one of these does not exist.
    pub(crate) fn parse(zone: &str, start: &str, end: &str) -> Option<Hours> {
        Some(Hours { zone: TimeZone::get(zone).ok()?, start: clock(start)?, end: clock(end)? })
    }

    /// When the quiet that holds at `now` ends; nothing where none holds.
    pub(crate) fn until(&self, now: Time) -> Option<Time> {
        let now = Timestamp::from_microsecond(now.micros()).ok()?.to_zoned(self.zone.clone());
        let time = now.time();
        let (quiet, tomorrow) = if self.start <= self.end {
            (self.start <= time && time < self.end, false)
        } else {
            (self.start <= time || time < self.end, time >= self.start)
        };
        if !quiet {
            return None;
        }
        let date = if tomorrow { now.date().tomorrow().ok()? } else { now.date() };
        let end = date.to_datetime(self.end).to_zoned(self.zone.clone()).ok()?;
        Some(Time::from_micros(end.timestamp().as_microsecond()))
    }
}

fn clock(text: &str) -> Option<civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    // `parse` takes a sign, too, and an offset is no time of day.
    let digits =
        |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    civil::Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(zone: &str, start: &str, end: &str, now: &str) -> Option<String> {
        let now = Time::parse(now).unwrap();
        Hours::parse(zone, start, end).unwrap().until(now).map(|at| at.to_string())
    }

    #[test]
    fn the_night_ends_in_the_morning_of_the_zone() {
        let york = |now| until("America/New_York", "21:00", "08:00", now);
        assert_eq!(york("2026-01-15T03:00:00Z").as_deref(), Some("2026-01-15T13:00:00Z"));
        assert_eq!(york("2026-01-15T12:59:59Z").as_deref(), Some("2026-01-15T13:00:00Z"));
        assert_eq!(york("2026-01-15T13:00:00Z"), None);
        assert_eq!(york("2026-01-16T01:59:59Z"), None);
    }

    #[test]
    fn a_night_in_which_the_clocks_change_ends_at_the_same_hour() {
        let morning = until("America/New_York", "21:00", "08:00", "2026-03-08T04:00:00Z");
        assert_eq!(morning.as_deref(), Some("2026-03-08T12:00:00Z"));
    }

    #[test]
    fn quiet_may_fall_within_a_day() {
        let rest = |now| until("Etc/UTC", "12:00", "14:00", now);
        assert_eq!(rest("2026-01-15T13:00:00Z").as_deref(), Some("2026-01-15T14:00:00Z"));
        assert_eq!(rest("2026-01-15T14:00:00Z"), None);
    }

    #[test]
    fn a_zone_that_does_not_exist_has_no_hours() {
        assert!(Hours::parse("Mars/Olympus", "21:00", "08:00").is_none());
        for time in ["25:00", "+5:00", "-5:00", "08:0x"] {
            assert!(Hours::parse("Etc/UTC", time, "08:00").is_none(), "{time}");
        }
    }
}
