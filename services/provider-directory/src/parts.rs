//! The values that several records hold: hours, qualifications, whether new patients are taken, positions.
use caseward_api::{
    directory::v1::{self as pb, availability::Day},
    types::v1 as types,
};
use caseward_core::{
    Violations,
    check::{self, Checked},
    data::{self, Concept, Identifier, Json, Period},
};
use serde::{Deserialize, Serialize};

use crate::{organization::OrganizationId, reference::References};

/// Hours of the week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Availability {
    /// The numbers of the wire's `Day`; none means every day.
    pub days: Vec<i32>,
    pub all_day: bool,
    pub start_time: String,
    pub end_time: String,
}

/// A time when nobody is available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Absence {
    pub description: String,
    pub period: Period,
}

/// Whether new patients are taken, in one network or in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPatients {
    /// The number of the wire's `AcceptingPatients`.
    pub accepting: i32,
    pub network: Option<OrganizationId>,
    pub characteristics: String,
}

/// A licence, a degree or a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qualification {
    pub identifiers: Vec<Identifier>,
    pub code: Option<Concept>,
    pub issuer: String,
    pub jurisdiction: String,
    pub period: Period,
}

/// A position on the globe, WGS 84, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub latitude: f64,
    pub longitude: f64,
}

impl NewPatients {
    pub fn takes_them(&self) -> bool {
        self.accepting == pb::AcceptingPatients::New as i32
    }
}

// === from the wire ===

/// The status of a record; one of which none is said is in use.
pub fn status(from: i32) -> Checked<i32> {
    match from {
        0 => Ok(pb::RecordStatus::Active.into()),
        from => data::enumeration::<pb::RecordStatus>(from),
    }
}

pub fn texts(path: &str, from: &[String], most: usize, bad: &mut Violations) -> Json<Vec<String>> {
    Json(check::list(path, from, 0..=most, bad, |text, bad| {
        bad.take("", check::text(text, 1..=300))
    }))
}

pub fn languages(path: &str, from: &[String], bad: &mut Violations) -> Json<Vec<String>> {
    Json(check::list(path, from, 0..=20, bad, |code, bad| bad.take("", check::code(code, 2..=35))))
}

pub fn position(from: &Option<types::LatLng>) -> Checked<Option<Position>> {
    let Some(types::LatLng { latitude, longitude }) = *from else { return Ok(None) };
    check::within(latitude, -90.0..=90.0).map_err(|why| format!("latitude {why}"))?;
    check::within(longitude, -180.0..=180.0).map_err(|why| format!("longitude {why}"))?;
    Ok(Some(Position { latitude, longitude }))
}

pub fn hours(
    path: &str,
    from: &[pb::Availability],
    bad: &mut Violations,
) -> Json<Vec<Availability>> {
    Json(check::list(path, from, 0..=50, bad, |from, bad| {
        let mut days = check::list("days", &from.days, 0..=7, bad, |day, bad| {
            bad.take("", check::known::<Day>(*day).map(|day| day as i32))
        });
        let said = days.len();
        days.sort_unstable();
        days.dedup();
        if days.len() < said {
            bad.add("days", "names a day twice");
        }
        let (start, end) = if from.all_day {
            (said_nothing(&from.start_time), said_nothing(&from.end_time))
        } else {
            (local_time(&from.start_time, false), local_time(&from.end_time, true))
        };
        let start_time = bad.take("start_time", start);
        let end_time = bad.take("end_time", end);
        Some(Availability {
            days,
            all_day: from.all_day,
            start_time: start_time?,
            end_time: end_time?,
        })
    }))
}

fn said_nothing(time: &str) -> Checked<String> {
    if time.is_empty() {
        Ok(String::new())
    } else {
        Err("is empty where it lasts all day".to_owned())
    }
}

fn local_time(time: &str, end: bool) -> Checked<String> {
    let wrong = || "wants `HH:MM`".to_owned();
    let (hour, minute) = time.split_once(':').filter(|_| time.len() == 5).ok_or_else(wrong)?;
    let number = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u8>().ok()).flatten()
    };
    match (number(hour), number(minute)) {
        (Some(..24), Some(..60)) => Ok(time.to_owned()),
        (Some(24), Some(0)) if end => Ok(time.to_owned()),
        _ => Err(wrong()),
    }
}

pub fn absences(path: &str, from: &[pb::Absence], bad: &mut Violations) -> Json<Vec<Absence>> {
    Json(check::list(path, from, 0..=50, bad, |from, bad| {
        let description = bad.take("description", check::text(&from.description, 0..=300));
        let period = bad.take("period", data::period(&from.period));
        Some(Absence { description: description?, period: period? })
    }))
}

pub fn new_patients(
    path: &str,
    from: &[pb::NewPatients],
    refs: &mut References,
    bad: &mut Violations,
) -> Json<Vec<NewPatients>> {
    let networks: Vec<Option<OrganizationId>> = from
        .iter()
        .enumerate()
        .map(|(n, from)| refs.one(&format!("{path}[{n}].network"), &from.network, bad))
        .collect();
    let checked = check::list(path, from, 0..=50, bad, |from, bad| {
        let accepting = check::known::<pb::AcceptingPatients>(from.accepting);
        let accepting = bad.take("accepting", accepting);
        let characteristics =
            bad.take("characteristics", check::text(&from.characteristics, 0..=300));
        let (accepting, characteristics) = (accepting? as i32, characteristics?);
        Some(NewPatients { accepting, network: None, characteristics })
    });
    // A member that is missing here has a violation, so the lists match wherever the row is kept.
    let with_network = |(row, network)| NewPatients { network, ..row };
    Json(checked.into_iter().zip(networks).map(with_network).collect())
}

pub fn qualifications(
    path: &str,
    from: &[pb::Qualification],
    bad: &mut Violations,
) -> Json<Vec<Qualification>> {
    Json(check::list(path, from, 0..=50, bad, |from, bad| {
        let Json(identifiers) = data::identifiers("identifiers", &from.identifiers, 10, bad);
        let code = from.code.as_ref().and_then(|_| data::concept("code", &from.code, bad));
        let issuer = bad.take("issuer", check::text(&from.issuer, 0..=300));
        let jurisdiction = bad.take("jurisdiction", check::text(&from.jurisdiction, 0..=100));
        let period = bad.take("period", data::period(&from.period));
        Some(Qualification {
            identifiers,
            code,
            issuer: issuer?,
            jurisdiction: jurisdiction?,
            period: period?,
        })
    }))
}

// === wire ===

/// The wire form of a span of time; one that is open at both ends says nothing.
pub fn period(from: Period) -> Option<types::Period> {
    (from != Period::default()).then(|| from.into())
}

impl From<Availability> for pb::Availability {
    fn from(Availability { days, all_day, start_time, end_time }: Availability) -> Self {
        pb::Availability { days, all_day, start_time, end_time }
    }
}
impl From<Absence> for pb::Absence {
    fn from(Absence { description, period: span }: Absence) -> Self {
        pb::Absence { description, period: period(span) }
    }
}
impl From<NewPatients> for pb::NewPatients {
    fn from(NewPatients { accepting, network, characteristics }: NewPatients) -> Self {
        let network = network.map(|id| id.to_string()).unwrap_or_default();
        pb::NewPatients { accepting, network, characteristics }
    }
}
impl From<Qualification> for pb::Qualification {
    fn from(row: Qualification) -> Self {
        let Qualification { identifiers, code, issuer, jurisdiction, period: span } = row;
        pb::Qualification {
            identifiers: data::wire(Json(identifiers)),
            code: code.map(Into::into),
            issuer,
            jurisdiction,
            period: period(span),
        }
    }
}
impl From<Position> for types::LatLng {
    fn from(Position { latitude, longitude }: Position) -> Self {
        types::LatLng { latitude, longitude }
    }
}
