//! Who is told what, when and how: templates, messages, inboxes.
mod channel;
mod consumers;
mod delivery;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod grpc;
mod hold;
mod inbox;
mod judge;
mod mail;
mod message;
mod migrations;
mod notice;
mod quiet;
mod recipient;
mod settings;
mod shipped;
mod state;
mod team;
mod template;
mod text;
mod watch;

use std::sync::Arc;

use anyhow::ensure;
use caseward_api::notification::v1::{
    inbox_service_server::InboxServiceServer, message_service_server::MessageServiceServer,
    template_service_server::TemplateServiceServer,
};
use caseward_core::Ctx;
use caseward_server::{
    LOCAL_ORGANIZATION, Process, Service, relation::Relations, settings::Common,
};
use caseward_store::Store;
use tokio::sync::Notify;

pub use settings::{Settings, Smtp, Tls};

/// The section of this service in the settings.
pub const NAME: &str = "notification";

/// The defaults of the section.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// Starts the service within `process`.
pub async fn start(settings: Settings, process: &mut Process) -> anyhow::Result<()> {
    let hours =
        quiet::Hours::parse(&settings.time_zone, &settings.quiet_start, &settings.quiet_end);
    ensure!(hours.is_some(), "notification: time_zone wants an IANA name, quiet hours want HH:MM");
    let store = open(&settings, &process.settings).await?;
    let installed = Arc::new(shipped::Installed::default());
    let local = Ctx::task(NAME, "start", LOCAL_ORGANIZATION, process.clock.clone());
    installed.ensure(&store, &local).await?;

    let arrived = Arc::new(Notify::new());
    let templates = grpc::Templates {
        store: store.clone(),
        installed: installed.clone(),
        portal: settings.portal.clone(),
    };
    let relations = Relations::new(store.clone(), process, NAME);
    let messages = grpc::Messages { store: store.clone(), installed, relations };
    let stopping = process.life.stopping();
    let inboxes = grpc::Inboxes { store: store.clone(), arrived: arrived.clone(), stopping };
    let patients = recipient::Patients(process.own_peer("patient"));
    let teams = team::Teams(process.own_peer("care_plan"));
    let notices = consumers::notices(patients.clone(), teams);
    let delivery = Arc::new(delivery::Delivery {
        store: store.clone(),
        patients,
        mailer: mail::Mailer::new(&settings.smtp)?,
        settings: Arc::new(settings),
        arrived,
    });
    process.serve(
        Service::new(NAME, Some(store))
            .with(TemplateServiceServer::new(templates))
            .with(MessageServiceServer::new(messages))
            .with(InboxServiceServer::new(inboxes))
            .consume(notices)
            .consume(consumers::relations())
            .on_timer(delivery.handler()),
    )
}

/// Opens the database of this service.
pub async fn open(settings: &Settings, common: &Common) -> anyhow::Result<Store> {
    let database = common.database(NAME, &settings.service().database)?;
    Store::open::<migrations::Migrator>(&database).await
}
