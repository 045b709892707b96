//! Generates the contracts from `/proto`, without `protoc`.
use std::{collections::BTreeMap, env, error::Error, fs, path::PathBuf};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tonic_prost_build::{Config, FileDescriptorSet};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = vec![];
    collect(&root.join("caseward"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    // Encoded by protox itself: a round trip through prost would drop our options.
    let set = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &set)?;
    compiler.include_source_info(false);
    fs::write(out.join("shapes.bin"), compiler.encode_file_descriptor_set())?;
    let pool = DescriptorPool::decode(&*set)?;
    fs::write(out.join("methods.rs"), methods(&pool)?)?;
    fs::write(out.join("kinds.rs"), kinds(&pool))?;
    let set = FileDescriptorSet::decode(&*set)?;
    fs::write(out.join("shown.rs"), shown(&set))?;
    fs::write(out.join("requests.rs"), requests(&set))?;
    let mut config = Config::new();
    config.enable_type_names().skip_debug([".caseward"]);
    tonic_prost_build::configure()
        .include_file("contracts.rs")
        .codec_path("crate::codec::Weighing")
        .compile_fds_with_config(set, config)?;
    Ok(())
}

/// Says of each method, in Rust, what its options say, so that no process has to read the contracts to know.
fn methods(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = |name: &str| {
        let full = format!("caseward.access.v1.{name}");
        pool.get_extension_by_name(&full).ok_or(format!("the contracts lack the option {full}"))
    };
    let (permission, phi, mutates) = (option("permission")?, option("phi")?, option("mutates")?);
    let mut code = String::new();
    for service in pool.services() {
        for method in service.methods() {
            let (service, options) = (service.full_name(), method.options());
            let path = format!("/{service}/{}", method.name());
            let permission = options.get_extension(&permission);
            let permission = permission.as_str().filter(|permission| !permission.is_empty());
            let permission = permission.ok_or(format!("{path} declares no permission"))?;
            let flag = |option| options.get_extension(option).as_bool().unwrap_or_default();
            let (phi, mutates, streams) =
                (flag(&phi), flag(&mutates), method.is_server_streaming());
            let request_id = method.input().get_field_by_name("request_id");
            let request_id = request_id.map(|field| field.number());
            code += &format!(
                "Method {{ path: {path:?}, service: {service:?}, permission: {permission:?}, phi: {phi}, \
                 mutates: {mutates}, streams: {streams}, request_id: {request_id:?} }},\n"
            );
        }
    }
    Ok(format!("&[\n{code}]"))
}

/// Says of each kind of message that a request is or holds what it takes, and where it holds others.
fn kinds(pool: &DescriptorPool) -> String {
    let held = |message: &MessageDescriptor| -> Vec<(u32, MessageDescriptor)> {
        let fields = message.fields();
        fields
            .filter_map(|field| Some((field.number(), field.kind().as_message()?.clone())))
            .collect()
    };
    let mut next = vec![];
    for service in pool.services() {
        next.extend(service.methods().map(|method| method.input()));
    }
    let mut found = BTreeMap::new();
    while let Some(message) = next.pop() {
        let inner = held(&message);
        let name = message.full_name().to_owned();
        if found.insert(name, message).is_none() {
            next.extend(inner.into_iter().map(|(_, message)| message));
        }
    }
    let place = |kind: &MessageDescriptor| found.keys().position(|name| name == kind.full_name());
    let mut code = String::new();
    for (name, message) in &found {
        let inner = held(message).into_iter();
        let mut inner: Vec<_> =
            inner.filter_map(|(number, kind)| Some((number, place(&kind)?))).collect();
        inner.sort();
        let size = size(message);
        code += &format!("Kind {{ name: {name:?}, size: {size}, inner: &{inner:?} }},\n");
    }
    format!("&[\n{code}]")
}

/// What the type of a message takes, as code. Those that are not ours are small.
fn size(message: &MessageDescriptor) -> String {
    if !message.package_name().starts_with("caseward.") || message.is_map_entry() {
        return "64".to_owned();
    }
    let mut path = vec![message.name().to_owned()];
    let mut outer = message.parent_message();
    while let Some(message) = outer {
        path.push(message.name().to_snake_case());
        outer = message.parent_message();
    }
    path.reverse();
    let module = module(message.package_name());
    format!("size_of::<crate::{module}::{}>()", path.join("::"))
}

/// Where the types of a package are.
fn module(package: &str) -> String {
    format!("contracts::{}", package.replace(".type.", ".r#type.").replace('.', "::"))
}

/// Has each message print its name and nothing that it holds, and each value of an enumeration what it is called.
fn shown(set: &FileDescriptorSet) -> String {
    let mut code = String::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("caseward.")) {
        let module = module(file.package());
        for each in &file.enum_type {
            code += &format!("shown!(value {module}::{});\n", each.name());
        }
        for message in &file.message_type {
            let inner = message.name().to_snake_case();
            let name = message.name();
            code += &format!("shown!(message {module}::{name}, {name:?});\n");
            for each in &message.enum_type {
                code += &format!("shown!(value {module}::{inner}::{});\n", each.name());
            }
            for each in &message.oneof_decl {
                let name = each.name().to_upper_camel_case();
                code += &format!("shown!(message {module}::{inner}::{name}, {name:?});\n");
            }
        }
    }
    code
}

/// Says of each request, in Rust, what its shape says: that it mutates, that it pages.
fn requests(set: &FileDescriptorSet) -> String {
    let mut code = String::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("caseward.")) {
        let module = module(file.package());
        for message in file.message_type.iter().filter(|m| m.name().ends_with("Request")) {
            let has = |name| message.field.iter().any(|field| field.name() == name);
            let path = format!("{module}::{}", message.name());
            if has("request_id") {
                code += &format!(
                    "impl Mutation for {path} {{ fn request_id(&self) -> &str {{ &self.request_id }} }}\n"
                );
            }
            if has("request_id") && has("name") && has("etag") {
                let reason = if has("reason") { "&self.reason" } else { "\"\"" };
                code += &format!(
                    "impl Verb for {path} {{\n\
                     fn name(&self) -> &str {{ &self.name }}\n\
                     fn etag(&self) -> &str {{ &self.etag }}\n\
                     fn reason(&self) -> &str {{ {reason} }}\n\
                     }}\n"
                );
            }
            if has("page_token") {
                code += &format!(
                    "impl Paged for {path} {{\n\
                     fn page_size(&self) -> i32 {{ self.page_size }}\n\
                     fn page_token(&self) -> &str {{ &self.page_token }}\n\
                     fn query(&self) -> Self {{ Self {{ page_size: 0, page_token: String::new(), ..self.clone() }} }}\n\
                     }}\n"
                );
            }
        }
    }
    code
}

fn collect(folder: &PathBuf, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
