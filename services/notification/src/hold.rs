//! One message at a time in one pair of hands, among all replicas, and one at a time to one recipient.
use std::{future::Future, time::Duration};

use caseward_core::{Error, Result};
use caseward_store::{Store, lease::Lease};

use crate::message::{Model, Recipient};

/// The lease of one turn. Left behind by a process that died, it ends by itself.
pub(crate) struct Hold(Lease);

/// How long others' hands are waited for: longer than a lease that was left behind lasts.
const PATIENCE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(50);
const RENEW: Duration = Duration::from_secs(2);

impl Hold {
    pub(crate) async fn take(store: &Store, message: &Model) -> Result<Hold> {
        let mut lease = Lease::new(store, turn(message));
        let taken = async {
            while !lease.take().await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, taken).await.unwrap_or(Err(Error::Unavailable(
            "the recipient is being sent another message; try again",
        )))?;
        Ok(Hold(lease))
    }

    /// Keeps the lease while `work` runs, and gives it back after.
    pub(crate) async fn during<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let renew = async {
            loop {
                tokio::time::sleep(RENEW).await;
                if !self.0.take().await? {
                    return Err(Error::Unavailable("the lease of a message was lost; try again"));
                }
            }
        };
        let done = tokio::select! {
            done = work => done,
            lost = renew => lost,
        };
        self.0.release().await?;
        done
    }
}

/// The lease under which a message is judged, sent and recorded. Caps and duplicates are counted from what is recorded,
/// so all to one recipient share one. What events tell staff is held to neither; those need not wait for each other.
fn turn(message: &Model) -> String {
    let patient = Recipient::read(&message.recipient).and_then(|to| to.patient());
    match (patient, &message.event_key) {
        (None, Some(_)) => format!("message/{}", message.id.uuid()),
        _ => format!("recipient/{}/{}", message.organization, message.recipient),
    }
}
