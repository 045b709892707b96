//! Holding a lease for as long as some work runs.
use std::{future::Future, time::Duration};

use caseward_store::{
    Store,
    lease::{Lease, TERM},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often a replica that does not hold the lease asks for it, and how long a failed work rests.
const ASK: Duration = Duration::from_secs(1);

/// Runs `work` while this replica holds the lease `name`, again and again until `stop`.
///
/// The work is dropped where it stands when the lease is lost or `stop` comes, so it must be safe to repeat.
pub(crate) async fn hold<F, Fut>(store: &Store, name: &str, stop: &CancellationToken, work: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut lease = Lease::new(store, name);
    let mut idle = false;
    loop {
        if idle {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(ASK) => {}
            }
        }
        idle = true;
        let asked = Instant::now();
        match lease.take().await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                warn!(lease = name, %error, "a lease could not be asked for");
                continue;
            }
        }
        debug!(lease = name, "took the lease");
        tokio::select! {
            // Renewal is polled beside the work: it may need a connection that the work holds.
            () = lost(&mut lease, asked) => {
                warn!(lease = name, "lost the lease");
                continue;
            }
            ended = work() => if let Err(error) = ended {
                warn!(lease = name, error = format!("{error:#}"), "ended early; will start again");
            },
            () = stop.cancelled() => {}
        }
        if let Err(error) = lease.release().await {
            debug!(lease = name, %error, "could not release the lease; it ends by itself");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Renews the lease; returns once another may hold it.
async fn lost(lease: &mut Lease, taken: Instant) {
    let mut taken = taken;
    loop {
        sleep(TERM / 3).await;
        let asked = Instant::now();
        let left = (taken + TERM).saturating_duration_since(asked);
        match tokio::time::timeout(left, lease.take()).await {
            Ok(Ok(true)) => taken = asked,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => warn!(lease = lease.name(), %error, "a lease could not be renewed"),
        }
    }
}
