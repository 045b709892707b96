//! The values a question can be answered with, and how two of them compare.
use std::cmp::Ordering;

use serde_json::Value;
use time::{Date, Month, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{members, number};

/// A code, the system it is from, and what people read.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Coding {
    pub(crate) system: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) display: Option<String>,
}
caseward_core::confidential!(Coding);

/// One value of `value[x]` or `answer[x]`.
#[derive(Clone, PartialEq)]
pub(crate) enum Answer {
    Boolean(bool),
    Integer(i64),
    Decimal(f64),
    Date(String),
    DateTime(String),
    Time(String),
    Text(String),
    Url(String),
    Coding(Coding),
    Quantity {
        value: f64,
        /// The coded unit, or else the printed one.
        unit: Option<String>,
    },
    Attachment,
    Reference(Option<String>),
}
caseward_core::confidential!(Answer);

impl Coding {
    pub(super) fn read(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Self { system: text("system"), code: text("code"), display: text("display") }
    }

    pub(super) fn list(value: &Value) -> Vec<Self> {
        members(value).iter().map(Self::read).collect()
    }

    /// Whether this is the LOINC code.
    pub(crate) fn is_loinc(&self, code: &str) -> bool {
        self.system.as_deref() == Some("http://loinc.org") && self.code.as_deref() == Some(code)
    }

    /// Whether both mean the same concept. Codings without a code compare by what people read.
    fn same(&self, other: &Self) -> bool {
        match (&self.code, &other.code) {
            (Some(ours), Some(theirs)) => ours == theirs && self.system == other.system,
            (None, None) => self.display.is_some() && self.display == other.display,
            _ => false,
        }
    }
}

impl Answer {
    /// Reads the one `{prefix}[x]` of an element: `None` when there is none.
    pub(super) fn read(element: &Value, prefix: &str) -> Result<Option<Self>, &'static str> {
        let Some(fields) = element.as_object() else { return Err("wants an object") };
        let mut typed = fields.iter().filter_map(|(key, value)| {
            let suffix = key.strip_prefix(prefix)?;
            suffix.starts_with(|c: char| c.is_ascii_uppercase()).then_some((suffix, value))
        });
        let Some((suffix, value)) = typed.next() else { return Ok(None) };
        if typed.next().is_some() {
            return Err("holds more than one value");
        }
        Self::typed(suffix, value).map(Some)
    }

    /// A date or time that a condition holds under the name of another type, as real files do.
    pub(super) fn mistyped(element: &Value, prefix: &str) -> Option<Self> {
        let (_, value) = element.as_object()?.iter().find(|(key, _)| key.starts_with(prefix))?;
        ["Date", "Time", "DateTime"].iter().find_map(|suffix| Self::typed(suffix, value).ok())
    }

    fn typed(suffix: &str, value: &Value) -> Result<Self, &'static str> {
        let text = || value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let object = || value.as_object().filter(|fields| !fields.is_empty());
        match suffix {
            "Boolean" => value.as_bool().map(Self::Boolean).ok_or("wants true or false"),
            "Integer" => integer(value).map(Self::Integer).ok_or("wants a whole number of 32 bits"),
            "Decimal" => number(value).map(Self::Decimal).ok_or("wants a number"),
            "Date" => {
                text().filter(|t| is_date(t)).map(Self::Date).ok_or("wants a date that exists")
            }
            "DateTime" => text()
                .filter(|t| is_date_time(t))
                .map(Self::DateTime)
                .ok_or("wants a date and time that exist"),
            "Time" => text().filter(|t| is_time(t)).map(Self::Time).ok_or("wants hh:mm:ss"),
            "String" => text().map(Self::Text).ok_or("wants text"),
            "Uri" => text()
                .filter(|t| !t.contains(char::is_whitespace))
                .map(Self::Url)
                .ok_or("wants a URI"),
            "Coding" => object()
                .map(|_| Coding::read(value))
                .filter(|coding| coding.code.is_some() || coding.display.is_some())
                .map(Self::Coding)
                .ok_or("wants a coding with a code or a display"),
            "Quantity" => {
                let unit = value.get("code").or_else(|| value.get("unit"));
                number(&value["value"])
                    .map(|value| Self::Quantity {
                        value,
                        unit: unit.and_then(Value::as_str).map(str::to_owned),
                    })
                    .ok_or("wants a quantity with a value")
            }
            "Attachment" => object().map(|_| Self::Attachment).ok_or("wants an attachment"),
            "Reference" => object()
                .map(|fields| {
                    let to = fields.get("reference").and_then(Value::as_str);
                    Self::Reference(to.map(str::to_owned))
                })
                .ok_or("wants a reference"),
            _ => Err("is of a type no question has"),
        }
    }

    /// Whether both are the same value.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Coding(ours), Self::Coding(theirs)) => ours.same(theirs),
            (Self::Boolean(ours), Self::Boolean(theirs)) => ours == theirs,
            (Self::Url(ours), Self::Url(theirs)) => ours == theirs,
            (Self::Reference(Some(ours)), Self::Reference(Some(theirs))) => ours == theirs,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// How two values of a kind that has an order compare; values of different kinds do not.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(ours), Self::Text(theirs)) | (Self::Time(ours), Self::Time(theirs)) => {
                Some(ours.cmp(theirs))
            }
            (
                Self::Date(ours) | Self::DateTime(ours),
                Self::Date(theirs) | Self::DateTime(theirs),
            ) => moments(ours, theirs),
            (
                Self::Quantity { value: ours, unit: our_unit },
                Self::Quantity { value: theirs, unit: their_unit },
            ) if our_unit == their_unit => ours.partial_cmp(theirs),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }

    /// The plain number it is, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Decimal(number) => Some(*number),
            _ => None,
        }
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_i64(),
    }
    .filter(|number| i32::try_from(*number).is_ok())
}

/// Compares instants where both have a zone, and otherwise as far as both are precise.
fn moments(ours: &str, theirs: &str) -> Option<Ordering> {
    let instant = |text| OffsetDateTime::parse(text, &Rfc3339).ok();
    if let (Some(ours), Some(theirs)) = (instant(ours), instant(theirs)) {
        return Some(ours.cmp(&theirs));
    }
    let local = |text: &str| text.chars().take(19).collect::<String>();
    let (ours, theirs) = (local(ours), local(theirs));
    let shared = ours.len().min(theirs.len());
    let order = ours.get(..shared)?.cmp(theirs.get(..shared)?);
    // A month is neither before nor after a day in it, nor the same.
    (order.is_ne() || ours.len() == theirs.len()).then_some(order)
}

/// FHIR `date`: a year, a month or a day.
fn is_date(text: &str) -> bool {
    let digits = |text: &str, count| {
        (text.len() == count && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let mut parts = text.split('-');
    let year = parts.next().and_then(|year| digits(year, 4)).filter(|year| *year > 0);
    let rest: Option<Vec<u8>> =
        parts.map(|part| digits(part, 2).and_then(|n| u8::try_from(n).ok())).collect();
    let (Some(year), Some(rest)) = (year, rest) else { return false };
    match rest[..] {
        [] => true,
        [month] => Month::try_from(month).is_ok(),
        [month, day] => Month::try_from(month)
            .is_ok_and(|month| Date::from_calendar_date(year.into(), month, day).is_ok()),
        _ => false,
    }
}

/// FHIR `time`: seconds are required, their fraction is not.
fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let below = |part: &str, limit: u8| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u8>().is_ok_and(|n| n < limit)
    };
    let parts: Vec<&str> = whole.split(':').collect();
    let [hour, minute, second] = parts[..] else { return false };
    below(hour, 24)
        && below(minute, 60)
        && below(second, 61)
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// FHIR `dateTime`; a time without a zone is taken too, because real systems send it.
fn is_date_time(text: &str) -> bool {
    let Some((date, clock)) = text.split_once('T') else { return is_date(text) };
    let clock = match clock.strip_suffix('Z') {
        Some(local) => local,
        None => match clock.rsplit_once(['+', '-']) {
            Some((local, zone)) if is_time(&format!("{zone}:00")) => local,
            Some(_) => return false,
            None => clock,
        },
    };
    date.len() == 10 && is_date(date) && is_time(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_year_a_month_or_a_day_that_exists() {
        for good in ["2024", "2024-02", "2024-02-29"] {
            assert!(is_date(good), "{good}");
        }
        for bad in ["", "24", "2023-02-29", "2024-13", "2024-2-1", "2024-02-29-01", "0000", "+024"]
        {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn a_date_time_may_lack_its_zone_but_not_its_seconds() {
        for good in
            ["2024", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.5-05:00", "2024-05-01T10:00:00"]
        {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "2024-05T10:00:00Z",
            "2024-05-01T10:00Z",
            "2024-05-01T25:00:00Z",
            "2024-05-01T10:00:00+99:00",
            "T",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }

    #[test]
    fn instants_compare_across_zones_and_dates_as_far_as_both_are_precise() {
        let at = |text: &str| Answer::DateTime(text.to_owned());
        assert!(at("2024-05-01T10:00:00Z").same(&at("2024-05-01T12:00:00+02:00")));
        assert_eq!(at("2024").order(&at("2023-12-31")), Some(Ordering::Greater));
        assert_eq!(at("2024").order(&at("2024-12")), None);
        assert_eq!(Answer::Integer(2).order(&Answer::Decimal(2.1)), Some(Ordering::Less));
        assert_eq!(Answer::Integer(2).order(&Answer::Text("2".to_owned())), None);
    }
}
