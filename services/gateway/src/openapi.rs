//! OpenAPI 3.1 of the REST calls, printed from the descriptors that answer them.
mod said;
mod schema;

use std::{collections::BTreeMap, sync::OnceLock};

use axum::body::Bytes;
use http::Method as Verb;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::{
    Error,
    contract::{Binding, Body, Contracts, Method, field_at},
    template::{Segment, Template},
};
use schema::{Schemas, is_well_known};

/// How deep a query parameter may reach into messages.
const QUERY_DEPTH: usize = 4;

/// The document about these services. It is printed when it is first asked for, since the comments of all contracts take
/// several megabytes of memory.
#[derive(Debug)]
pub(crate) struct Document {
    services: Vec<String>,
    printed: OnceLock<Bytes>,
}

impl Document {
    pub(crate) fn of(services: Vec<String>) -> Self {
        Document { services, printed: OnceLock::new() }
    }

    pub(crate) fn printed(&self) -> Result<Bytes, Error> {
        if let Some(printed) = self.printed.get() {
            return Ok(printed.clone());
        }
        let owned = |service: &str| self.services.iter().any(|name| name == service);
        let contracts = Contracts::read(caseward_api::DESCRIPTORS, owned)?;
        let printed = Bytes::from(print(&contracts).to_string());
        Ok(self.printed.get_or_init(|| printed).clone())
    }
}

/// The whole document.
pub(crate) fn print(contracts: &Contracts) -> Value {
    let mut schemas = Schemas::new(contracts);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for method in &contracts.methods {
        for (index, binding) in method.bindings.iter().enumerate() {
            let (path, names) = path(contracts, &method.rpc.input(), &binding.template);
            let operation = operation(contracts, &mut schemas, method, index, binding, &names);
            paths.entry(path).or_default().insert(binding.verb.as_str().to_lowercase(), operation);
        }
    }
    let tags: Vec<_> = contracts
        .services()
        .into_iter()
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Caseward",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every call as JSON (ProtoJSON): names in lowerCamelCase, enums by name, 64-bit numbers as \
                strings, fields that hold their default left out. The same calls are there as gRPC and gRPC-Web.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "responses": { "Error": {
                "description": "The call was refused or failed. 400: a field is wrong or the state does not allow it. \
                    401: no valid token. 403: not permitted. 404: no such path, or nothing the caller may see. \
                    405: the path does not take the method. 409: it exists, or changed meanwhile. 413: the body is \
                    too large. 415: the body is not JSON. 429: too much at once. 499: the caller left. 500: a fault \
                    of ours. 501: not offered here. 503: a service is not reachable. 504: the deadline is over.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            }},
            "schemas": schemas.finish(),
        },
    })
}

fn operation(
    contracts: &Contracts,
    schemas: &mut Schemas<'_>,
    method: &Method,
    index: usize,
    binding: &Binding,
    names: &[Parameter],
) -> Value {
    let rpc = &method.rpc;
    let service = rpc.parent_service();
    let comment = contracts.comment(rpc.parent_file().name(), rpc.path());
    let mut id = format!("{}_{}", service.name(), rpc.name());
    if index > 0 {
        id.push_str(&format!("_{}", index + 1));
    }
    let mut parameters: Vec<_> = names.iter().map(|name| name.print()).collect();
    queries(schemas, &rpc.input(), binding, &mut vec![], &mut parameters);

    let (kind, description) = if rpc.is_server_streaming() {
        (
            "application/x-ndjson",
            "One JSON object on each line, as it happens; a stream that fails ends with a line that holds `error`.",
        )
    } else {
        ("application/json", "The answer.")
    };
    let answer = schemas.reference(&rpc.output());
    let mut operation = json!({
        "operationId": id,
        "tags": [service.name()],
        "summary": comment.split_once(['.', '\n']).map_or(comment, |(first, _)| first),
        "description": comment,
        "parameters": parameters,
        "responses": {
            "200": { "description": description, "content": { kind: { "schema": answer } } },
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    let body = match &binding.body {
        Body::None => None,
        Body::Whole => {
            let needed = schemas.needed(&rpc.input(), &binding.template);
            Some((schemas.whole(&rpc.input(), &binding.template), needed))
        }
        Body::Field(field) => {
            let patch = binding.verb == Verb::PATCH;
            field.kind().as_message().map(|message| {
                (if patch { schemas.change(message) } else { schemas.reference(message) }, true)
            })
        }
    };
    if let Some((schema, required)) = body {
        operation["requestBody"] = json!({ "required": required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// A wildcard of a path.
struct Parameter {
    name: String,
    pattern: String,
    description: String,
}

impl Parameter {
    fn print(&self) -> Value {
        json!({
            "name": self.name,
            "in": "path",
            "required": true,
            "description": self.description,
            "schema": { "type": "string", "pattern": self.pattern },
        })
    }
}

/// The path with a name for every wildcard: the one that the form of its field gives it.
fn path(
    contracts: &Contracts,
    input: &MessageDescriptor,
    template: &Template,
) -> (String, Vec<Parameter>) {
    let mut path = String::new();
    let mut parameters = vec![];
    for (index, segment) in template.segments.iter().enumerate() {
        path.push('/');
        if let Segment::Literal(literal) = segment {
            path.push_str(literal);
            continue;
        }
        let variable = template.variables.iter().find(|variable| variable.span.contains(&index));
        let field = variable.and_then(|variable| field_at(input, &variable.field));
        let comment = field.as_ref().map_or("", |field| contracts.comment_of(field));
        let before = &template.segments[variable.map_or(index, |it| it.span.start)..index];
        let nth = before.iter().filter(|it| !matches!(it, Segment::Literal(_))).count();
        let (name, pattern) = said::wildcards(comment).into_iter().nth(nth).unwrap_or_else(|| {
            let name = field.as_ref().map_or("segment", |field| field.json_name());
            (name.to_owned(), "^[^/]+$".to_owned())
        });
        path.push_str(&format!("{{{name}}}"));
        parameters.push(Parameter { name, pattern, description: comment.to_owned() });
    }
    if let Some(verb) = &template.verb {
        path.push(':');
        path.push_str(verb);
    }
    (path, parameters)
}

/// Every field that neither the path nor the body holds.
fn queries(
    schemas: &mut Schemas<'_>,
    message: &MessageDescriptor,
    binding: &Binding,
    above: &mut Vec<FieldDescriptor>,
    into: &mut Vec<Value>,
) {
    for field in message.fields() {
        let top = above.is_empty();
        let in_body = match &binding.body {
            Body::None => false,
            Body::Whole => true,
            Body::Field(body) => top && *body == field,
        };
        above.push(field.clone());
        let proto: Vec<_> = above.iter().map(|field| field.name()).collect();
        let in_path =
            binding.template.variables.iter().any(|variable| variable.field == proto.join("."));
        if in_body || in_path || field.is_map() {
            above.pop();
            continue;
        }
        match field.kind() {
            Kind::Message(inner) if !is_well_known(&inner) => {
                if !field.is_list() && above.len() < QUERY_DEPTH {
                    queries(schemas, &inner, binding, above, into);
                }
            }
            _ => {
                let name: Vec<_> = above.iter().map(|field| field.json_name()).collect();
                into.push(json!({
                    "name": name.join("."),
                    "in": "query",
                    "required": top && schemas.required(&field),
                    "description": schemas.comment(&field),
                    "schema": schemas.bare(&field),
                }));
            }
        }
        above.pop();
    }
}
