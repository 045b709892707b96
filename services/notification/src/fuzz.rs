//! What the templates of messages withstand. Called by `tests/fuzz`, and here by a few inputs.
use std::collections::BTreeMap;

use caseward_api::notification::v1::{self as pb, Channel, PhiClass};
use caseward_core::{Clock, Ctx};

use crate::{template::Model, text};

/// A template that is accepted stays so, renders or does not, and says no more than a message may.
///
/// An input is a subject, a body and two values, with zeros between them.
pub fn template(input: &[u8]) {
    let mut parts = input.splitn(4, |byte| *byte == 0).map(String::from_utf8_lossy);
    let mut part = || parts.next().unwrap_or_default().into_owned();
    let (subject, body, who, what) = (part(), part(), part(), part());
    let variable = |name: &str, phi_class: PhiClass| pb::TemplateVariable {
        name: name.to_owned(),
        phi_class: phi_class.into(),
        ..Default::default()
    };
    let variant = |channel: Channel| pb::TemplateVariant {
        language: "en".to_owned(),
        channel: channel.into(),
        subject: subject.clone(),
        body: body.clone(),
    };
    let from = pb::Template {
        key: "fuzz".to_owned(),
        display_name: "Fuzz".to_owned(),
        variables: vec![variable("who", PhiClass::None), variable("what", PhiClass::Full)],
        variants: vec![variant(Channel::Inbox), variant(Channel::Email)],
        ..Default::default()
    };
    let ctx = Ctx::task("fuzz", "CreateTemplate", uuid::Uuid::nil(), Clock::System);
    let Ok(row) = Model::draft(&ctx, &from) else { return };
    let again = Model::draft(&ctx, &row.clone().into()).expect("what was accepted is accepted");
    assert_eq!((&again.variants, &again.variables), (&row.variants, &row.variables));

    let given = [("who", &who), ("what", &what)];
    let given = given
        .map(|(name, value)| pb::TemplateValue { name: name.to_owned(), value: value.clone() });
    let Ok(values) = row.values(&given) else { return };
    for variant in &row.variants.0 {
        let Ok((subject, body)) = row.render(variant, &values, "https://portal.example") else {
            continue;
        };
        assert!(!subject.contains(char::is_control), "a subject is one line");
        assert!(subject.len() <= text::LONGEST && body.len() <= text::LONGEST);
        // What may leave by an unsecured channel is the same whatever a value is that must not.
        if row.may_carry(variant) && !variant.channel.is_secured() {
            let other = BTreeMap::from([("what".to_owned(), "?".to_owned())]);
            let values = values.clone().into_iter().chain(other).collect();
            let same = row.render(variant, &values, "https://portal.example");
            assert_eq!(same.ok(), Some((subject, body)), "health information leaves");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_template_says_no_more_than_a_message_may() {
        caseward_testkit::fuzz::few("template", 2000, super::template);
    }
}
