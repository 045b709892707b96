//! Who may call what: the contracts say which permission a method needs, the settings which role has it.
use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use anyhow::{Context, ensure};
use caseward_core::{Purpose, Reach};
use prost_reflect::DescriptorPool;

/// What the contracts say of one method.
#[derive(Clone, Debug)]
pub struct Method {
    /// The gRPC path.
    pub path: &'static str,
    /// The full name of the service.
    pub service: &'static str,
    /// The permission a caller must hold.
    pub permission: String,
    /// Whether patient data is read or written.
    pub phi: bool,
    /// Whether the method changes something.
    pub mutates: bool,
    /// Whether the answer is a stream.
    pub streams: bool,
    /// The number of the request's field that makes a repetition one with the first, where it has one.
    pub request_id: Option<u32>,
}

/// Every method of every contract, by path.
#[derive(Clone, Debug)]
pub struct Methods(HashMap<&'static str, Method>);

impl Methods {
    /// The methods of the contracts this was built with, read once.
    pub fn get() -> anyhow::Result<&'static Methods> {
        static METHODS: OnceLock<Methods> = OnceLock::new();
        if let Some(methods) = METHODS.get() {
            return Ok(methods);
        }
        let methods = Self::load(caseward_api::DESCRIPTORS)?;
        Ok(METHODS.get_or_init(|| methods))
    }

    fn load(descriptors: &[u8]) -> anyhow::Result<Methods> {
        let pool = DescriptorPool::decode(descriptors)?;
        let option = |name: &str| {
            let full = format!("caseward.access.v1.{name}");
            pool.get_extension_by_name(&full)
                .with_context(|| format!("the contracts lack the option {full}"))
        };
        let (permission, phi, mutates) =
            (option("permission")?, option("phi")?, option("mutates")?);
        let mut methods = HashMap::new();
        for service in pool.services() {
            let name: &'static str = service.full_name().to_owned().leak();
            for method in service.methods() {
                let path: &'static str = format!("/{name}/{}", method.name()).leak();
                let options = method.options();
                let permission =
                    options.get_extension(&permission).as_str().unwrap_or_default().to_owned();
                ensure!(!permission.is_empty(), "{path} declares no permission");
                let flag = |option| options.get_extension(option).as_bool().unwrap_or_default();
                let (phi, mutates, streams) =
                    (flag(&phi), flag(&mutates), method.is_server_streaming());
                let request_id = method.input().get_field_by_name("request_id");
                let request_id = request_id.map(|field| field.number());
                let method =
                    Method { path, service: name, permission, phi, mutates, streams, request_id };
                methods.insert(path, method);
            }
        }
        Ok(Methods(methods))
    }

    /// The method of exactly this path.
    pub fn of(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }

    /// Every method.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.0.values()
    }
}

/// What each role may do.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Roles(BTreeMap<String, Role>);

/// What one role may do.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// `organization` or `related`: whose data.
    pub reach: ReachSetting,
    /// `treatment`, `operations` or `patient_request`: why.
    #[serde(default)]
    pub purpose: PurposeSetting,
    /// The permissions, as the contracts name them; `noun.*` is every one of a noun.
    pub permissions: Vec<String>,
}

/// The spelling of a reach in settings.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReachSetting {
    /// Every patient of the organization.
    Organization,
    /// The patients to whom the caller is related.
    Related,
}

/// The spelling of a purpose in settings.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurposeSetting {
    /// Treatment, care coordination included.
    #[default]
    Treatment,
    /// Running the organization.
    Operations,
    /// The patient asked.
    PatientRequest,
}

impl Roles {
    /// What all of `roles` together may do: permissions add up, the widest reach holds. Unknown roles grant nothing.
    pub fn grant(&self, roles: &[String]) -> (Vec<String>, Reach, Purpose) {
        let (mut permissions, mut reach, mut purpose) = (vec![], Reach::Related, None);
        for role in roles.iter().filter_map(|name| self.0.get(name)) {
            permissions.extend(role.permissions.iter().cloned());
            if let ReachSetting::Organization = role.reach {
                reach = Reach::Organization;
            }
            purpose.get_or_insert(match role.purpose {
                PurposeSetting::Treatment => Purpose::Treatment,
                PurposeSetting::Operations => Purpose::Operations,
                PurposeSetting::PatientRequest => Purpose::PatientRequest,
            });
        }
        (permissions, reach, purpose.unwrap_or_default())
    }

    /// Whether the settings know `role`.
    pub fn knows(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contracts_names_a_permission() {
        assert!(Methods::get().unwrap().iter().count() > 0);
    }
}
