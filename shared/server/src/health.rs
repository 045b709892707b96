//! Readiness by the gRPC health protocol: a service is ready while its database answers.
use std::time::Duration;

use caseward_store::Store;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

/// How often a database is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the health of the gRPC services `names` true until the process stops; then none is ready.
pub(crate) async fn keep(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    store: Option<Store>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut before = None;
    while !stop.is_cancelled() {
        let ready = match &store {
            Some(store) => matches!(tokio::time::timeout(PATIENCE, store.ping()).await, Ok(Ok(()))),
            None => true,
        };
        if before != Some(ready) {
            match (before, ready) {
                (Some(_), true) => info!("the database answers again; ready"),
                (_, false) => warn!("the database does not answer; not ready"),
                (None, true) => {}
            }
            tell(&reporter, &names, ready).await;
            before = Some(ready);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
    tell(&reporter, &names, false).await;
    Ok(())
}

async fn tell(reporter: &HealthReporter, names: &[&'static str], ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in names.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}
