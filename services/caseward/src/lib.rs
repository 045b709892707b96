//! The whole suite in one process: every service started with its own settings, and the gateway before them.
use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
};

use anyhow::{Context, bail};
use caseward_server::{
    Process,
    settings::{Layers, make_private},
};
use caseward_store::Store;

/// The services of the suite, with the defaults of their sections.
pub const SERVICES: [&str; 5] = [
    caseward_patient::DEFAULTS,
    caseward_care_plan::DEFAULTS,
    caseward_directory::DEFAULTS,
    caseward_notification::DEFAULTS,
    caseward_gateway::DEFAULTS,
];

/// Lays `file` and the environment over the defaults of everything. A setting that no section has is refused here,
/// before any command acts on half of what was meant.
pub fn settings(file: Option<&Path>) -> anyhow::Result<Layers> {
    let layers = Layers::load(file, &SERVICES)?;
    layers.section::<caseward_patient::Settings>(caseward_patient::NAME)?;
    layers.section::<caseward_care_plan::Settings>(caseward_care_plan::NAME)?;
    layers.section::<caseward_directory::Settings>(caseward_directory::NAME)?;
    layers.section::<caseward_notification::Settings>(caseward_notification::NAME)?;
    layers.section::<caseward_gateway::Settings>(caseward_gateway::NAME)?;
    Ok(layers)
}

/// A running suite.
#[derive(Debug)]
pub struct Suite {
    /// What its services share.
    pub process: Process,
    /// Held as long as the suite lives.
    _alone: File,
}

impl Suite {
    /// Starts every service. Nothing listens yet.
    pub async fn start(layers: &Layers) -> anyhow::Result<Suite> {
        let common = layers.common()?;
        let alone = alone(&common.data)?;
        let mut process = Process::new(common).await?;
        caseward_patient::start(layers.section(caseward_patient::NAME)?, &mut process).await?;
        caseward_care_plan::start(layers.section(caseward_care_plan::NAME)?, &mut process).await?;
        caseward_directory::start(layers.section(caseward_directory::NAME)?, &mut process).await?;
        caseward_notification::start(layers.section(caseward_notification::NAME)?, &mut process)
            .await?;
        caseward_gateway::start(layers.section(caseward_gateway::NAME)?, &mut process).await?;
        process.ready()?;
        Ok(Suite { process, _alone: alone })
    }

    /// Opens the door. Answers its address, which matters for port 0.
    pub async fn listen(&self, layers: &Layers) -> anyhow::Result<SocketAddr> {
        let caseward_gateway::Settings { listen, .. } = layers.section(caseward_gateway::NAME)?;
        self.process.listen(listen.parse()?, self.process.routes().prepare()).await
    }

    /// Stops listening, waits for what runs, at most as long as the settings say.
    pub async fn stop(self) {
        let drain = self.process.settings.drain();
        self.process.life.finish(drain).await;
    }
}

/// Takes the data folder for this suite. Two would each send what the other sent.
fn alone(data: &Path) -> anyhow::Result<File> {
    let folder = || format!("the data folder {}", data.display());
    make_private(data)?;
    let lock = File::create(data.join("suite.lock")).with_context(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another suite works in {}", folder()),
        Err(TryLockError::Error(error)) => Err(error).with_context(folder),
    }
}

/// Opens the store of every service, for work on the data itself. With `migrate`, brings each up to date;
/// without, refuses where one is not.
pub async fn stores(layers: &Layers, migrate: bool) -> anyhow::Result<Vec<(&'static str, Store)>> {
    let mut common = layers.common()?;
    common.store.migrate = migrate;
    Ok(vec![
        (
            caseward_patient::NAME,
            caseward_patient::open(&layers.section(caseward_patient::NAME)?, &common).await?,
        ),
        (
            caseward_care_plan::NAME,
            caseward_care_plan::open(&layers.section(caseward_care_plan::NAME)?, &common).await?,
        ),
        (
            caseward_directory::NAME,
            caseward_directory::open(&layers.section(caseward_directory::NAME)?, &common).await?,
        ),
        (
            caseward_notification::NAME,
            caseward_notification::open(&layers.section(caseward_notification::NAME)?, &common)
                .await?,
        ),
    ])
}
