//! JSON Schemas of messages and enums, each printed once and referred to.
use std::collections::{BTreeMap, HashSet};

use prost_reflect::{
    EnumDescriptor, EnumValueDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Map, Value, json};

use super::said::{self, Said};
use crate::{
    contract::{Behavior, Contracts},
    template::Template,
};

pub(super) struct Schemas<'c> {
    contracts: &'c Contracts,
    printed: BTreeMap<String, Value>,
    /// What a load brings: every message within a request of an `:ingest`.
    loaded: HashSet<String>,
}

impl<'c> Schemas<'c> {
    pub(super) fn new(contracts: &'c Contracts) -> Self {
        let mut loaded = HashSet::new();
        for method in &contracts.methods {
            if method.bindings.iter().any(|it| it.template.verb.as_deref() == Some("ingest")) {
                within(&method.rpc.input(), &mut loaded);
            }
        }
        Schemas { contracts, printed: BTreeMap::from([("Error".into(), error())]), loaded }
    }

    pub(super) fn finish(self) -> BTreeMap<String, Value> {
        self.printed
    }

    pub(super) fn comment(&self, field: &FieldDescriptor) -> &'c str {
        self.contracts.comment_of(field)
    }

    /// Whether a request without the field is refused.
    pub(super) fn required(&self, field: &FieldDescriptor) -> bool {
        Behavior::of(field).required() || self.said(field).required(field)
    }

    fn said(&self, field: &FieldDescriptor) -> Said<'c> {
        let loaded = self.loaded.contains(field.parent_message().full_name());
        Said::read(self.comment(field), loaded && !Behavior::of(field).output_only())
    }

    /// A reference to a message, which is printed at its first mention.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = message.full_name().to_owned();
        if !self.printed.contains_key(&name) {
            // First the name, so that a message that holds itself ends.
            self.printed.insert(name.clone(), Value::Null);
            let schema = self.message(message, |_| false);
            self.printed.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// Whether a request that is the body holds anything that has to be there.
    pub(super) fn needed(&self, message: &MessageDescriptor, template: &Template) -> bool {
        let in_path =
            |field: &FieldDescriptor| template.variables.iter().any(|it| it.field == field.name());
        message.fields().any(|field| !in_path(&field) && self.required(&field))
    }

    /// A resource as the body of an update, which names what it changes: nothing of it has to be there.
    pub(super) fn change(&mut self, message: &MessageDescriptor) -> Value {
        let mut schema = self.message(message, |_| false);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("required");
        }
        schema
    }

    /// A request that is the body, without what its path holds.
    pub(super) fn whole(&mut self, message: &MessageDescriptor, template: &Template) -> Value {
        if template.variables.is_empty() {
            return self.reference(message);
        }
        let in_path =
            |field: &FieldDescriptor| template.variables.iter().any(|it| it.field == field.name());
        self.message(message, in_path)
    }

    /// The schema of a field, without what is said of the field itself.
    pub(super) fn bare(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        if field.is_map() {
            let value = kind.as_message().map(|entry| entry.map_entry_value_field());
            let value = value.map_or(json!({}), |value| self.bare(&value));
            return json!({ "type": "object", "additionalProperties": value });
        }
        let one = match kind {
            Kind::Message(message) => self.reference(&message),
            Kind::Enum(names) => self.names(&names),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]{1,19}$" })
            }
            Kind::Float | Kind::Double => json!({ "type": "number", "format": "double" }),
        };
        let mut schema =
            if field.is_list() { json!({ "type": "array", "items": one }) } else { one };
        let required = Behavior::of(field).required();
        self.said(field).narrow(field, required, &mut schema);
        schema
    }

    fn message(
        &mut self,
        message: &MessageDescriptor,
        skip: impl Fn(&FieldDescriptor) -> bool,
    ) -> Value {
        let mut properties = Map::new();
        let mut required = vec![];
        for field in message.fields().filter(|field| !skip(field)) {
            let mut schema = self.bare(&field);
            let behavior = Behavior::of(&field);
            schema["description"] = self.comment(&field).into();
            if behavior.output_only() {
                schema["readOnly"] = true.into();
            }
            if behavior.input_only() {
                schema["writeOnly"] = true.into();
            }
            if self.required(&field) {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let comment = self.contracts.comment(message.parent_file().name(), message.path());
        let mut schema = json!({
            "type": "object",
            "description": comment,
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        let groups: Vec<_> = message
            .oneofs()
            .filter(|group| !group.is_synthetic())
            .map(|group| {
                let comment = self.contracts.comment(message.parent_file().name(), group.path());
                let fields: Vec<_> = group.fields().collect();
                let names: Vec<_> = fields.iter().map(FieldDescriptor::json_name).collect();
                said::one_of(&names, comment.starts_with("Exactly one"))
            })
            .collect();
        if !groups.is_empty() {
            schema["allOf"] = groups.into();
        }
        schema
    }

    fn names(&mut self, names: &EnumDescriptor) -> Value {
        let name = names.full_name().to_owned();
        if !self.printed.contains_key(&name) {
            let file = names.parent_file();
            let meaning =
                |value: &EnumValueDescriptor| self.contracts.comment(file.name(), value.path());
            let meanings =
                names.values().map(|value| format!("\n- `{}`: {}", value.name(), meaning(&value)));
            let comment = self.contracts.comment(file.name(), names.path());
            let description = format!("{comment}{}", meanings.collect::<String>());
            // What stands for nothing said is left out of answers, and where it says so refused in requests.
            let values: Vec<_> = names
                .values()
                .filter(|value| {
                    value.number() != 0 || !meaning(value).contains("refused in requests")
                })
                .map(|value| value.name().to_owned())
                .collect();
            let schema = json!({ "type": "string", "enum": values, "description": description });
            self.printed.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

pub(super) fn is_well_known(message: &MessageDescriptor) -> bool {
    well_known(message).is_some()
}

/// The types whose JSON is not that of their fields.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => {
            json!({ "type": "string", "pattern": "^-?(0|[1-9][0-9]{0,10})(\\.[0-9]{1,9})?s$" })
        }
        "FieldMask" => json!({ "type": "string" }),
        "Struct" => json!({ "type": "object", "additionalProperties": true }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Value" => json!({}),
        "Any" => json!({ "type": "object", "additionalProperties": true, "required": ["@type"] }),
        "Empty" => json!({ "type": "object", "additionalProperties": false }),
        "BoolValue" => json!({ "type": "boolean" }),
        "StringValue" => json!({ "type": "string" }),
        "BytesValue" => json!({ "type": "string", "contentEncoding": "base64" }),
        "Int32Value" => json!({ "type": "integer", "format": "int32" }),
        "UInt32Value" => json!({ "type": "integer", "minimum": 0 }),
        "Int64Value" | "UInt64Value" => json!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" }),
        "FloatValue" | "DoubleValue" => json!({ "type": "number" }),
        _ => return None,
    })
}

fn within(message: &MessageDescriptor, seen: &mut HashSet<String>) {
    if seen.insert(message.full_name().to_owned()) {
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                within(&inner, seen);
            }
        }
    }
}

/// What `refusal` prints.
fn error() -> Value {
    json!({
        "type": "object",
        "description": "Why a call was not answered: the `google.rpc.Status` of the gRPC call.",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": { "type": "integer", "description": "The HTTP status." },
                "status": { "type": "string", "description": "The name of the gRPC code, such as `INVALID_ARGUMENT`." },
                "message": { "type": "string", "description": "What is wrong, for a developer." },
                "details": {
                    "type": "array",
                    "description": "Typed details: `google.rpc.BadRequest`, `ErrorInfo`, `PreconditionFailure`, `RetryInfo`.",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": { "@type": { "type": "string" } },
                        "additionalProperties": true,
                    },
                },
            },
        }},
    })
}
