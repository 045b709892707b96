//! Templates: versions, states, and what an unsecured channel must not carry.
use caseward_api::notification::v1::{
    self as pb, Channel, PhiClass, Template, TemplateValue, TemplateVariable, TemplateVariant,
    template::State,
};
use caseward_testkit::databases;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::suite::{OPERATOR, Suite};

fn template(body: &str, channel: Channel, phi_class: PhiClass) -> Template {
    let variant = |language: &str, body: String| TemplateVariant {
        language: language.to_owned(),
        channel: channel.into(),
        subject: "A word".to_owned(),
        body,
    };
    Template {
        key: "lab-result".to_owned(),
        display_name: "Lab result".to_owned(),
        variables: vec![TemplateVariable {
            name: "result".to_owned(),
            phi_class: phi_class.into(),
            required: true,
            ..Default::default()
        }],
        variants: vec![variant("en", body.to_owned()), variant("es", format!("Hola. {body}"))],
        ..Default::default()
    }
}

async fn create(suite: &Suite, template: Template) -> Result<Template, Status> {
    let ask = pb::CreateTemplateRequest { template: Some(template), ..Default::default() };
    suite.templates().create_template(suite.by(OPERATOR, ask)).await.map(|reply| reply.into_inner())
}

async fn approve(suite: &Suite, draft: &Template) -> Result<Template, Status> {
    let ask = pb::ApproveTemplateRequest {
        name: draft.name.clone(),
        etag: draft.etag.clone(),
        ..Default::default()
    };
    suite
        .templates()
        .approve_template(suite.by(OPERATOR, ask))
        .await
        .map(|reply| reply.into_inner())
}

#[tokio::test]
async fn health_information_does_not_go_over_email() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let open = template("Your result: {{ result }}", Channel::Email, PhiClass::Full);
        let draft = create(&suite, open).await.unwrap();
        let error = approve(&suite, &draft).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(error.get_error_details().error_info().unwrap().reason, "PHI_NOT_ALLOWED");

        for (channel, class) in
            [(Channel::Email, PhiClass::Minimal), (Channel::Inbox, PhiClass::Full)]
        {
            let draft = create(&suite, template("{{ result }}", channel, class)).await.unwrap();
            assert_eq!(approve(&suite, &draft).await.unwrap().state(), State::Approved);
        }
    }
}

#[tokio::test]
async fn a_text_names_only_what_is_declared() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        for body in ["{{ secret }}", "{{ result", "{{ debug() }}", "{% include 'other' %}{{ x }}"] {
            let error = create(&suite, template(body, Channel::Inbox, PhiClass::None)).await;
            let error = error.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{body}");
            let details = error.get_error_details();
            let fields = &details.bad_request().unwrap().field_violations;
            assert_eq!(fields[0].field, "template.variants[0].body");
        }
        let mut wrong = template("{{ result }}", Channel::Email, PhiClass::None);
        wrong.key = "Lab Result".to_owned();
        wrong.variants.remove(0);
        wrong.variables.push(wrong.variables[0].clone());
        let error = create(&suite, wrong).await.unwrap_err();
        let violations = error.get_error_details().bad_request().unwrap().field_violations.clone();
        let fields: Vec<String> = violations.into_iter().map(|one| one.field).collect();
        assert_eq!(fields, ["template.key", "template.variables", "template.variants"]);
    }
}

#[tokio::test]
async fn the_newest_approved_version_is_used_and_never_changes() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let first = template("1 {{ result }}", Channel::Inbox, PhiClass::Full);
        let first = create(&suite, first).await.unwrap();
        let first = approve(&suite, &first).await.unwrap();
        let second = template("2 {{ result }}", Channel::Inbox, PhiClass::Full);
        let second = create(&suite, second).await.unwrap();
        assert_eq!((first.version, second.version), (1, 2));
        let update =
            pb::UpdateTemplateRequest { template: Some(first.clone()), ..Default::default() };
        let error =
            suite.templates().update_template(suite.by(OPERATOR, update)).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        approve(&suite, &second).await.unwrap();
        let ask = pb::GetTemplateRequest { name: first.name.clone() };
        let first =
            suite.templates().get_template(suite.by(OPERATOR, ask)).await.unwrap().into_inner();
        assert_eq!(first.state(), State::Retired);
        let error = approve(&suite, &first).await.unwrap_err();
        assert_eq!(error.get_error_details().error_info().unwrap().metadata["allowed"], "");
    }
}

#[tokio::test]
async fn what_a_message_would_say_can_be_seen() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let draft = template("{{ result }} at {{ portal }}", Channel::Inbox, PhiClass::Full);
        let draft = create(&suite, draft).await.unwrap();
        let ask = pb::RenderTemplateRequest {
            name: draft.name,
            language: "es-MX".to_owned(),
            channel: Channel::Inbox.into(),
            variables: vec![TemplateValue {
                name: "result".to_owned(),
                value: "{{ 1 }}".to_owned(),
            }],
        };
        let reply = suite.templates().render_template(suite.by(OPERATOR, ask.clone())).await;
        let reply = reply.unwrap().into_inner();
        // A value is a value, not a text to be rendered.
        assert_eq!(reply.content.as_ref().unwrap().body, "Hola. {{ 1 }} at http://127.0.0.1:8080");
        assert_eq!((reply.language.as_str(), reply.phi_class()), ("es", PhiClass::Full));
        let ask = pb::RenderTemplateRequest { variables: vec![], ..ask };
        let error = suite.templates().render_template(suite.by(OPERATOR, ask)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn the_shipped_templates_are_there_once_in_both_languages() {
    for database in databases().await {
        let suite = Suite::start(database.clone()).await;
        let shipped = templates(&suite).await;
        assert_eq!(shipped.len(), 27);
        for template in &shipped {
            assert_eq!(template.state(), State::Approved);
            assert!(template.variables.is_empty());
            for language in ["en", "es"] {
                assert!(template.variants.iter().any(|one| one.language == language));
            }
        }
        // Another start, as after an update, makes none anew.
        let again = Suite::start(database).await;
        assert_eq!(templates(&again).await, shipped);
    }
}

async fn templates(suite: &Suite) -> Vec<Template> {
    let ask = suite.by(OPERATOR, pb::ListTemplatesRequest::default());
    suite.templates().list_templates(ask).await.unwrap().into_inner().templates
}
