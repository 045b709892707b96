//! A template as its callers read it.
use caseward_api::notification::v1 as pb;
use caseward_core::{Error, Result};

use super::{Model, State};

impl From<Model> for pb::Template {
    fn from(row: Model) -> Self {
        let variables = row.variables.0.into_iter().map(|var| pb::TemplateVariable {
            name: var.name,
            phi_class: var.phi_class,
            description: var.description,
            required: var.required,
        });
        let variants = row.variants.0.into_iter().map(|variant| pb::TemplateVariant {
            language: variant.language,
            channel: pb::Channel::from(variant.channel).into(),
            subject: variant.subject,
            body: variant.body,
        });
        pb::Template {
            name: row.id.to_string(),
            key: row.key,
            version: row.version,
            display_name: row.display_name,
            variables: variables.collect(),
            variants: variants.collect(),
            state: pb::template::State::from(row.state).into(),
            approver: row.approver,
            approve_time: row.approved_at.map(Into::into),
            create_time: Some(row.created_at.into()),
            update_time: Some(row.updated_at.into()),
            etag: caseward_store::etag(row.revision),
        }
    }
}

impl From<State> for pb::template::State {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Self::Draft,
            State::Approved => Self::Approved,
            State::Retired => Self::Retired,
        }
    }
}

impl TryFrom<pb::template::State> for State {
    type Error = Error;
    fn try_from(state: pb::template::State) -> Result<Self> {
        match state {
            pb::template::State::Unspecified => Err(Error::invalid("states", "is required")),
            pb::template::State::Draft => Ok(State::Draft),
            pb::template::State::Approved => Ok(State::Approved),
            pb::template::State::Retired => Ok(State::Retired),
        }
    }
}
