//! Typed resource ids and names: `Id<Patient>` cannot be passed where `Id<CarePlan>` is wanted.
use std::{fmt, hash, marker::PhantomData, str::FromStr};

use sea_orm::{
    ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Error, Result};

/// A kind of resource, known by the collection that holds it.
pub trait Kind: 'static {
    /// The segment before the id in a resource name (AIP-122).
    const COLLECTION: &'static str;
}

/// The id of one resource of kind `K`. Prints as `{collection}/{uuid}`.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

impl<K: Kind> Id<K> {
    /// A new id, later than every id made before it (UUID version 7).
    pub fn generate() -> Self {
        Self::from(Uuid::now_v7())
    }

    /// The id without its kind.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

/// A resource name that can be read: `Id<A>` for `as/{uuid}`, `(Id<A>, Id<B>)` for `as/{uuid}/bs/{uuid}`.
pub trait Name: Sized {
    /// Reads `name`, the value of the request's `field`.
    fn parse(field: &str, name: &str) -> Result<Self> {
        let mut segments = name.split('/');
        Self::read(&mut segments)
            .filter(|_| segments.next().is_none())
            .ok_or_else(|| Error::invalid(field, format!("wants `{}`", Self::pattern())))
    }

    /// Takes the segments of the name.
    fn read<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<Self>;

    /// What the name looks like.
    fn pattern() -> String;
}

impl<K: Kind> Name for Id<K> {
    fn read<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let collection = segments.next()?;
        let id = segments.next()?;
        // Exactly one spelling names a resource, or audit and replay would see two.
        let uuid = Uuid::try_parse(id).ok().filter(|uuid| uuid.hyphenated().to_string() == id)?;
        (collection == K::COLLECTION).then_some(Id::from(uuid))
    }

    fn pattern() -> String {
        format!("{}/{{uuid}}", K::COLLECTION)
    }
}

impl<A: Name, B: Name> Name for (A, B) {
    fn read<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        Some((A::read(segments)?, B::read(segments)?))
    }

    fn pattern() -> String {
        format!("{}/{}", A::pattern(), B::pattern())
    }
}

impl<A: Name, B: Name, C: Name> Name for (A, B, C) {
    fn read<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        Some((A::read(segments)?, B::read(segments)?, C::read(segments)?))
    }

    fn pattern() -> String {
        format!("{}/{}/{}", A::pattern(), B::pattern(), C::pattern())
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Name::parse("name", name)
    }
}

impl<K> From<Uuid> for Id<K> {
    fn from(uuid: Uuid) -> Self {
        Id(uuid, PhantomData)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, h: &mut H) {
        self.0.hash(h)
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", K::COLLECTION, self.0)
    }
}

// === storage ===

impl<K> From<Id<K>> for Value {
    fn from(id: Id<K>) -> Value {
        id.0.into()
    }
}
impl<K> TryGetable for Id<K> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        Uuid::try_get_by(row, index).map(Self::from)
    }
}
impl<K> ValueType for Id<K> {
    fn try_from(v: Value) -> Result<Self, ValueTypeErr> {
        <Uuid as ValueType>::try_from(v).map(Self::from)
    }
    fn type_name() -> String {
        "Id".to_owned()
    }
    fn array_type() -> ArrayType {
        Uuid::array_type()
    }
    fn column_type() -> ColumnType {
        Uuid::column_type()
    }
}
impl<K> Nullable for Id<K> {
    fn null() -> Value {
        Uuid::null()
    }
}
impl<K> TryFromU64 for Id<K> {
    fn try_from_u64(n: u64) -> Result<Self, DbErr> {
        Uuid::try_from_u64(n).map(Self::from)
    }
}
impl<K> sea_orm::IntoActiveValue<Id<K>> for Id<K> {
    fn into_active_value(self) -> sea_orm::ActiveValue<Id<K>> {
        sea_orm::ActiveValue::Set(self)
    }
}
/// In JSON columns an id is its UUID; the type says the rest.
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Uuid::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case;
    impl Kind for Case {
        const COLLECTION: &'static str = "cases";
    }
    struct Note;
    impl Kind for Note {
        const COLLECTION: &'static str = "notes";
    }

    #[test]
    fn a_name_is_read_back_as_it_was_printed() {
        let (case, note) = (Id::<Case>::generate(), Id::<Note>::generate());
        let name = format!("{case}/{note}");
        assert_eq!(<(Id<Case>, Id<Note>)>::parse("name", &name).unwrap(), (case, note));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let id = Id::<Case>::generate();
        let upper = id.to_string().to_uppercase().replace("CASES", "cases");
        for name in ["", "cases", "cases/", "notes/1", &upper, &format!("{id}/"), &format!("/{id}")]
        {
            assert!(Id::<Case>::parse("name", name).is_err(), "{name}");
        }
    }
}
