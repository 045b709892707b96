//! What the contracts say of each method, read from the descriptors and by no code of the product.
use std::sync::LazyLock;

use http::Method as Verb;
use prost_reflect::{DescriptorPool, FieldDescriptor, MethodDescriptor, Value};
use serde_json::json;

/// One method of one service.
#[derive(Debug)]
pub struct Rpc {
    /// Its gRPC path.
    pub path: String,
    /// Its short name, which no two have in common.
    pub name: String,
    /// The full name of its service.
    pub service: String,
    /// Its messages.
    pub method: MethodDescriptor,
    /// How it is asked over REST.
    pub rest: (Verb, String),
    /// What a caller needs.
    pub permission: String,
    /// Whether it changes something.
    pub mutates: bool,
    /// Whether it answers with a stream.
    pub streams: bool,
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(caseward_api::DESCRIPTORS).expect("descriptors"));
static RPCS: LazyLock<Vec<Rpc>> = LazyLock::new(read);

/// Every method of the contracts.
pub fn rpcs() -> &'static [Rpc] {
    &RPCS
}

/// The method with a short name.
pub fn rpc(name: &str) -> &'static Rpc {
    rpcs().iter().find(|rpc| rpc.name == name).unwrap_or_else(|| panic!("no method {name}"))
}

/// The method that gets a resource of a form, such as `cases/*`.
pub fn getter(form: &str) -> Option<&'static Rpc> {
    let gets = |rpc: &&Rpc| rpc.rest.0 == Verb::GET && rpc.target() == Some(("name", form));
    rpcs().iter().find(gets)
}

/// Whether a field is the service's to set, and ignored where a caller does.
pub fn is_output_only(field: &FieldDescriptor) -> bool {
    const OUTPUT_ONLY: i32 = 3;
    let behavior = POOL.get_extension_by_name("google.api.field_behavior").expect("it is imported");
    let options = field.options();
    let all = options.get_extension(&behavior);
    all.as_list().is_some_and(|all| all.contains(&Value::EnumNumber(OUTPUT_ONLY)))
}

fn read() -> Vec<Rpc> {
    let option = |name: &str| POOL.get_extension_by_name(name).expect("an option of the contracts");
    let permission = option("caseward.access.v1.permission");
    let mutates = option("caseward.access.v1.mutates");
    let rest = option("google.api.http");
    let mut rpcs = vec![];
    for service in POOL.services() {
        for method in service.methods() {
            let options = method.options();
            let rule = options.get_extension(&rest);
            let rule = rule.as_message().expect("every method has a REST path").clone();
            let of_rule = |field: &str| {
                let value = rule.get_field_by_name(field)?;
                value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let verbs = [("get", Verb::GET), ("post", Verb::POST), ("patch", Verb::PATCH)];
            let rest = verbs.into_iter().find_map(|(field, verb)| Some((verb, of_rule(field)?)));
            rpcs.push(Rpc {
                path: format!("/{}/{}", service.full_name(), method.name()),
                name: method.name().to_owned(),
                service: service.full_name().to_owned(),
                rest: rest.unwrap_or_else(|| panic!("{} has no REST path", method.full_name())),
                permission: text(&options.get_extension(&permission)),
                mutates: options.get_extension(&mutates).as_bool().unwrap_or_default(),
                streams: method.is_server_streaming(),
                method,
            });
        }
    }
    rpcs
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Rpc {
    /// The field that names a resource in the request and the form of its name, such as `parent` and `cases/*`.
    pub fn target(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.rest.1.split_once('{')?;
        rest.split_once('}')?.0.split_once('=')
    }

    /// A request about `name`, with nothing else in it.
    pub fn about(&self, name: &str) -> serde_json::Value {
        let Some((field, _)) = self.target() else { return json!({}) };
        match field.split_once('.') {
            None => json!({ field: name }),
            Some((body, field)) => json!({ body: { field: name } }),
        }
    }

    /// The REST path of a request about `name`.
    pub fn url(&self, name: &str) -> String {
        match (self.rest.1.split_once('{'), self.rest.1.split_once('}')) {
            (Some((before, _)), Some((_, after))) => format!("{before}{name}{after}"),
            _ => self.rest.1.clone(),
        }
    }
}
