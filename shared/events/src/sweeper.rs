//! Forgets what is past its time, once in a while.
use std::time::Duration;

use caseward_core::{Clock, Result};
use caseward_store::{Store, audit::Abandoned, lease::Lease};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(3600);

/// The sweeper of one service's database.
#[derive(Debug)]
pub struct Sweeper {
    store: Store,
    clock: Clock,
}

impl Sweeper {
    /// The sweeper of `store`.
    pub fn new(store: Store, clock: Clock) -> Self {
        Sweeper { store, clock }
    }

    /// Sweeps at start and then hourly until `stop`. The lease is not renewed: two that sweep do no harm.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut lease = Lease::new(&self.store, "sweeper");
        let mut abandoned = Abandoned::default();
        loop {
            let swept = match lease.take().await {
                Ok(true) => self.sweep(&mut abandoned).await,
                taken => taken.map(|_| ()),
            };
            if let Err(error) = swept {
                warn!(%error, "could not sweep; will try again in an hour");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn sweep(&self, abandoned: &mut Abandoned) -> Result<()> {
        self.store.sweep(&self.clock).await?;
        let closed = abandoned.close(&self.store, &self.clock).await?;
        if closed > 0 {
            warn!(calls = closed, "closed the audit records of calls whose process was killed");
        }
        Ok(())
    }
}
