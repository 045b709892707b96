//! Checks of what a caller sent: each says what is wrong, and all that is wrong is said at once.
use std::ops::RangeInclusive;

use time::{Date, Month, OffsetDateTime};
use uuid::Uuid;

use crate::{Error, Name, Result, Time, Violation, data::Identifier};

/// The outcome of a check: the value as we keep it, or what is wrong with it.
pub type Checked<T> = std::result::Result<T, String>;

/// Everything that is wrong with one request.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes what is wrong with `field`.
    pub fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Violation { field: field.into(), why: why.into() });
    }

    /// The checked value, unless the check failed.
    pub fn take<T>(&mut self, field: &str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|why| self.add(field, why)).ok()
    }

    /// Puts the checked value into a row, unless the check failed.
    pub fn put<T>(&mut self, slot: &mut T, field: &str, checked: Checked<T>) {
        if let Some(value) = self.take(field, checked) {
            *slot = value;
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what is wrong with a part, under the part's path.
    pub fn absorb(&mut self, path: &str, part: Violations) {
        for Violation { field, why } in part.0 {
            self.add(format!("{path}{}{field}", if field.is_empty() { "" } else { "." }), why);
        }
    }

    /// Refuses the request if anything was wrong.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

impl From<Violations> for Vec<Violation> {
    fn from(violations: Violations) -> Self {
        violations.0
    }
}

/// Text of so many characters, without control characters other than line ends and tabs.
pub fn text(value: &str, length: RangeInclusive<usize>) -> Checked<String> {
    let count = value.chars().count();
    if !length.contains(&count) {
        return Err(match (*length.start(), count) {
            (1.., 0) => "is required".to_owned(),
            (least, _) => format!("wants {least} to {} characters", length.end()),
        });
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must not hold control characters".to_owned());
    }
    Ok(value.to_owned())
}

/// Text that may be empty, in which case it is absent.
pub fn optional(value: &str, longest: usize) -> Checked<Option<String>> {
    text(value, 0..=longest).map(|text| (!text.is_empty()).then_some(text))
}

/// A list of so many members, each checked.
pub fn list<W, T>(
    field: &str,
    members: &[W],
    size: RangeInclusive<usize>,
    violations: &mut Violations,
    check: impl Fn(&W, &mut Violations) -> Option<T>,
) -> Vec<T> {
    if !size.contains(&members.len()) {
        violations.add(field, format!("wants {} to {} members", size.start(), size.end()));
        return vec![];
    }
    let mut checked = Vec::with_capacity(members.len());
    for (n, member) in members.iter().enumerate() {
        let mut inner = Violations::default();
        if let Some(value) = check(member, &mut inner) {
            checked.push(value);
        }
        violations.absorb(&format!("{field}[{n}]"), inner);
    }
    checked
}

/// A member of a wire enumeration that is known and said; `UNSPECIFIED` is refused.
pub fn known<E: TryFrom<i32>>(number: i32) -> Checked<E> {
    match number {
        0 => Err("is required".to_owned()),
        number => E::try_from(number).map_err(|_| UNKNOWN.to_owned()),
    }
}

const UNKNOWN: &str = "is not a known value";

/// A number within bounds.
pub fn within<T: PartialOrd + std::fmt::Display>(
    value: T,
    bounds: RangeInclusive<T>,
) -> Checked<T> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("wants {} to {}", bounds.start(), bounds.end()))
}

/// A moment between the years 1 and 9999 that is given.
pub fn timestamp(value: &Option<prost_types::Timestamp>) -> Checked<Time> {
    let at = value.as_ref().ok_or("is required")?;
    if !(0..1_000_000_000).contains(&at.nanos) {
        return Err("nanos wants 0 to 999999999".to_owned());
    }
    OffsetDateTime::from_unix_timestamp(at.seconds)
        .ok()
        .filter(|at| (1..=9999).contains(&at.year()))
        .map(|_| Time::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos) / 1000))
        .ok_or_else(|| "is outside the years 1 to 9999".to_owned())
}

/// A moment that may be absent.
pub fn moment(value: &Option<prost_types::Timestamp>) -> Checked<Option<Time>> {
    value.as_ref().map(|_| timestamp(value)).transpose()
}

/// A zone of the IANA database, by its name there; empty where none is named.
pub fn time_zone(name: &str) -> Checked<String> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let zone = jiff::tz::TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    let known = zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned);
    known.ok_or_else(|| "wants an IANA name such as `America/New_York`".to_owned())
}

/// A date that exists.
pub fn date(year: i32, month: i32, day: i32) -> Checked<Date> {
    let month = u8::try_from(month)
        .ok()
        .and_then(|m| Month::try_from(m).ok())
        .ok_or("month wants 1 to 12")?;
    if !(1..=9999).contains(&year) {
        return Err("year wants 1 to 9999".to_owned());
    }
    u8::try_from(day)
        .ok()
        .and_then(|day| Date::from_calendar_date(year, month, day).ok())
        .ok_or_else(|| "is a day that does not exist".to_owned())
}

/// How long the name of a caller is, at most: what holds one holds it whole, and no token is taken that has a longer one.
pub const SUBJECT: usize = 200;

/// How many fields a mask names at most, and how long a name may be. No resource has more, or longer ones.
const MASKED: usize = 100;

/// The fields that a mask names; all of `writable` where it names none (AIP-134).
pub fn masked<'a>(mask: &'a prost_types::FieldMask, writable: &[&'a str]) -> Result<Vec<&'a str>> {
    if mask.paths.len() > MASKED || mask.paths.iter().any(|path| path.len() > MASKED) {
        let why = format!("wants at most {MASKED} paths of at most {MASKED} characters");
        return Err(Error::invalid("update_mask", why));
    }
    match &mask.paths[..] {
        [] => Ok(writable.to_vec()),
        paths => Ok(paths.iter().map(String::as_str).collect()),
    }
}

/// How many members a filter names at most.
const CHOICES: usize = 100;

/// What the numbers of a filter stand for, such as the states of a resource, each as `known` knows it.
pub fn choices<T, E>(
    field: &str,
    numbers: &[i32],
    known: impl Fn(i32) -> std::result::Result<T, E>,
) -> Result<Vec<T>> {
    let mut bad = Violations::default();
    let chosen = list(field, numbers, 0..=CHOICES, &mut bad, |number, bad| {
        bad.take("", known(*number).map_err(|_| UNKNOWN.to_owned()))
    });
    bad.finish()?;
    Ok(chosen)
}

/// The member of an enumeration that the filter `field` names, if it names one.
pub fn choice<W: TryFrom<i32>>(field: &str, number: i32) -> Result<Option<W>> {
    match number {
        0 => Ok(None),
        number => known(number).map(Some).map_err(|why| Error::invalid(field, why)),
    }
}

/// The resource that the filter `field` names, if it names one.
pub fn name<N: Name>(field: &str, name: &str) -> Result<Option<N>> {
    if name.is_empty() { Ok(None) } else { N::parse(field, name).map(Some) }
}

/// The words that the filter `field` wants, if it wants any.
pub fn wanted(field: &str, value: &str, longest: usize) -> Result<Option<String>> {
    optional(value, longest).map_err(|why| Error::invalid(field, why))
}

/// The moments `from` and `until` that a filter wants, where it wants any.
pub fn between(
    from: &Option<prost_types::Timestamp>,
    until: &Option<prost_types::Timestamp>,
) -> Result<(Option<Time>, Option<Time>)> {
    all((
        moment(from).map_err(|why| Error::invalid("from", why)),
        moment(until).map_err(|why| Error::invalid("until", why)),
    ))
}

/// The identifier that a filter wants as `{system}|{value}`, if it wants one.
pub fn identifier(field: &str, token: &str) -> Result<Option<Identifier>> {
    if token.is_empty() {
        return Ok(None);
    }
    // A URI does not hold this sign; a value may.
    let found = token.split_once('|').and_then(|(system, value)| {
        let (system, value) = (text(system, 1..=200).ok()?, text(value, 1..=200).ok()?);
        Some(Identifier { system, value })
    });
    let wants = "wants `{system}|{value}`, each of 1 to 200 characters";
    found.map(Some).ok_or_else(|| Error::invalid(field, wants))
}

/// What several parts of one request say together: all of them, or all that is wrong with any of them.
pub trait Parts {
    /// What they say.
    type Whole;
    /// Puts them together.
    fn whole(self) -> Result<Self::Whole>;
}

/// All of `parts`, a tuple of results, or everything that is wrong with any of them.
pub fn all<P: Parts>(parts: P) -> Result<P::Whole> {
    parts.whole()
}

impl<A, B> Parts for (Result<A>, Result<B>) {
    type Whole = (A, B);
    fn whole(self) -> Result<(A, B)> {
        match self {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (Err(Error::Invalid(mut a)), Err(Error::Invalid(b))) => {
                a.extend(b);
                Err(Error::Invalid(a))
            }
            // What is no fault of the request goes before what is.
            (Err(Error::Invalid(_)), Err(other)) => Err(other),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

impl<A, B, C> Parts for (Result<A>, Result<B>, Result<C>) {
    type Whole = (A, B, C);
    fn whole(self) -> Result<(A, B, C)> {
        let (a, b, c) = self;
        all((all((a, b)), c)).map(|((a, b), c)| (a, b, c))
    }
}

impl<A, B, C, D> Parts for (Result<A>, Result<B>, Result<C>, Result<D>) {
    type Whole = (A, B, C, D);
    fn whole(self) -> Result<(A, B, C, D)> {
        let (a, b, c, d) = self;
        all((all((a, b)), all((c, d)))).map(|((a, b), (c, d))| (a, b, c, d))
    }
}

/// The id of a request: absent, or a UUID (AIP-155).
pub fn request_id(value: &str) -> Result<Option<Uuid>> {
    match value {
        "" => Ok(None),
        id => {
            Uuid::try_parse(id).map(Some).map_err(|_| Error::invalid("request_id", "wants a UUID"))
        }
    }
}

/// An email address as SMTP needs it: one `@`, a local part, a domain, printable ASCII.
pub fn email(value: &str) -> Checked<String> {
    let (local, domain) = value.rsplit_once('@').ok_or("is not an email address")?;
    let printable = value.bytes().all(|b| b.is_ascii_graphic() && !b"<>(),;:\\\"[]".contains(&b));
    if local.is_empty()
        || domain.is_empty()
        || local.contains('@')
        || !printable
        || value.len() > 254
    {
        return Err("is not an email address".to_owned());
    }
    Ok(value.to_owned())
}

/// A code such as a language or a currency: letters, digits, `-`, `_`, `.`.
pub fn code(value: &str, length: RangeInclusive<usize>) -> Checked<String> {
    if value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return text(value, length);
    }
    Err("wants letters, digits, `-`, `_` and `.` only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_exists_or_is_refused() {
        assert!(date(2024, 2, 29).is_ok());
        for (year, month, day) in
            [(2023, 2, 29), (2024, 13, 1), (0, 1, 1), (2024, 1, 0), (2024, -1, 5)]
        {
            assert!(date(year, month, day).is_err());
        }
    }

    #[test]
    fn text_is_counted_in_characters_and_holds_no_controls() {
        assert!(text("ñandú", 1..=5).is_ok());
        assert_eq!(text("", 1..=5).unwrap_err(), "is required");
        assert!(text("a\u{0}b", 1..=5).is_err());
    }

    #[test]
    fn what_is_wrong_with_any_part_of_a_request_is_said_together() {
        let bad = |field: &str| -> Result<u8> { Err(Error::invalid(field, "is wrong")) };
        let Err(Error::Invalid(said)) =
            all((bad("parent"), Ok(1), bad("page_size"), bad("states")))
        else {
            panic!("must be refused")
        };
        let fields: Vec<&str> = said.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["parent", "page_size", "states"]);
        assert!(matches!(all((bad("parent"), Err::<u8, _>(Error::Denied))), Err(Error::Denied)));
        assert_eq!(all((Ok(1), Ok("two"), Ok(3.0))).unwrap(), (1, "two", 3.0));
    }

    #[test]
    fn a_mask_has_bounds() {
        let mask = |paths: Vec<String>| prost_types::FieldMask { paths };
        assert_eq!(masked(&mask(vec![]), &["a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(masked(&mask(vec!["b".to_owned()]), &["a", "b"]).unwrap(), ["b"]);
        assert!(masked(&mask(vec!["a".to_owned(); 101]), &["a"]).is_err());
        assert!(masked(&mask(vec!["a".repeat(101)]), &["a"]).is_err());
    }

    #[test]
    fn an_identifier_is_a_system_and_a_value() {
        let read = |token: &str| identifier("identifier", token);
        let id = read("urn:mrn|1|2").unwrap().unwrap();
        assert_eq!((id.system.as_str(), id.value.as_str()), ("urn:mrn", "1|2"));
        assert!(read("").unwrap().is_none());
        let long = format!("urn:mrn|{}", "1".repeat(201));
        for token in ["urn:mrn", "|1", "urn:mrn|", "|", "urn\0|1", &long] {
            assert!(read(token).is_err(), "{token}");
        }
    }

    #[test]
    fn every_violation_is_named_with_its_path() {
        let mut bad = Violations::default();
        list("names", &["", "ok", "toolong"], 1..=3, &mut bad, |name, bad| {
            bad.take("family", text(name, 1..=5))
        });
        let Err(Error::Invalid(all)) = bad.finish() else { panic!("must be refused") };
        let fields: Vec<&str> = all.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["names[0].family", "names[2].family"]);
    }
}
