//! Query parameters and path values as fields of the request, found by their descriptors.
use std::collections::HashSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic_types::FieldViolation;

use crate::{
    contract::{Binding, Body, named},
    refusal::MOST,
    template::percent_decoded,
};

/// Sets the fields that the query names. Those that the path or the body hold cannot be named again.
pub(crate) fn read(
    message: &mut DynamicMessage,
    binding: &Binding,
    query: &str,
) -> Vec<FieldViolation> {
    let mut seen = HashSet::new();
    let mut violations = vec![];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if violations.len() >= MOST {
            break;
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (percent_decoded(key, true), percent_decoded(value, true))
        else {
            violations.push(FieldViolation::new("", "the query is not percent-encoded UTF-8"));
            continue;
        };
        let outcome = match resolve(message, &key) {
            None => Err("no such query parameter".into()),
            Some(path) if held(binding, &path) => {
                Err("the path or the body holds this field".into())
            }
            Some(path) => {
                let repeated = path.last().is_some_and(FieldDescriptor::is_list);
                if !seen.insert(dotted(&path)) && !repeated {
                    Err("is given twice".into())
                } else {
                    set(message, &path, &value)
                }
            }
        };
        if let Err(why) = outcome {
            let key: String = key.chars().take(100).collect();
            violations.push(FieldViolation::new(key, why));
        }
    }
    violations
}

/// Sets the field that a template names.
pub(crate) fn put(
    message: &mut DynamicMessage,
    field: &str,
    value: &str,
) -> Result<(), FieldViolation> {
    let wrong = |why: String| FieldViolation::new(field, why);
    let path = resolve(message, field).ok_or_else(|| wrong("no such field".into()))?;
    let body =
        leaf(message, &path).filter(|body| body.as_str().is_some_and(|body| !body.is_empty()));
    if body.is_some_and(|body| body.as_str() != Some(value)) {
        return Err(wrong("must be the same in the body and in the path".into()));
    }
    set(message, &path, value).map_err(wrong)
}

/// The paths of a mask, written with JSON names or those of the proto, as the proto has them.
pub(crate) fn mask(target: Option<&prost_reflect::MessageDescriptor>, text: &str) -> Vec<Value> {
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    let paths = paths.map(|path| {
        let mut message = target.cloned();
        let mut names = vec![];
        for name in path.split('.') {
            let field = message.as_ref().and_then(|message| named(message, name));
            // What no descriptor knows goes on as it is: the service knows how to refuse it.
            names.push(field.as_ref().map_or(name, |field| field.name()).to_owned());
            message = field.and_then(|field| field.kind().as_message().cloned());
        }
        Value::String(names.join("."))
    });
    paths.collect()
}

fn resolve(message: &DynamicMessage, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut at = Some(message.descriptor());
    let mut fields = vec![];
    for name in path.split('.') {
        let field = named(at.as_ref()?, name)?;
        let single = !field.is_list() && !field.is_map();
        at = if single { field.kind().as_message().cloned() } else { None };
        fields.push(field);
    }
    (!fields.last()?.is_map()).then_some(fields)
}

fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

fn held(binding: &Binding, path: &[FieldDescriptor]) -> bool {
    let in_body = match &binding.body {
        Body::None => false,
        Body::Whole => true,
        Body::Field(field) => path.first() == Some(field),
    };
    in_body || binding.template.variables.iter().any(|variable| variable.field == dotted(path))
}

fn leaf<'m>(
    message: &'m DynamicMessage,
    path: &[FieldDescriptor],
) -> Option<std::borrow::Cow<'m, Value>> {
    use std::borrow::Cow;
    let (last, steps) = path.split_last()?;
    let mut at = Cow::Borrowed(message);
    for step in steps {
        if !at.has_field(step) {
            return None;
        }
        at = Cow::Owned(at.get_field(step).as_message()?.clone());
    }
    at.has_field(last).then(|| Cow::Owned(at.get_field(last).into_owned()))
}

fn set(message: &mut DynamicMessage, path: &[FieldDescriptor], text: &str) -> Result<(), String> {
    let Some((last, steps)) = path.split_last() else { return Ok(()) };
    let mut at = message;
    for step in steps {
        at = at.get_field_mut(step).as_message_mut().ok_or("is not a message")?;
    }
    let value = value(at, last, text)?;
    if last.is_list() {
        at.get_field_mut(last).as_list_mut().ok_or("is not a list")?.push(value);
    } else {
        at.set_field(last, value);
    }
    Ok(())
}

fn value(parent: &DynamicMessage, field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let kind = field.kind();
    let value = match &kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().ok().map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().ok().map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => text.parse().ok().map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => text.parse().ok().map(Value::U64),
        Kind::Float => text.parse().ok().map(Value::F32),
        Kind::Double => text.parse().ok().map(Value::F64),
        Kind::Enum(names) => {
            let number = names.get_value_by_name(text).map(|value| value.number());
            number.or_else(|| text.parse().ok()).map(Value::EnumNumber)
        }
        Kind::Bytes => from_json(parent, field, text),
        Kind::Message(message) if message.full_name() == "google.protobuf.FieldMask" => {
            let mut mask = DynamicMessage::new(message.clone());
            mask.set_field_by_name("paths", Value::List(self::mask(target(parent).as_ref(), text)));
            Some(Value::Message(mask))
        }
        Kind::Message(_) => from_json(parent, field, text),
    };
    value.ok_or_else(|| format!("must be {}", expected(&kind)))
}

/// The resource that a mask beside it speaks of: the one message field that is a contract of ours.
fn target(parent: &DynamicMessage) -> Option<prost_reflect::MessageDescriptor> {
    let ours =
        |kind: Kind| kind.as_message().filter(|it| !it.full_name().starts_with("google.")).cloned();
    parent.descriptor().fields().find_map(|field| ours(field.kind()))
}

/// A value with a form of its own in JSON, such as a timestamp: a string there too.
fn from_json(parent: &DynamicMessage, field: &FieldDescriptor, text: &str) -> Option<Value> {
    let one = serde_json::Value::String(text.to_owned());
    let one = if field.is_list() { serde_json::Value::Array(vec![one]) } else { one };
    let object = serde_json::Map::from_iter([(field.json_name().to_owned(), one)]);
    let read =
        DynamicMessage::deserialize(parent.descriptor(), serde_json::Value::Object(object)).ok()?;
    match read.get_field(field).into_owned() {
        Value::List(mut list) => list.pop(),
        value => Some(value),
    }
}

/// What a value must look like, for an error that does not repeat what was given.
pub(crate) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::String => "a string".into(),
        Kind::Bool => "true or false".into(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits".into(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits".into(),
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits, not negative".into(),
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits, not negative".into(),
        Kind::Float | Kind::Double => "a number".into(),
        Kind::Bytes => "a string of base64".into(),
        Kind::Enum(names) => {
            let names: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => {
                "a time as in RFC 3339, such as 2026-01-31T09:30:00Z".into()
            }
            "google.protobuf.Duration" => "a duration in seconds, such as 90s".into(),
            "google.protobuf.FieldMask" => "a list of fields with commas between them".into(),
            _ => "a JSON object".into(),
        },
    }
}
