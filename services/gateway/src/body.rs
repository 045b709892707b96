//! JSON bodies as messages; a body that does not fit is told which fields are wrong, by their paths.
use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::IgnoredAny;
use serde_json::Value as Json;
use tonic_types::FieldViolation;

use crate::{
    contract::{Behavior, named},
    query::expected,
    refusal::MOST,
};

/// Reads a message. `root` is the field of the request that the body is, empty for the whole of it.
pub(crate) fn read(
    message: MessageDescriptor,
    root: &str,
    body: &[u8],
) -> Result<DynamicMessage, Vec<FieldViolation>> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = DynamicMessage::deserialize(message.clone(), &mut reader);
    let read = read.and_then(|read| reader.end().map(|()| read));
    read.map_err(|_| {
        // A second look, off the usual path, finds what is wrong and where.
        let json = match serde_json::from_slice(body) {
            Ok(json) => json,
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let why = format!("the body is not valid JSON, at line {line}, column {column}");
                return vec![FieldViolation::new(root, why)];
            }
        };
        let mut violations = vec![];
        examine(&message, &json, root, &mut violations);
        if violations.is_empty() {
            violations.push(FieldViolation::new(root, "the body is not a valid message"));
        }
        violations
    })
}

/// About what `body` takes while it is read: a value in a list is two bytes of it, an empty object three, and each is kept
/// as JSON or as a dynamic message, twice while its list grows.
pub(crate) fn weight(body: &[u8]) -> usize {
    const OBJECT: usize = 640;
    const VALUE: usize = 144;
    let (mut weight, mut within, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            _ if within => {}
            b'{' => weight += OBJECT,
            b'[' | b',' => weight += VALUE,
            _ => {}
        }
    }
    weight
}

/// The fields a body names that a caller may set: the mask of an update that came without one.
pub(crate) fn mask(message: &MessageDescriptor, body: &[u8]) -> Vec<Value> {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_slice(body).unwrap_or_default();
    let settable = |field: &FieldDescriptor| {
        let behavior = Behavior::of(field);
        // The two that say which resource is meant, in which version.
        let address = matches!(field.name(), "name" | "etag");
        !address && !behavior.output_only() && !behavior.immutable()
    };
    let fields = keys.keys().filter_map(|key| named(message, key)).filter(settable);
    fields.map(|field| Value::String(field.name().to_owned())).collect()
}

fn examine(
    message: &MessageDescriptor,
    json: &Json,
    at: &str,
    violations: &mut Vec<FieldViolation>,
) {
    if message.full_name().starts_with("google.protobuf.") {
        if DynamicMessage::deserialize(message.clone(), json).is_err() {
            let why = format!("must be {}", expected(&Kind::Message(message.clone())));
            violations.push(FieldViolation::new(at, why));
        }
        return;
    }
    let Json::Object(object) = json else {
        violations.push(FieldViolation::new(at, "must be a JSON object"));
        return;
    };
    for (key, json) in object {
        if violations.len() >= MOST {
            return;
        }
        let Some(field) = named(message, key) else {
            let key: String = key.chars().take(100).collect();
            violations.push(FieldViolation::new(step(at, &key), "no such field"));
            continue;
        };
        let at = step(at, field.name());
        match json {
            Json::Null => {}
            Json::Array(list) if field.is_list() => {
                for (index, json) in list.iter().enumerate() {
                    if violations.len() >= MOST {
                        return;
                    }
                    one(&field, json, &format!("{at}[{index}]"), violations);
                }
            }
            _ if field.is_list() => violations.push(FieldViolation::new(at, "must be a list")),
            Json::Object(_) if field.is_map() => single(message, key, json, &at, violations),
            _ if field.is_map() => {
                violations.push(FieldViolation::new(at, "must be a JSON object"))
            }
            json => one(&field, json, &at, violations),
        }
    }
}

fn one(field: &FieldDescriptor, json: &Json, at: &str, violations: &mut Vec<FieldViolation>) {
    match field.kind() {
        Kind::Message(message) => examine(&message, json, at, violations),
        _ => {
            let json = if field.is_list() { Json::Array(vec![json.clone()]) } else { json.clone() };
            single(field.parent_message(), field.json_name(), &json, at, violations);
        }
    }
}

/// Tries one field alone.
fn single(
    parent: &MessageDescriptor,
    key: &str,
    json: &Json,
    at: &str,
    violations: &mut Vec<FieldViolation>,
) {
    let object = Json::Object([(key.to_owned(), json.clone())].into_iter().collect());
    if DynamicMessage::deserialize(parent.clone(), object).is_err() {
        let kind = named(parent, key).map(|field| field.kind());
        let why = kind.map_or("is not valid".into(), |kind| format!("must be {}", expected(&kind)));
        violations.push(FieldViolation::new(at, why));
    }
}

fn step(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_takes_goes_by_its_parts_and_not_by_what_is_in_texts() {
        assert_eq!(weight(br#"{"a":["{,[","\",{[,"]}"#), weight(br#"{"a":["",""]}"#));
        assert!(weight(br#"{"a":[{},{}]}"#) > weight(br#"{"a":[1,2]}"#));
    }
}
