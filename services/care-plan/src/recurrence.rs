//! How often something happens: the grammar of RFC 5545's recurrence rules (section 3.3.10). The crate `rrule`, tried at
//! 0.14, takes an INTERVAL or a COUNT of 0, the zeroth Monday and counted weekdays of a week, which nobody could carry out.
use std::collections::BTreeMap;

use caseward_core::check::{self, Checked};

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// The rule as given, where it is one.
pub fn checked(rule: &str) -> Checked<String> {
    let given = check::text(rule, 1..=500)?;
    let upper = rule.to_ascii_uppercase();
    let mut parts = BTreeMap::new();
    for part in upper.split(';') {
        let (name, value) =
            part.split_once('=').ok_or("wants parts such as FREQ=WEEKLY, separated by `;`")?;
        if !is_right(name, value) {
            // What a caller wrote is not repeated, except the names that we know.
            return Err(match NAMES.iter().find(|known| **known == name) {
                Some(name) => format!("has a {name} that RFC 5545 does not know"),
                None => "has a part that RFC 5545 does not know".to_owned(),
            });
        }
        if parts.insert(name, value).is_some() {
            return Err(format!("says {name} twice"));
        }
    }
    agree(&parts)?;
    Ok(given)
}

const NAMES: [&str; 14] = [
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
];

fn is_right(name: &str, value: &str) -> bool {
    let each = |right: &dyn Fn(&str) -> bool| value.split(',').all(right);
    match name {
        "FREQ" => matches!(
            value,
            "SECONDLY" | "MINUTELY" | "HOURLY" | "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY"
        ),
        "UNTIL" => is_moment(value),
        "COUNT" | "INTERVAL" => number(value).is_some_and(|n| n >= 1),
        "BYSECOND" => each(&|one| number(one).is_some_and(|n| n <= 60)),
        "BYMINUTE" => each(&|one| number(one).is_some_and(|n| n <= 59)),
        "BYHOUR" => each(&|one| number(one).is_some_and(|n| n <= 23)),
        "BYMONTH" => each(&|one| number(one).is_some_and(|n| (1..=12).contains(&n))),
        "BYMONTHDAY" => each(&|one| is_place(one, 31)),
        "BYYEARDAY" | "BYSETPOS" => each(&|one| is_place(one, 366)),
        "BYWEEKNO" => each(&|one| is_place(one, 53)),
        "BYDAY" => each(&|one| {
            let (place, day) = split_day(one);
            WEEKDAYS.contains(&day) && (place.is_empty() || is_place(place, 53))
        }),
        "WKST" => WEEKDAYS.contains(&value),
        _ => false,
    }
}

/// What the parts demand of each other.
fn agree(parts: &BTreeMap<&str, &str>) -> Checked<()> {
    let has = |name: &str| parts.contains_key(name);
    let Some(often) = parts.get("FREQ").copied() else {
        return Err("wants a FREQ, such as FREQ=WEEKLY".to_owned());
    };
    let counted = parts
        .get("BYDAY")
        .is_some_and(|days| days.split(',').any(|day| !split_day(day).0.is_empty()));
    let by_others = parts.keys().any(|name| name.starts_with("BY") && *name != "BYSETPOS");
    let wrong = [
        (has("UNTIL") && has("COUNT"), "says UNTIL or COUNT, not both"),
        (
            counted && (!matches!(often, "MONTHLY" | "YEARLY") || has("BYWEEKNO")),
            "counts weekdays within a month or a year only",
        ),
        (has("BYMONTHDAY") && often == "WEEKLY", "has no BYMONTHDAY within a week"),
        (
            has("BYYEARDAY") && matches!(often, "DAILY" | "WEEKLY" | "MONTHLY"),
            "has no BYYEARDAY within a day, a week or a month",
        ),
        (has("BYWEEKNO") && often != "YEARLY", "has a BYWEEKNO within a year only"),
        (has("BYSETPOS") && !by_others, "wants another BY part beside BYSETPOS"),
    ];
    match wrong.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, why)) => Err(why.to_owned()),
        None => Ok(()),
    }
}

/// `2MO` in its place and its day.
fn split_day(day: &str) -> (&str, &str) {
    day.find(|c: char| c.is_ascii_alphabetic()).map_or((day, ""), |at| day.split_at(at))
}

/// A number of digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A place counted from the start or, with a minus, from the end.
fn is_place(text: &str, most: u32) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    number(unsigned).is_some_and(|n| (1..=most).contains(&n))
}

/// `20260301`, `20260301T090000` or `20260301T090000Z`, on a day that exists.
fn is_moment(text: &str) -> bool {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z').unwrap_or(time))),
        None => (text, None),
    };
    let part = |text: &str, at: std::ops::Range<usize>| {
        text.get(at).and_then(number).and_then(|n| i32::try_from(n).ok())
    };
    let day = || check::date(part(date, 0..4)?, part(date, 4..6)?, part(date, 6..8)?).ok();
    let clock = |time: &str| {
        let within = |at, most| part(time, at).is_some_and(|n| n <= most);
        time.len() == 6 && within(0..2, 23) && within(2..4, 59) && within(4..6, 60)
    };
    date.len() == 8 && day().is_some() && time.is_none_or(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_standard_are_accepted() {
        for rule in [
            "FREQ=WEEKLY",
            "FREQ=DAILY;INTERVAL=2;COUNT=10",
            "FREQ=WEEKLY;UNTIL=20261224T000000Z;WKST=SU;BYDAY=TU,TH",
            "FREQ=MONTHLY;BYDAY=1FR,-1SU",
            "FREQ=MONTHLY;BYMONTHDAY=2,15,-3",
            "FREQ=YEARLY;BYDAY=+20MO",
            "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
            "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,-366",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
            "FREQ=HOURLY;INTERVAL=3;UNTIL=20260902",
            "BYHOUR=9,10,11;BYMINUTE=0,20,40;FREQ=DAILY",
            "freq=weekly;byday=mo",
        ] {
            assert_eq!(checked(rule).as_deref(), Ok(rule));
        }
    }

    #[test]
    fn what_only_looks_like_a_rule_is_refused() {
        for rule in [
            "FREQ=",
            "FREQ=SOMETIMES",
            "FREQ=WEEKLY;",
            "FREQ=WEEKLY;FREQ=DAILY",
            "FREQ=WEEKLY;BYDAY=XX",
            "FREQ=WEEKLY;BYDAY=2MO",
            "FREQ=MONTHLY;BYDAY=0MO",
            "FREQ=WEEKLY;BYMONTHDAY=1",
            "FREQ=MONTHLY;BYYEARDAY=1",
            "FREQ=MONTHLY;BYWEEKNO=1",
            "FREQ=DAILY;INTERVAL=0",
            "FREQ=DAILY;INTERVAL=+2",
            "FREQ=DAILY;COUNT=",
            "FREQ=DAILY;COUNT=2;UNTIL=20260301",
            "FREQ=DAILY;UNTIL=20260230",
            "FREQ=DAILY;UNTIL=20260301T250000Z",
            "FREQ=DAILY;BYHOUR=24",
            "FREQ=MONTHLY;BYSETPOS=1",
            "INTERVAL=2",
            "FREQ=DAILY;X-NAME=é",
            "RRULE:FREQ=DAILY",
            "every other day",
        ] {
            assert!(checked(rule).is_err(), "{rule}");
        }
    }
}
