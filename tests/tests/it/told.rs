//! A patient and her daughter are told: in their language, over TLS, not at night, once, and not any more once they
//! say no.
use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use caseward_api::{
    careplan::v1::{
        self as care, case_service_client::CaseServiceClient,
        task_service_client::TaskServiceClient,
    },
    notification::v1::{
        self as said, Channel, Message, PhiClass, Recipient,
        inbox_service_client::InboxServiceClient,
        message::{State, Suppression},
        message_service_client::MessageServiceClient,
        recipient::Who,
        template_service_client::TemplateServiceClient,
    },
    patient::v1::{
        self as people, CaregiverScope, Communication, Consent, RelatedPerson,
        caregiver_scope::{LegalBasis, Topic},
        consent,
        patient_service_client::PatientServiceClient,
    },
    types::v1::{ContactPoint, HumanName, contact_point},
};
use caseward_core::Time;
use caseward_testkit::{Answer, Caller, Smtp, Suite};
use sea_orm::{ConnectionTrait, Database, Statement};
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt;

/// How long something may take that crosses services, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pilar, and her daughter Rosa, who lives three hours to the west and may hear of the plan and of messages.
struct Home {
    suite: Suite,
    smtp: Smtp,
    case: care::Case,
    pilar: String,
    consent: Consent,
    rosa: RelatedPerson,
    _authority: TempDir,
}

impl Home {
    /// One in each shape.
    async fn each() -> Vec<Home> {
        let (smtp, authority, one) = plan().await;
        let mut all = vec![Home::new(one.one().await, smtp, authority).await];
        let (smtp, authority, plan) = plan().await;
        if let Some(suite) = plan.cluster().await {
            all.push(Home::new(suite, smtp, authority).await);
        }
        all
    }

    /// It is three in the morning where Pilar lives, and midnight where Rosa does.
    async fn new(suite: Suite, smtp: Smtp, authority: TempDir) -> Home {
        let sam = suite.caller("sam", &["supervisor"]);
        let mut patients = sam.client(PatientServiceClient::new);
        let spanish = || vec![Communication { language: "es-MX".to_owned(), interpreter: false }];
        let name = |given: &str| HumanName {
            family: "Quispe".to_owned(),
            given: vec![given.to_owned()],
            ..Default::default()
        };
        let patient = people::Patient {
            names: vec![name("Pilar")],
            telecoms: vec![email("pilar@example.org")],
            communications: spanish(),
            time_zone: "America/New_York".to_owned(),
            ..Default::default()
        };
        let ask = people::CreatePatientRequest { patient: Some(patient), ..Default::default() };
        let pilar = patients.create_patient(ask).await.unwrap().into_inner().name;

        let consent = Consent { r#type: consent::Type::Messaging.into(), ..Default::default() };
        let ask = people::CreateConsentRequest {
            parent: pilar.clone(),
            consent: Some(consent),
            ..Default::default()
        };
        let Consent { name: consent, etag, .. } =
            patients.create_consent(ask).await.unwrap().into_inner();
        let ask = people::ProposeConsentRequest { name: consent, etag, ..Default::default() };
        let Consent { name: consent, etag, .. } =
            patients.propose_consent(ask).await.unwrap().into_inner();
        let ask = people::ActivateConsentRequest { name: consent, etag, ..Default::default() };
        let consent = patients.activate_consent(ask).await.unwrap().into_inner();

        let rosa = RelatedPerson {
            names: vec![name("Rosa")],
            telecoms: vec![email("rosa@example.org")],
            communications: spanish(),
            time_zone: "America/Los_Angeles".to_owned(),
            ..Default::default()
        };
        let ask = people::CreateRelatedPersonRequest {
            parent: pilar.clone(),
            related_person: Some(rosa),
            ..Default::default()
        };
        let rosa = patients.create_related_person(ask).await.unwrap().into_inner();
        let scope = CaregiverScope {
            topics: vec![Topic::Plan.into(), Topic::Messages.into()],
            channels: vec![people::Channel::Email.into()],
            legal_basis: LegalBasis::PatientPermission.into(),
            ..Default::default()
        };
        let ask = people::GrantCaregiverScopeRequest {
            name: rosa.name,
            etag: rosa.etag,
            scope: Some(scope),
            ..Default::default()
        };
        let rosa = patients.grant_caregiver_scope(ask).await.unwrap().into_inner();

        let mut cases = sam.client(CaseServiceClient::new);
        let case = care::Case {
            patient: pilar.clone(),
            title: "Heart failure".to_owned(),
            ..Default::default()
        };
        let ask = care::CreateCaseRequest { case: Some(case), ..Default::default() };
        let care::Case { name, etag, .. } = cases.create_case(ask).await.unwrap().into_inner();
        let ask = care::StartOutreachRequest { name, etag, ..Default::default() };
        let care::Case { name, etag, .. } = cases.start_outreach(ask).await.unwrap().into_inner();
        let ask = care::EnrolCaseRequest {
            name,
            etag,
            consent_statement: "said yes".to_owned(),
            accountable: "ana".to_owned(),
            ..Default::default()
        };
        let case = cases.enrol_case(ask).await.unwrap().into_inner();
        Home { suite, smtp, case, pilar, consent, rosa, _authority: authority }
    }

    fn sam(&self) -> Caller {
        self.suite.caller("sam", &["supervisor"])
    }

    /// Moves the clock to `time`.
    async fn until(&self, time: &str) {
        let left = Time::parse(time).unwrap() - self.suite.now().await;
        self.suite.advance(left).await;
    }

    /// To whom mail came so far, in order.
    fn recipients(&self) -> Vec<String> {
        self.smtp.mails().into_iter().flat_map(|mail| mail.to).collect()
    }

    /// A look at the plan, for `who`, by mail, at `due`.
    async fn remind(&self, who: Who, purpose: &str, due: &str) -> String {
        let mut templates = self.sam().client(TemplateServiceClient::new);
        let ask =
            said::ListTemplatesRequest { key: "check-your-plan".to_owned(), ..Default::default() };
        let template =
            templates.list_templates(ask).await.unwrap().into_inner().templates.remove(0);
        let message = Message {
            recipient: Some(Recipient { who: Some(who) }),
            purpose: purpose.to_owned(),
            template: template.name,
            channels: vec![Channel::Email.into()],
            due_time: Some(Time::parse(due).unwrap().into()),
            ..Default::default()
        };
        let ask = said::SendMessageRequest { message: Some(message), ..Default::default() };
        let mut messages = self.sam().client(MessageServiceClient::new);
        messages.send_message(ask).await.unwrap().into_inner().name
    }

    /// Waits until the message rests in `state`.
    async fn rests(&self, name: &str, state: State) -> Message {
        let mut messages = self.sam().client(MessageServiceClient::new);
        let rests = async {
            loop {
                let ask = said::GetMessageRequest { name: name.to_owned(), ..Default::default() };
                let message = messages.get_message(ask).await.unwrap().into_inner();
                if message.state() == state {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, rests).await;
        came.unwrap_or_else(|_| panic!("{name} is not {state:?}, {}", self.suite.shape()))
    }

    /// The messages of Pilar's that wait for a morning, once there are so many.
    async fn held(&self, count: usize) {
        let mut messages = self.sam().client(MessageServiceClient::new);
        let held = async {
            loop {
                let ask = said::ListMessagesRequest {
                    patient: self.pilar.clone(),
                    states: vec![State::Scheduled.into()],
                    ..Default::default()
                };
                let found = messages.list_messages(ask).await.unwrap().into_inner().messages;
                if found.len() == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, held).await.expect("they are held for the night");
    }

    /// The tasks of the case, once they are `as_wanted`.
    async fn tasks(&self, as_wanted: impl Fn(&[care::Task]) -> bool) -> Vec<care::Task> {
        let mut tasks = self.sam().client(TaskServiceClient::new);
        let wanted = async {
            loop {
                let parent = self.case.name.clone();
                let ask = care::ListTasksRequest { parent, ..Default::default() };
                let found = tasks.list_tasks(ask).await.unwrap().into_inner().tasks;
                if as_wanted(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wanted).await.expect("the tasks come")
    }

    /// Has the bus deliver all that care-plan ever told once more, as after the loss of its streams.
    async fn deliver_again(&mut self) {
        let outbox = Database::connect(self.suite.database("care_plan")).await.unwrap();
        if let Some(nats) = self.suite.nats() {
            // The server would know the ids of the last two minutes.
            nats.lose().await;
            nats.start().await;
        }
        let done = outbox.execute_unprepared("UPDATE outbox SET published_at = NULL").await;
        assert!(done.unwrap().rows_affected() > 0);
        let count = "SELECT COUNT(*) AS waiting FROM outbox WHERE published_at IS NULL";
        let published = async {
            loop {
                let count = Statement::from_string(outbox.get_database_backend(), count);
                let row = outbox.query_one_raw(count).await.unwrap().unwrap();
                if row.try_get::<i64>("", "waiting").unwrap() == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, published).await.expect("all is published again");
    }
}

/// A mail server that insists on TLS, and a suite that trusts it.
async fn plan() -> (Smtp, TempDir, caseward_testkit::Plan) {
    let smtp = Smtp::start_tls().await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, smtp.certificate().unwrap()).unwrap();
    let plan = Suite::plan()
        .with("CASEWARD__NOTIFICATION__SMTP__HOST", "localhost")
        .with("CASEWARD__NOTIFICATION__SMTP__PORT", smtp.address().port().to_string())
        .with("CASEWARD__NOTIFICATION__SMTP__TLS", "starttls")
        .with("CASEWARD__NOTIFICATION__SMTP__AUTHORITIES", authority.to_str().unwrap());
    (smtp, folder, plan)
}

fn email(value: &str) -> ContactPoint {
    let system = contact_point::System::Email.into();
    ContactPoint { system, value: value.to_owned(), ..Default::default() }
}

/// The subject of a mail as it is read (RFC 2047).
fn subject(mail: &caseward_testkit::Mail) -> String {
    let read = |word: &str| match word.strip_prefix("=?utf-8?b?") {
        Some(encoded) => {
            let bytes = BASE64_STANDARD.decode(encoded.trim_end_matches("?=")).unwrap();
            String::from_utf8(bytes).unwrap()
        }
        None => word.to_owned(),
    };
    let words: Vec<String> = mail.header("Subject").unwrap().split(' ').map(read).collect();
    words.join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_hears_in_its_language_over_tls_when_its_night_is_over_and_once() {
    for mut home in Home::each().await {
        home.held(2).await;
        home.until("2026-01-05T12:59:59Z").await;
        assert!(home.smtp.mails().is_empty(), "nobody is woken");
        home.until("2026-01-05T13:00:00Z").await;
        home.smtp.wait_for(1, PATIENCE).await;
        home.until("2026-01-05T15:59:59Z").await;
        assert_eq!(home.recipients(), ["pilar@example.org"], "it is night in the west still");
        home.until("2026-01-05T16:00:00Z").await;
        let mails = home.smtp.wait_for(2, PATIENCE).await;
        assert_eq!(home.recipients(), ["pilar@example.org", "rosa@example.org"]);
        for mail in &mails {
            assert!(mail.encrypted);
            assert_eq!(subject(mail), "Su equipo de atención");
            assert!(!mail.text.contains("Quispe") && !mail.text.contains("Heart failure"));
        }

        home.deliver_again().await;
        // What is told of the same case comes after what is told again.
        let ask = care::ReassignCaseRequest {
            name: home.case.name.clone(),
            etag: home.case.etag.clone(),
            accountable: "bob".to_owned(),
            reason: "ana is ill".to_owned(),
            ..Default::default()
        };
        home.sam().client(CaseServiceClient::new).reassign_case(ask).await.unwrap();
        let mut told: Vec<(String, String)> = home
            .smtp
            .wait_for(4, PATIENCE)
            .await
            .iter()
            .map(|mail| (mail.to[0].clone(), subject(mail)))
            .collect();
        told.sort();
        let each = ["Su equipo de atención", "Un cambio en su equipo de atención"];
        let of = |who: &str| each.map(|subject| (who.to_owned(), subject.to_owned()));
        assert_eq!(told, [of("pilar@example.org"), of("rosa@example.org")].concat());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_no_hears_no_more_and_the_message_says_why() {
    for home in Home::each().await {
        home.held(2).await;
        home.until("2026-01-05T16:00:00Z").await;
        home.smtp.wait_for(2, PATIENCE).await;
        let mut patients = home.sam().client(PatientServiceClient::new);
        let (pilar, rosa) =
            (|| Who::Patient(home.pilar.clone()), || Who::RelatedPerson(home.rosa.name.clone()));
        let due = "2026-01-06T18:00:00Z";

        let waiting = home.remind(pilar(), "visit", due).await;
        let preference = people::Preference {
            name: format!("{}/preference", home.pilar),
            opted_out_channels: vec![people::Channel::Email.into()],
            ..Default::default()
        };
        let ask = people::GetPreferenceRequest { name: preference.name.clone() };
        let etag = patients.get_preference(ask).await.unwrap().into_inner().etag;
        let mask = prost_types::FieldMask { paths: vec!["opted_out_channels".to_owned()] };
        let ask = |preference| people::UpdatePreferenceRequest {
            preference: Some(preference),
            update_mask: Some(mask.clone()),
            ..Default::default()
        };
        let asked = ask(people::Preference { etag, ..preference.clone() });
        let opted_out = patients.update_preference(asked).await.unwrap().into_inner();
        let message = home.rests(&waiting, State::Suppressed).await;
        assert_eq!(message.suppression(), Suppression::OptedOut, "long before it was due");
        let opted_in = ask(people::Preference { opted_out_channels: vec![], ..opted_out });
        patients.update_preference(opted_in).await.unwrap();

        let waiting = home.remind(pilar(), "call", due).await;
        let ask = people::RevokeConsentRequest {
            name: home.consent.name.clone(),
            etag: home.consent.etag.clone(),
            ..Default::default()
        };
        patients.revoke_consent(ask).await.unwrap();
        let message = home.rests(&waiting, State::Suppressed).await;
        assert_eq!(message.suppression(), Suppression::NoConsent);

        let waiting = home.remind(rosa(), "call", due).await;
        let ask = people::RevokeCaregiverScopeRequest {
            name: home.rosa.name.clone(),
            etag: home.rosa.etag.clone(),
            ..Default::default()
        };
        patients.revoke_caregiver_scope(ask).await.unwrap();
        let message = home.rests(&waiting, State::Suppressed).await;
        assert_eq!(message.suppression(), Suppression::OutOfScope);

        let late = [
            (home.remind(pilar(), "again", "2026-01-05T17:00:00Z").await, Suppression::NoConsent),
            (home.remind(rosa(), "again", "2026-01-05T17:00:00Z").await, Suppression::OutOfScope),
        ];
        home.until("2026-01-06T20:00:00Z").await;
        for (name, why) in late {
            assert_eq!(home.rests(&name, State::Suppressed).await.suppression(), why);
        }
        assert_eq!(home.recipients().len(), 2, "nothing went out after the first morning");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_no_message_reaches_somebody_is_to_reach_in_person() {
    for home in Home::each().await {
        home.smtp.answer(Answer::RefuseRecipient("550 5.1.1 no such user".to_owned()));
        home.held(2).await;
        for (n, morning) in ["2026-01-05T13:00:00Z", "2026-01-05T16:00:00Z"].into_iter().enumerate()
        {
            home.until(morning).await;
            let tasks = home.tasks(|tasks| tasks.len() == n + 1).await;
            let task = tasks.last().unwrap();
            assert_eq!(task.owner, "ana");
            assert!(!task.title.contains("Quispe") && !task.description.contains("@"));
            let failed = home.rests(&task.cause, State::HardFailed).await;
            assert_eq!(failed.patient, home.pilar);
        }
        let mut inbox = home.suite.caller("ana", &["case_manager"]).client(InboxServiceClient::new);
        let told = async {
            loop {
                let parent = "inboxes/me".to_owned();
                let ask = said::ListInboxItemsRequest { parent, ..Default::default() };
                let items = inbox.list_inbox_items(ask).await.unwrap().into_inner().items;
                let told = items.iter().filter(|item| item.purpose == "task-assigned").count();
                if told == 2 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("ana hears of both tasks");
        assert!(home.smtp.mails().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_patient_dies_nothing_more_is_said_and_somebody_sees_to_what_is_open() {
    for home in Home::each().await {
        home.held(2).await;
        let reminder =
            home.remind(Who::Patient(home.pilar.clone()), "visit", "2026-01-05T18:00:00Z").await;
        let call = care::Task { title: "Call her".to_owned(), ..Default::default() };
        let parent = home.case.name.clone();
        let ask = care::CreateTaskRequest { parent, task: Some(call), ..Default::default() };
        home.sam().client(TaskServiceClient::new).create_task(ask).await.unwrap();

        let mut patients = home.sam().client(PatientServiceClient::new);
        let ask = people::GetPatientRequest { name: home.pilar.clone() };
        let patient = patients.get_patient(ask).await.unwrap().into_inner();
        let ask = people::UpdatePatientRequest {
            patient: Some(people::Patient { deceased: true, ..patient }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["deceased".to_owned()] }),
            ..Default::default()
        };
        patients.update_patient(ask).await.unwrap();

        let message = home.rests(&reminder, State::Suppressed).await;
        assert_eq!(message.suppression(), Suppression::Deceased, "long before it was due");
        let tasks = home.tasks(|tasks| tasks.len() == 2).await;
        assert_eq!(
            [tasks[0].state(), tasks[1].state()],
            [care::task::State::Cancelled, care::task::State::Accepted]
        );
        assert_eq!((tasks[1].owner.as_str(), &tasks[1].cause), ("ana", &home.pilar));
        home.until("2026-01-06T20:00:00Z").await;
        home.held(0).await;
        assert!(home.smtp.mails().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_an_illness_cannot_be_put_into_a_mail() {
    for suite in caseward_testkit::suites().await {
        let mut templates = suite.caller("sam", &["supervisor"]).client(TemplateServiceClient::new);
        for (channel, class, code) in [
            (Channel::Email, PhiClass::Full, Some(Code::FailedPrecondition)),
            (Channel::Sms, PhiClass::Full, Some(Code::FailedPrecondition)),
            (Channel::Email, PhiClass::Minimal, None),
            (Channel::Inbox, PhiClass::Full, None),
        ] {
            let template = said::Template {
                key: "result".to_owned(),
                display_name: "A result".to_owned(),
                variables: vec![said::TemplateVariable {
                    name: "result".to_owned(),
                    phi_class: class.into(),
                    required: true,
                    ..Default::default()
                }],
                variants: vec![said::TemplateVariant {
                    language: "en".to_owned(),
                    channel: channel.into(),
                    subject: "Your result".to_owned(),
                    body: "It is {{ result }}.".to_owned(),
                }],
                ..Default::default()
            };
            let ask =
                said::CreateTemplateRequest { template: Some(template), ..Default::default() };
            let said::Template { name, etag, .. } =
                templates.create_template(ask).await.unwrap().into_inner();
            let ask = said::ApproveTemplateRequest { name, etag, ..Default::default() };
            let refused = templates.approve_template(ask).await.err();
            assert_eq!(refused.as_ref().map(tonic::Status::code), code, "{channel:?} {class:?}");
            if let Some(refused) = refused {
                let reason = refused.get_error_details().error_info().unwrap().reason.clone();
                assert_eq!(reason, "PHI_NOT_ALLOWED");
            }
        }
    }
}
