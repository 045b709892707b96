//! Who provides care, where, when and under which plans.
mod grpc;
mod healthcare_service;
mod identifier;
mod ingest;
mod insurance_plan;
mod likeness;
mod list;
mod location;
mod migrations;
mod organization;
mod parts;
mod postal_code;
mod practitioner;
mod practitioner_role;
mod record;
mod reference;
mod search;
mod term;
mod verification;
mod word;

use std::{net::SocketAddr, path::PathBuf};

use caseward_api::directory::v1::directory_service_server::DirectoryServiceServer;
use caseward_server::{Process, Service, settings::Common};
use caseward_store::Store;
use serde::Deserialize;

/// The section of this service in the settings.
pub const NAME: &str = "directory";

/// The defaults of the section.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// What this service is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it listens as a process of its own.
    pub listen: SocketAddr,
    /// `sqlite://…` or `postgres://…`; empty for a file in the data folder.
    pub database: String,
    /// A gazetteer of postal codes; empty for none.
    pub postal_codes: PathBuf,
}

/// Starts the service within `process`.
pub async fn start(settings: Settings, process: &mut Process) -> anyhow::Result<()> {
    if !settings.postal_codes.as_os_str().is_empty() {
        postal_code::read(&settings.postal_codes)?;
    }
    let store = open(&settings, &process.settings).await?;
    let directory = grpc::Directory { store: store.clone() };
    let service = Service::new(NAME, Some(store)).with(DirectoryServiceServer::new(directory));
    process.serve(verification::lapses().into_iter().fold(service, Service::on_timer))
}

/// Opens the database of this service.
pub async fn open(settings: &Settings, common: &Common) -> anyhow::Result<Store> {
    Store::open::<migrations::Migrator>(&common.database(NAME, &settings.database)?).await
}
