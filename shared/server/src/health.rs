//! Readiness by the gRPC health protocol: a service is ready while its database answers.
use std::time::Duration;

use caseward_core::Clock;
use caseward_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{guard::Admission, probes::Ready, telemetry::meters};

/// How often a database is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often what waits in a database is counted.
const COUNT: Duration = Duration::from_secs(10);

/// Of which service the health is kept, and to whom it is told.
pub(crate) struct Health {
    pub(crate) service: &'static str,
    pub(crate) names: Vec<&'static str>,
    pub(crate) reporter: HealthReporter,
    pub(crate) ready: Ready,
    pub(crate) store: Option<Store>,
    pub(crate) clock: Clock,
    pub(crate) admission: Admission,
}

/// Keeps `health` true until the process is about to stop; then it is not ready.
pub(crate) async fn keep(health: Health, leaving: CancellationToken) -> anyhow::Result<()> {
    let Health { service, store, .. } = &health;
    let mut before = None;
    let mut counted: Option<Instant> = None;
    while !leaving.is_cancelled() {
        let ready = match store {
            Some(store) => matches!(tokio::time::timeout(PATIENCE, store.ping()).await, Ok(Ok(()))),
            None => true,
        };
        if before != Some(ready) {
            match (before, ready) {
                (Some(_), true) => info!(service, "the database answers again; ready"),
                (_, false) => warn!(service, "the database does not answer; not ready"),
                (None, true) => {}
            }
            health.tell(ready).await;
            before = Some(ready);
        }
        if let Some(store) = store
            && ready
            && counted.is_none_or(|counted| counted.elapsed() >= COUNT)
        {
            counted = Some(Instant::now());
            meters().in_flight.record(health.admission.in_flight(), &[]);
            // Where it cannot be counted now, the next round tells.
            if let Ok(Ok(vitals)) = tokio::time::timeout(PATIENCE, store.vitals()).await {
                meters().vitals(service, &vitals, health.clock.now());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = leaving.cancelled() => {}
        }
    }
    health.tell(false).await;
    Ok(())
}

impl Health {
    async fn tell(&self, ready: bool) {
        self.ready.tell(self.service, ready);
        meters().ready(self.service, ready);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names.iter().copied().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
