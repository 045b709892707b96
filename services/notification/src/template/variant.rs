//! Which text a message uses, how much it gives away, what it says.
use std::collections::BTreeMap;

use caseward_api::notification::v1 as pb;
use caseward_core::{Result, Violations, check};

use super::{Model, Variant};
use crate::{channel::Channel, text};

/// The value every text may use without a caller giving it: where the portal is.
pub(crate) const PORTAL: &str = "portal";

/// The language to which every other falls back.
pub(crate) const FALLBACK: &str = "en";

impl Model {
    /// How much a declared name gives away.
    pub(super) fn declared(&self, name: &str) -> Option<i32> {
        if name == PORTAL {
            return Some(pb::PhiClass::None.into());
        }
        self.variables.0.iter().find(|var| var.name == name).map(|var| var.phi_class)
    }

    /// The most that any of its variables gives away.
    pub(crate) fn phi_class(&self) -> i32 {
        let least = i32::from(pb::PhiClass::None);
        self.variables.0.iter().map(|var| var.phi_class).fold(least, i32::max)
    }

    /// The most that one text gives away.
    pub(crate) fn phi_of(&self, variant: &Variant) -> i32 {
        [&variant.subject, &variant.body]
            .into_iter()
            .flat_map(|source| text::names(source).unwrap_or_default())
            // A name nobody declared could hold anything.
            .map(|name| self.declared(&name).unwrap_or(pb::PhiClass::Full.into()))
            .fold(pb::PhiClass::None.into(), i32::max)
    }

    /// Whether `channel` may carry `variant`.
    pub(crate) fn may_carry(&self, variant: &Variant) -> bool {
        variant.channel.is_secured() || self.phi_of(variant) < pb::PhiClass::Full.into()
    }

    /// The text for `channel` in `language`, or in the nearest language there is.
    pub(crate) fn variant(&self, channel: Channel, language: &str) -> Option<&Variant> {
        let mut wanted = language;
        loop {
            let found = self
                .variants
                .0
                .iter()
                .find(|v| v.channel == channel && v.language.eq_ignore_ascii_case(wanted));
            if found.is_some() || wanted == FALLBACK {
                return found;
            }
            wanted = wanted.rsplit_once('-').map_or(FALLBACK, |(shorter, _)| shorter);
        }
    }

    /// The texts of a message, once every value is there.
    pub(crate) fn render(
        &self,
        variant: &Variant,
        values: &BTreeMap<String, String>,
        portal: &str,
    ) -> Result<(String, String)> {
        let mut all: BTreeMap<String, String> =
            self.variables.0.iter().map(|var| (var.name.clone(), String::new())).collect();
        all.extend(values.clone());
        all.insert(PORTAL.to_owned(), portal.to_owned());
        Ok((text::line(&text::render(&variant.subject, &all)?), text::render(&variant.body, &all)?))
    }

    /// The values of a request, each declared once, none missing that a message needs.
    pub(crate) fn values(&self, from: &[pb::TemplateValue]) -> Result<BTreeMap<String, String>> {
        let mut bad = Violations::default();
        let mut values = BTreeMap::new();
        if from.len() > 50 {
            bad.add("variables", "wants 0 to 50 members");
        }
        for (n, pb::TemplateValue { name, value }) in from.iter().enumerate().take(50) {
            let path = format!("variables[{n}]");
            if !self.variables.0.iter().any(|var| var.name == *name) {
                bad.add(format!("{path}.name"), "is not a variable of the template");
            } else if values.contains_key(name) {
                bad.add(format!("{path}.name"), "is given twice");
            } else if let Some(value) =
                bad.take(&format!("{path}.value"), check::text(value, 0..=2000))
            {
                values.insert(name.clone(), value);
            }
        }
        for var in self.variables.0.iter().filter(|var| var.required) {
            if values.get(&var.name).is_none_or(String::is_empty) {
                bad.add("variables", format!("`{}` is required", var.name));
            }
        }
        bad.finish()?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use caseward_core::{Clock, Ctx};

    use super::*;

    fn template(channel: pb::Channel, phi_class: pb::PhiClass) -> Model {
        let variant = |language: &str| pb::TemplateVariant {
            language: language.to_owned(),
            channel: channel.into(),
            subject: "A word".to_owned(),
            body: "{{ what }}".to_owned(),
        };
        let variable = pb::TemplateVariable {
            name: "what".to_owned(),
            phi_class: phi_class.into(),
            ..Default::default()
        };
        let from = pb::Template {
            key: "k".to_owned(),
            display_name: "K".to_owned(),
            variables: vec![variable],
            variants: vec![variant("en"), variant("es"), variant("pt-BR")],
            ..Default::default()
        };
        let ctx = Ctx::task("test", "test", uuid::Uuid::nil(), Clock::System);
        Model::draft(&ctx, &from).unwrap()
    }

    #[test]
    fn an_unsecured_channel_carries_no_health_information_however_it_came_to_be_approved() {
        use pb::{Channel::*, PhiClass::*};
        for (channel, class, may) in
            [(Email, Full, false), (Sms, Full, false), (Email, Minimal, true), (Inbox, Full, true)]
        {
            let mut template = template(channel, class);
            assert_eq!(template.may_carry(&template.variants.0[0]), may, "{channel:?} {class:?}");
            // Nor what nobody declared.
            template.variables.0.clear();
            assert_eq!(template.may_carry(&template.variants.0[0]), channel == Inbox);
        }
    }

    #[test]
    fn a_language_falls_back_to_its_base_and_then_to_english() {
        let template = template(pb::Channel::Inbox, pb::PhiClass::None);
        for (wanted, found) in
            [("es-MX", "es"), ("ES", "es"), ("pt-BR", "pt-BR"), ("pt", "en"), ("zh-Hant-TW", "en")]
        {
            assert_eq!(template.variant(Channel::Inbox, wanted).unwrap().language, found);
            assert!(template.variant(Channel::Email, wanted).is_none());
        }
    }
}
