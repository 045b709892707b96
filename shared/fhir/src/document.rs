//! Parses one JSON document and keeps of it only what the import reads.
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
    value::MapAccessDeserializer,
};
use serde_json::{Map, Value};

/// How much of a resource the import wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it.
    All,
    /// These members only.
    Members(&'static [&'static str]),
    /// That it was there.
    Nothing,
}

impl Keep {
    /// What the import wants of a resource of this type.
    pub(crate) fn of(resource_type: &str) -> Keep {
        match resource_type {
            "Bundle" | "Patient" | "RelatedPerson" | "Coverage" | "Consent" | "Organization"
            | "Location" | "Practitioner" | "PractitionerRole" | "HealthcareService"
            | "InsurancePlan" | "Condition" | "CareTeam" | "CarePlan" | "Goal"
            | "Questionnaire" => Keep::All,
            // Synthea keeps coverage nowhere else.
            "ExplanationOfBenefit" => Keep::Members(&["id", "contained", "patient"]),
            // They say what an activity is that a care plan only refers to.
            "ServiceRequest" => Keep::Members(&["id", "code"]),
            "MedicationRequest" => Keep::Members(&["id", "medicationCodeableConcept"]),
            _ => Keep::Nothing,
        }
    }

    fn wants(self, member: &str) -> bool {
        match self {
            Keep::All => true,
            Keep::Members(members) => member == "resourceType" || members.contains(&member),
            Keep::Nothing => member == "resourceType",
        }
    }
}

/// What bytes hold.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// One document.
    Whole(Value),
    /// A document, and something after it.
    More,
}

/// Parses a document. Nesting beyond 128 is refused by the parser.
pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Parsed> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Part::Resource.deserialize(&mut parser)?;
    Ok(if parser.end().is_ok() { Parsed::Whole(value) } else { Parsed::More })
}

/// The parts of a document that are slimmed while they are parsed.
#[derive(Clone, Copy)]
enum Part {
    /// A resource, or anything else that a document may be.
    Resource,
    /// A Bundle's entries.
    Entries,
    /// One entry of a Bundle.
    Entry,
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        if let Part::Entries = self {
            // One entry where a list of them belongs.
            let entry = Part::Entry.deserialize(MapAccessDeserializer::new(from))?;
            return Ok(Value::Array(vec![entry]));
        }
        let mut kept = Map::new();
        // `resourceType` comes first in practice; where it does not, what came before it is kept.
        let mut keep = Keep::All;
        while let Some(member) = from.next_key::<String>()? {
            let value = match (self, &*member) {
                (Part::Resource, member) if !keep.wants(member) => {
                    from.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Part::Resource, "entry") => from.next_value_seed(Part::Entries)?,
                (Part::Entry, "resource") => from.next_value_seed(Part::Resource)?,
                _ => from.next_value()?,
            };
            if member == "resourceType" {
                keep = value.as_str().map_or(Keep::All, Keep::of);
            }
            kept.insert(member, value);
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = vec![];
        while let Some(member) = from.next_element_seed(match self {
            Part::Entries => Part::Entry,
            Part::Resource | Part::Entry => Part::Resource,
        })? {
            members.push(member);
        }
        Ok(Value::Array(members))
    }

    // A scalar where a resource belongs is that entry's failure, not the file's.

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(document: &Value) -> Value {
        match parse(document.to_string().as_bytes()) {
            Ok(Parsed::Whole(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_reads_is_left_out() {
        let bundle = json!({"resourceType": "Bundle", "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Observation", "id": "1"}},
            {"resource": {"resourceType": "Patient", "id": "2"}},
            5,
        ]});
        let entries = &parsed(&bundle)["entry"];
        assert_eq!(entries[0]["resource"], json!({"resourceType": "Observation"}));
        assert_eq!(entries[1]["resource"]["id"], "2");
        assert_eq!(entries[2], 5);
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!(
            "{{\"resourceType\":\"Patient\",\"x\":{}{}}}",
            "[".repeat(500),
            "]".repeat(500)
        );
        assert!(parse(deep.as_bytes()).is_err());
    }
}
