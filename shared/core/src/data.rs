//! The data types that several tables keep as JSON: FHIR's names, addresses, codes, with their checks.
use std::fmt::Display;

use caseward_api::types::v1 as pb;
use sea_orm::{
    ColIdx, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Time, Violation,
    check::{self, Checked, Violations},
};

/// A value that a table keeps as JSON.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Json<T>(pub T);

impl<T> std::fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Json").finish_non_exhaustive()
    }
}

/// A business identifier given by some system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// The namespace.
    pub system: String,
    /// The value within the namespace.
    pub value: String,
}
crate::confidential!(Identifier);

/// A name of a person.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HumanName {
    /// The number of the wire's `Use`.
    pub usage: i32,
    /// Given names in order.
    pub given: Vec<String>,
    /// The family name.
    pub family: String,
    /// Parts before the name.
    pub prefix: Vec<String>,
    /// Parts after the name.
    pub suffix: Vec<String>,
    /// The whole name.
    pub text: String,
}
crate::confidential!(HumanName);

/// A way to reach someone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContactPoint {
    /// The number of the wire's `System`.
    pub system: i32,
    /// The address.
    pub value: String,
    /// The number of the wire's `Use`.
    pub usage: i32,
    /// Order of preference, 1 first.
    pub rank: i32,
}
crate::confidential!(ContactPoint);

/// A postal address.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// Street lines.
    pub lines: Vec<String>,
    /// City.
    pub city: String,
    /// County or district.
    pub district: String,
    /// State or province.
    pub state: String,
    /// Postal code.
    pub postal_code: String,
    /// Country.
    pub country: String,
}
crate::confidential!(Address);

/// A concept in words and in codes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Concept {
    /// The codes.
    pub codings: Vec<Coding>,
    /// The words.
    pub text: String,
}
crate::confidential!(Concept);

/// One code in one code system.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coding {
    /// The code system.
    pub system: String,
    /// The code.
    pub code: String,
    /// What the system calls it.
    pub display: String,
}
crate::confidential!(Coding);

/// A calendar date of which day or month may be unknown (0).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartialDate {
    /// 1 to 9999.
    pub year: i32,
    /// 1 to 12, or 0.
    pub month: i32,
    /// 1 to 31, or 0.
    pub day: i32,
}
crate::confidential!(PartialDate);

/// An amount in minor units.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// ISO 4217.
    pub currency: String,
    /// Cents, where the currency has them.
    pub minor_units: i64,
}
crate::confidential!(Money);

/// A measured amount.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// The number.
    pub value: f64,
    /// The unit.
    pub unit: String,
}
crate::confidential!(Quantity);

/// A span of time with open ends.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Inclusive.
    pub start: Option<Time>,
    /// Exclusive.
    pub end: Option<Time>,
}
crate::confidential!(Period);

impl Period {
    /// Whether `at` lies within.
    pub fn holds(&self, at: Time) -> bool {
        self.start.is_none_or(|start| start <= at) && self.end.is_none_or(|end| at < end)
    }

    /// What of it lies within `other`: where nothing does, no time at the end of whichever ends first.
    #[must_use]
    pub fn within(&self, other: &Period) -> Period {
        let start = Ord::max(self.start, other.start);
        let end = [self.end, other.end].into_iter().flatten().min();
        Period { start: start.map(|start| end.map_or(start, |end| start.min(end))), end }
    }
}

// === from the wire ===

/// Checks a list of identifiers; no identifier twice.
pub fn identifiers(
    field: &str,
    from: &[pb::Identifier],
    most: usize,
    bad: &mut Violations,
) -> Json<Vec<Identifier>> {
    let mut all = check::list(field, from, 0..=most, bad, |from, bad| {
        let system = bad.take("system", check::text(&from.system, 1..=200));
        let value = bad.take("value", check::text(&from.value, 1..=200));
        Some(Identifier { system: system?, value: value? })
    });
    all.sort();
    let count = all.len();
    all.dedup();
    if all.len() < count {
        bad.add(field, "holds an identifier twice");
    }
    Json(all)
}

/// Every identifier of either, once.
pub fn union(one: &[Identifier], other: &[Identifier]) -> Vec<Identifier> {
    let mut all = [one, other].concat();
    all.sort();
    all.dedup();
    all
}

/// Checks a list of names of a person.
pub fn names(
    field: &str,
    from: &[pb::HumanName],
    size: std::ops::RangeInclusive<usize>,
    bad: &mut Violations,
) -> Json<Vec<HumanName>> {
    Json(check::list(field, from, size, bad, name))
}

fn name(from: &pb::HumanName, bad: &mut Violations) -> Option<HumanName> {
    let part =
        |most| move |part: &String, bad: &mut Violations| bad.take("", check::text(part, 1..=most));
    let usage = bad.take("use", enumeration::<pb::human_name::Use>(from.r#use));
    let given = check::list("given", &from.given, 0..=10, bad, part(100));
    let prefix = check::list("prefix", &from.prefix, 0..=5, bad, part(40));
    let suffix = check::list("suffix", &from.suffix, 0..=5, bad, part(40));
    let family = bad.take("family", check::text(&from.family, 0..=100));
    let text = bad.take("text", check::text(&from.text, 0..=300));
    if from.family.is_empty() && from.given.is_empty() && from.text.is_empty() {
        bad.add("", "wants a family name, a given name or a text");
    }
    Some(HumanName { usage: usage?, given, family: family?, prefix, suffix, text: text? })
}

/// Checks a list of ways to reach someone; an email address must be one.
pub fn telecoms(
    field: &str,
    from: &[pb::ContactPoint],
    most: usize,
    bad: &mut Violations,
) -> Json<Vec<ContactPoint>> {
    Json(check::list(field, from, 0..=most, bad, |from, bad| {
        let system = bad.take("system", check::known::<pb::contact_point::System>(from.system));
        let value = match system {
            Some(pb::contact_point::System::Email) => check::email(&from.value),
            _ => check::text(&from.value, 1..=254),
        };
        let value = bad.take("value", value);
        let usage = bad.take("use", enumeration::<pb::contact_point::Use>(from.r#use));
        let rank = bad.take("rank", check::within(from.rank, 0..=1000));
        Some(ContactPoint { system: system? as i32, value: value?, usage: usage?, rank: rank? })
    }))
}

/// Checks a list of postal addresses.
pub fn addresses(
    field: &str,
    from: &[pb::Address],
    most: usize,
    bad: &mut Violations,
) -> Json<Vec<Address>> {
    Json(check::list(field, from, 0..=most, bad, address))
}

fn address(from: &pb::Address, bad: &mut Violations) -> Option<Address> {
    let lines = check::list("lines", &from.lines, 0..=5, bad, |line, bad| {
        bad.take("", check::text(line, 1..=200))
    });
    let city = bad.take("city", check::text(&from.city, 0..=100));
    let district = bad.take("district", check::text(&from.district, 0..=100));
    let state = bad.take("state", check::text(&from.state, 0..=100));
    let postal_code = bad.take("postal_code", check::text(&from.postal_code, 0..=20));
    let country = bad.take("country", check::text(&from.country, 0..=100));
    Some(Address {
        lines,
        city: city?,
        district: district?,
        state: state?,
        postal_code: postal_code?,
        country: country?,
    })
}

/// Checks a postal address that may be absent.
pub fn optional_address(
    field: &str,
    from: &Option<pb::Address>,
    bad: &mut Violations,
) -> Option<Json<Address>> {
    let mut inner = Violations::default();
    let checked = from.as_ref().and_then(|from| address(from, &mut inner));
    bad.absorb(field, inner);
    checked.map(Json)
}

/// Checks a concept that must say something.
pub fn concept(field: &str, from: &Option<pb::Concept>, bad: &mut Violations) -> Option<Concept> {
    match from {
        None => {
            bad.add(field, "is required");
            None
        }
        Some(from) => {
            let mut inner = Violations::default();
            let concept = concept_of(from, &mut inner);
            bad.absorb(field, inner);
            concept
        }
    }
}

/// Checks a list of concepts.
pub fn concepts(
    field: &str,
    from: &[pb::Concept],
    most: usize,
    bad: &mut Violations,
) -> Json<Vec<Concept>> {
    Json(check::list(field, from, 0..=most, bad, concept_of))
}

fn concept_of(from: &pb::Concept, bad: &mut Violations) -> Option<Concept> {
    let codings = check::list("codings", &from.codings, 0..=10, bad, |from, bad| {
        let system = bad.take("system", check::text(&from.system, 0..=200));
        let code = bad.take("code", check::text(&from.code, 1..=100));
        let display = bad.take("display", check::text(&from.display, 0..=500));
        Some(Coding { system: system?, code: code?, display: display? })
    });
    let text = bad.take("text", check::text(&from.text, 0..=1000));
    if from.codings.is_empty() && from.text.is_empty() {
        bad.add("", "wants a code or a text");
    }
    Some(Concept { codings, text: text? })
}

/// Checks a date that may be partial or absent.
pub fn partial_date(from: &Option<pb::Date>) -> Checked<Option<PartialDate>> {
    let Some(pb::Date { year, month, day }) = *from else { return Ok(None) };
    match (month, day) {
        (0, 0) => check::date(year, 1, 1)?,
        (month, 0) => check::date(year, month, 1)?,
        (month, day) => check::date(year, month, day)?,
    };
    Ok(Some(PartialDate { year, month, day }))
}

/// Checks a span of time that may be absent.
pub fn period(from: &Option<pb::Period>) -> Checked<Period> {
    let Some(from) = from else { return Ok(Period::default()) };
    let (start, end) = (check::moment(&from.start)?, check::moment(&from.end)?);
    match (start, end) {
        (Some(start), Some(end)) if end <= start => Err("ends before it begins".to_owned()),
        _ => Ok(Period { start, end }),
    }
}

/// Checks an amount of money that may be absent; never negative.
pub fn money(from: &Option<pb::Money>) -> Checked<Option<Money>> {
    let Some(from) = from else { return Ok(None) };
    if from.currency.len() != 3 || !from.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err("currency wants three capital letters (ISO 4217)".to_owned());
    }
    let minor_units = check::within(from.minor_units, 0..=1_000_000_000_000)?;
    Ok(Some(Money { currency: from.currency.clone(), minor_units }))
}

/// Checks a measured amount that may be absent.
pub fn quantity(from: &Option<pb::Quantity>) -> Checked<Option<Quantity>> {
    let Some(from) = from else { return Ok(None) };
    if !from.value.is_finite() {
        return Err("value wants a finite number".to_owned());
    }
    Ok(Some(Quantity { value: from.value, unit: check::text(&from.unit, 0..=50)? }))
}

/// A member of a wire enumeration for which "not said" is fine.
pub fn enumeration<E: TryFrom<i32>>(number: i32) -> Checked<i32> {
    E::try_from(number).map(|_| number).map_err(|_| "is not a known value".to_owned())
}

// === to the wire ===

/// The wire form of a list.
pub fn wire<T, W: From<T>>(list: Json<Vec<T>>) -> Vec<W> {
    list.0.into_iter().map(Into::into).collect()
}

impl From<pb::Identifier> for Identifier {
    fn from(pb::Identifier { system, value }: pb::Identifier) -> Self {
        Identifier { system, value }
    }
}
impl From<Identifier> for pb::Identifier {
    fn from(Identifier { system, value }: Identifier) -> Self {
        pb::Identifier { system, value }
    }
}
impl From<HumanName> for pb::HumanName {
    fn from(HumanName { usage, given, family, prefix, suffix, text }: HumanName) -> Self {
        pb::HumanName { r#use: usage, given, family, prefix, suffix, text }
    }
}
impl From<ContactPoint> for pb::ContactPoint {
    fn from(ContactPoint { system, value, usage, rank }: ContactPoint) -> Self {
        pb::ContactPoint { system, value, r#use: usage, rank }
    }
}
impl From<Address> for pb::Address {
    fn from(Address { lines, city, district, state, postal_code, country }: Address) -> Self {
        pb::Address { lines, city, district, state, postal_code, country }
    }
}
impl From<Concept> for pb::Concept {
    fn from(Concept { codings, text }: Concept) -> Self {
        pb::Concept { codings: codings.into_iter().map(Into::into).collect(), text }
    }
}
impl From<Coding> for pb::Coding {
    fn from(Coding { system, code, display }: Coding) -> Self {
        pb::Coding { system, code, display }
    }
}
impl From<PartialDate> for pb::Date {
    fn from(PartialDate { year, month, day }: PartialDate) -> Self {
        pb::Date { year, month, day }
    }
}
impl From<Money> for pb::Money {
    fn from(Money { currency, minor_units }: Money) -> Self {
        pb::Money { currency, minor_units }
    }
}
impl From<Quantity> for pb::Quantity {
    fn from(Quantity { value, unit }: Quantity) -> Self {
        pb::Quantity { value, unit }
    }
}
impl From<Period> for pb::Period {
    fn from(Period { start, end }: Period) -> Self {
        pb::Period { start: start.map(Into::into), end: end.map(Into::into) }
    }
}

/// The outcome of a loaded resource that was taken.
pub fn taken(action: pb::ingest_outcome::Action, name: impl Display) -> pb::IngestOutcome {
    pb::IngestOutcome {
        action: action.into(),
        name: name.to_string(),
        ..pb::IngestOutcome::default()
    }
}

/// The outcome of a loaded resource that was refused.
pub fn refused(violations: Vec<Violation>) -> pb::IngestOutcome {
    let violations = violations
        .into_iter()
        .map(|Violation { field, why }| pb::Violation { field, description: why })
        .collect();
    let action = pb::ingest_outcome::Action::Failed.into();
    pb::IngestOutcome { action, violations, ..pb::IngestOutcome::default() }
}

// === storage ===

impl<T: Serialize> From<Json<T>> for Value {
    fn from(json: Json<T>) -> Value {
        // Our types have string keys and finite numbers only, so this cannot fail.
        Value::Json(serde_json::to_value(json.0).ok().map(Box::new))
    }
}
impl<T: DeserializeOwned> TryGetable for Json<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let json = serde_json::Value::try_get_by(row, index)?;
        serde_json::from_value(json).map(Json).map_err(|_| {
            TryGetError::DbErr(sea_orm::DbErr::Json("a column of another shape".to_owned()))
        })
    }
}
impl<T: DeserializeOwned> ValueType for Json<T> {
    fn try_from(v: Value) -> Result<Self, ValueTypeErr> {
        match v {
            Value::Json(Some(json)) => {
                serde_json::from_value(*json).map(Json).map_err(|_| ValueTypeErr)
            }
            _ => Err(ValueTypeErr),
        }
    }
    fn type_name() -> String {
        "Json".to_owned()
    }
    fn array_type() -> ArrayType {
        ArrayType::Json
    }
    fn column_type() -> ColumnType {
        ColumnType::JsonBinary
    }
}
impl<T> Nullable for Json<T> {
    fn null() -> Value {
        Value::Json(None)
    }
}
impl<T: Serialize> sea_orm::IntoActiveValue<Json<T>> for Json<T> {
    fn into_active_value(self) -> sea_orm::ActiveValue<Json<T>> {
        sea_orm::ActiveValue::Set(self)
    }
}
