//! Who the patients are, who may speak for them, what covers them, what they agreed to.
mod access;
mod child;
mod consent;
mod coverage;
mod disclosure;
mod emergency_access;
pub mod fill;
mod grpc;
mod migrations;
mod patient;
mod preference;
mod related_person;
mod relations;

use caseward_api::patient::v1::patient_service_server::PatientServiceServer;
use caseward_events::Handler;
use caseward_server::{
    Process, Service,
    relation::{self, Relations},
    settings::{Common, ServiceSettings},
};
use caseward_store::Store;

/// The section of this service in the settings.
pub const NAME: &str = "patient";

/// The defaults of the section.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// What this service is told.
pub type Settings = ServiceSettings;

/// Starts the service within `process`.
pub async fn start(settings: Settings, process: &mut Process) -> anyhow::Result<()> {
    let store = open(&settings, &process.settings).await?;
    let relations = Relations::new(store.clone(), process, NAME);
    let logs = process.access_logs(NAME, &store)?;
    let patients = grpc::Patients { store: store.clone(), relations, logs };
    let service = Service::new(NAME, Some(store))
        .with(PatientServiceServer::new(patients))
        .consume(relation::consumer("patient.relations", NAME))
        .on_timer(Handler::new(consent::EXPIRY, |timer, tx| async move {
            consent::fire_expiry(&tx, timer.subject.into()).await
        }))
        .on_timer(Handler::new(emergency_access::EXPIRY, |timer, tx| async move {
            emergency_access::fire_expiry(&tx, timer.subject.into()).await
        }));
    process.serve(service)
}

/// Opens the database of this service.
pub async fn open(settings: &Settings, common: &Common) -> anyhow::Result<Store> {
    Store::open::<migrations::Migrator>(&common.database(NAME, &settings.database)?).await
}
