//! Who the patients are, who may speak for them, what covers them, what they agreed to.
mod grpc;
mod identifier;
mod migrations;
mod patient;

use caseward_api::patient::v1::patient_service_server::PatientServiceServer;
use caseward_server::{
    Process, Service,
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
    let patients = grpc::Patients { store: store.clone() };
    process.serve(Service::new(NAME, Some(store)).with(PatientServiceServer::new(patients)))
}

/// Opens the database of this service.
pub async fn open(settings: &Settings, common: &Common) -> anyhow::Result<Store> {
    Store::open::<migrations::Migrator>(&common.database(NAME, &settings.database)?).await
}
