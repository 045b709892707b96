//! Who may call what: the contracts say which permission a method needs, the settings which role has it.
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

pub use caseward_api::Method;
use caseward_core::{Purpose, Reach};

/// Every method of every contract, by path.
#[derive(Clone, Debug)]
pub struct Methods(HashMap<&'static str, &'static Method>);

impl Methods {
    /// The methods of the contracts this was built with.
    pub fn get() -> &'static Methods {
        static METHODS: LazyLock<Methods> = LazyLock::new(|| {
            Methods(caseward_api::METHODS.iter().map(|method| (method.path, method)).collect())
        });
        &METHODS
    }

    /// The method of exactly this path.
    pub fn of(&self, path: &str) -> Option<&'static Method> {
        self.0.get(path).copied()
    }

    /// Every method.
    pub fn iter(&self) -> impl Iterator<Item = &'static Method> {
        self.0.values().copied()
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
