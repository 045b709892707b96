//! What the descriptors say: which methods there are, how each is called over HTTP, and every comment.
use std::collections::{BTreeMap, HashMap};

use http::{Method as Verb, Uri, uri::PathAndQuery};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value,
};

use crate::{Error, template::Template};

/// The contracts, read once at start.
#[derive(Debug)]
pub(crate) struct Contracts {
    pub(crate) methods: Vec<Method>,
    comments: HashMap<(String, Vec<i32>), String>,
}

/// One RPC.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) rpc: MethodDescriptor,
    /// `/{service}/{method}`.
    pub(crate) path: PathAndQuery,
    pub(crate) bindings: Vec<Binding>,
}

/// One way to call an RPC with JSON.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) verb: Verb,
    pub(crate) template: Template,
    pub(crate) body: Body,
}

/// Which part of the request the JSON body is.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Whole,
    Field(FieldDescriptor),
}

/// What a field means to whoever fills it in (AIP-203), by the names of the annotation.
#[derive(Debug)]
pub(crate) struct Behavior(Vec<i32>);

impl Contracts {
    /// Reads a `FileDescriptorSet`, keeping the methods of the services that `owned` accepts.
    pub(crate) fn read(set: &[u8], owned: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let pool =
            DescriptorPool::decode(set).map_err(|error| Error::Descriptors(error.to_string()))?;
        let mut methods = vec![];
        for service in pool.services().filter(|service| owned(service.full_name())) {
            for rpc in service.methods() {
                methods.push(Method::read(&pool, rpc)?);
            }
        }
        let mut comments = HashMap::new();
        for file in pool.files() {
            let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
            for location in &info.location {
                if let Some(comment) = &location.leading_comments {
                    let key = (file.name().to_owned(), location.path.clone());
                    comments.insert(key, tidy(comment));
                }
            }
        }
        Ok(Self { methods, comments })
    }

    /// The comment above a declaration; empty where there is none.
    pub(crate) fn comment(&self, file: &str, path: &[i32]) -> &str {
        let key = (file.to_owned(), path.to_vec());
        self.comments.get(&key).map_or("", String::as_str)
    }

    /// The comment above a field.
    pub(crate) fn comment_of(&self, field: &FieldDescriptor) -> &str {
        self.comment(field.parent_message().parent_file().name(), field.path())
    }

    /// Every service that has a method, with its comment.
    pub(crate) fn services(&self) -> BTreeMap<String, String> {
        let service = |method: &Method| {
            let service = method.rpc.parent_service().clone();
            let comment = self.comment(service.parent_file().name(), service.path());
            (service.name().to_owned(), comment.to_owned())
        };
        self.methods.iter().map(service).collect()
    }
}

impl Method {
    fn read(pool: &DescriptorPool, rpc: MethodDescriptor) -> Result<Self, Error> {
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        let path =
            path.parse().map_err(|_| Error::Descriptors(format!("`{path}` is not a path")))?;
        let mut bindings = vec![];
        if let Some(extension) = pool.get_extension_by_name("google.api.http")
            && rpc.options().has_extension(&extension)
            && let Value::Message(rule) = &*rpc.options().get_extension(&extension)
        {
            Binding::read(&rpc, rule, &mut bindings)?;
        }
        if rpc.is_client_streaming() && !bindings.is_empty() {
            return Err(Error::Rule(
                rpc.full_name().into(),
                "a stream of requests has no JSON form",
            ));
        }
        Ok(Self { rpc, path, bindings })
    }

    /// The path without an origin, as every peer takes it.
    pub(crate) fn uri(&self) -> Uri {
        Uri::from(self.path.clone())
    }
}

impl Binding {
    fn read(
        rpc: &MethodDescriptor,
        rule: &DynamicMessage,
        into: &mut Vec<Self>,
    ) -> Result<(), Error> {
        let wrong = |why| Error::Rule(rpc.full_name().into(), why);
        let text = |name: &str| {
            rule.get_field_by_name(name)
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let (verb, template) = [
            (Verb::GET, "get"),
            (Verb::PUT, "put"),
            (Verb::POST, "post"),
            (Verb::DELETE, "delete"),
            (Verb::PATCH, "patch"),
        ]
        .into_iter()
        .find_map(|(verb, name)| rule.has_field_by_name(name).then(|| (verb, text(name))))
        .ok_or_else(|| wrong("it has no path"))?;
        let template =
            Template::parse(&template).ok_or_else(|| wrong("its path is not a template"))?;
        for variable in &template.variables {
            let field = field_at(&rpc.input(), &variable.field)
                .ok_or_else(|| wrong("its path names no field"))?;
            if field.is_list() || field.is_map() || field.kind().as_message().is_some() {
                return Err(wrong("its path names a field that is not a single value"));
            }
        }
        let body = match text("body").as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            name => match rpc.input().get_field_by_name(name) {
                Some(field)
                    if field.kind().as_message().is_some()
                        && !field.is_list()
                        && !field.is_map() =>
                {
                    Body::Field(field)
                }
                _ => return Err(wrong("its body is not a message field")),
            },
        };
        into.push(Binding { verb, template, body });
        if let Some(more) = rule.get_field_by_name("additional_bindings") {
            for rule in more.as_list().into_iter().flatten().filter_map(Value::as_message) {
                Binding::read(rpc, rule, into)?;
            }
        }
        Ok(())
    }
}

impl Behavior {
    pub(crate) fn of(field: &FieldDescriptor) -> Self {
        let options = field.options();
        let pool = field.parent_pool();
        let extension = pool.get_extension_by_name("google.api.field_behavior");
        let values = extension.map(|extension| options.get_extension(&extension).into_owned());
        let list = values.as_ref().and_then(Value::as_list).unwrap_or_default();
        Behavior(list.iter().filter_map(Value::as_enum_number).collect())
    }

    pub(crate) fn required(&self) -> bool {
        self.0.contains(&2)
    }

    pub(crate) fn output_only(&self) -> bool {
        self.0.contains(&3)
    }

    pub(crate) fn input_only(&self) -> bool {
        self.0.contains(&4)
    }

    pub(crate) fn immutable(&self) -> bool {
        self.0.contains(&5)
    }
}

/// The field at a dotted path; every step but the last is a single message.
pub(crate) fn field_at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) =
        path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let field = named(message, first)?;
    match rest {
        None => Some(field),
        Some(_) if field.is_list() || field.is_map() => None,
        Some(rest) => field_at(field.kind().as_message()?, rest),
    }
}

/// A field by its JSON name, or by its name in the proto: ProtoJSON takes both.
pub(crate) fn named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

fn tidy(comment: &str) -> String {
    comment
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect::<Vec<_>>()
        .join("\n")
}
