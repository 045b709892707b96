//! One notification service on one database, with the services and the mail server it talks to.
use std::time::Duration;

use caseward_api::{
    notification::v1::{
        self as pb, Channel, Message, Recipient, inbox_service_client::InboxServiceClient,
        message_service_client::MessageServiceClient, recipient::Who,
        template_service_client::TemplateServiceClient,
    },
    patient::v1::patient_service_server::PatientServiceServer,
};
use caseward_core::{Clock, Ctx, Time};
use caseward_server::{LOCAL_ORGANIZATION, Process, Service, Transport, settings::Layers};
use caseward_store::{Store, Tx};
use caseward_testkit::{Answer, Database, Smtp};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tonic::Request;

use crate::{patients::Patients, teams::Teams};

pub(crate) const ANA: &str = "ana/supervisor";
pub(crate) const OPERATOR: &str = "ops/operator";
const PATIENCE: Duration = Duration::from_secs(30);

/// A Monday morning at ten in New York.
pub(crate) const START: &str = "2026-01-05T15:00:00Z";

pub(crate) struct Suite {
    pub(crate) process: Process,
    pub(crate) patients: Patients,
    pub(crate) teams: Teams,
    pub(crate) smtp: Smtp,
    pub(crate) database: Database,
    /// Where another service keeps the events it tells.
    others: Store,
    _folder: tempfile::TempDir,
}

/// The tables that every service has.
struct Tables;
impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        caseward_store::migrations::all()
    }
}

impl Suite {
    pub(crate) async fn start(database: Database) -> Suite {
        Self::with(database, Smtp::start().await, Ok).await
    }

    /// The same with settings of its own, over all others.
    pub(crate) async fn with(
        database: Database,
        smtp: Smtp,
        with: impl FnOnce(Layers) -> anyhow::Result<Layers>,
    ) -> Suite {
        let patients = Patients::default();
        let folder = tempfile::tempdir().unwrap();
        let layers = Layers::load(None, &[caseward_notification::DEFAULTS])
            .and_then(|all| all.with("data", folder.path().to_str().unwrap()))
            .and_then(|all| all.with("clock.simulated_start", START))
            .and_then(|all| all.with("notification.database", database.url.as_str()))
            .and_then(|all| all.with("notification.smtp.host", "127.0.0.1"))
            .and_then(|all| all.with("notification.smtp.port", i64::from(smtp.address().port())))
            .and_then(|all| all.with("notification.smtp.tls", "none"))
            .and_then(with)
            .unwrap();
        let common = layers.common().unwrap();
        let others = common.database("care_plan", "").unwrap();
        let others = Store::open::<Tables>(&others).await.unwrap();
        let mut process = Process::new(common).await.unwrap();
        let double = PatientServiceServer::new(patients.clone());
        process.serve(Service::new("patient", None).with(double)).unwrap();
        let teams = Teams::default();
        process.bind("care_plan", teams.transport());
        process.serve(Service::new("elsewhere", Some(others.clone()))).unwrap();
        let settings = layers.section(caseward_notification::NAME).unwrap();
        caseward_notification::start(settings, &mut process).await.unwrap();
        process.ready().unwrap();
        Suite { process, patients, teams, smtp, database, others, _folder: folder }
    }

    /// `ask` in the name of `subject/role`.
    pub(crate) fn by<T>(&self, who: &str, ask: T) -> Request<T> {
        let (subject, role) = who.split_once('/').unwrap();
        let life = Duration::from_secs(600);
        let token = self
            .process
            .verifier()
            .mint(subject, &[role], LOCAL_ORGANIZATION, life, Clock::System.now())
            .unwrap();
        let mut request = Request::new(ask);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    pub(crate) fn templates(&self) -> TemplateServiceClient<Transport> {
        TemplateServiceClient::new(self.process.peer(caseward_notification::NAME))
    }

    pub(crate) fn messages(&self) -> MessageServiceClient<Transport> {
        MessageServiceClient::new(self.process.peer(caseward_notification::NAME))
    }

    pub(crate) fn inboxes(&self) -> InboxServiceClient<Transport> {
        InboxServiceClient::new(self.process.peer(caseward_notification::NAME))
    }

    /// Waits until all that is due is done.
    pub(crate) async fn settle(&self) {
        self.process.settle().settle(PATIENCE).await.unwrap();
    }

    pub(crate) async fn advance(&self, by: time::Duration) {
        let to = self.process.clock.now() + by;
        self.process.settle().advance(to, PATIENCE).await.unwrap();
    }

    pub(crate) async fn until(&self, at: &str) {
        let to = Time::parse(at).unwrap();
        self.process.settle().advance(to, PATIENCE).await.unwrap();
    }

    /// Work in the database of another service.
    pub(crate) async fn elsewhere<Fut>(&self, work: impl Fn(Tx) -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = caseward_core::Result<()>> + Send + 'static,
    {
        let ctx = Ctx::task("care_plan", "test", LOCAL_ORGANIZATION, self.process.clock.clone());
        self.others.task(&ctx, work).await.unwrap();
    }

    /// The shipped template of `key`.
    pub(crate) async fn template(&self, key: &str) -> pb::Template {
        let ask = pb::ListTemplatesRequest {
            key: key.to_owned(),
            states: vec![pb::template::State::Approved.into()],
            ..Default::default()
        };
        let found = self.templates().list_templates(self.by(OPERATOR, ask)).await.unwrap();
        found.into_inner().templates.remove(0)
    }

    /// Sends the shipped `check-your-plan` to `who`, over `channels`.
    pub(crate) async fn send(&self, who: Who, channels: &[Channel]) -> Message {
        self.send_with(who, channels, |_| {}).await
    }

    pub(crate) async fn send_with(
        &self,
        who: Who,
        channels: &[Channel],
        with: impl FnOnce(&mut Message),
    ) -> Message {
        let mut message = Message {
            recipient: Some(Recipient { who: Some(who) }),
            purpose: "reminder".to_owned(),
            template: self.template("check-your-plan").await.name,
            channels: channels.iter().map(|channel| (*channel).into()).collect(),
            ..Default::default()
        };
        with(&mut message);
        let ask = pb::SendMessageRequest { message: Some(message), ..Default::default() };
        self.messages().send_message(self.by(ANA, ask)).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&self, name: &str) -> Message {
        let ask = pb::GetMessageRequest { name: name.to_owned(), ..Default::default() };
        self.messages().get_message(self.by(ANA, ask)).await.unwrap().into_inner()
    }

    pub(crate) async fn all(&self) -> Vec<Message> {
        let ask = self.by(ANA, pb::ListMessagesRequest::default());
        self.messages().list_messages(ask).await.unwrap().into_inner().messages
    }

    /// Sends, waits, and looks.
    pub(crate) async fn told(&self, who: Who, channels: &[Channel]) -> Message {
        let sent = self.send(who, channels).await;
        self.settle().await;
        self.get(&sent.name).await
    }

    /// What is in the inbox of `who`, the oldest first.
    pub(crate) async fn inbox(&self, who: &str) -> Vec<pb::InboxItem> {
        self.inbox_of("me", who).await
    }

    /// What supervisors find in the inbox that they share, the oldest first.
    pub(crate) async fn shared(&self) -> Vec<pb::InboxItem> {
        self.inbox_of("supervisors", ANA).await
    }

    async fn inbox_of(&self, inbox: &str, who: &str) -> Vec<pb::InboxItem> {
        let parent = format!("inboxes/{inbox}");
        let ask = pb::ListInboxItemsRequest { parent, ..Default::default() };
        let reply = self.inboxes().list_inbox_items(self.by(who, ask)).await.unwrap();
        reply.into_inner().items.into_iter().rev().collect()
    }

    pub(crate) fn refuse(&self, line: &str) {
        self.smtp.answer(Answer::RefuseRecipient(line.to_owned()));
    }
}
