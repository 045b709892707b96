//! One message at a time in one pair of hands, among all replicas.
use std::{future::Future, time::Duration};

use caseward_core::{Error, Result};
use caseward_store::{Store, lease};
use uuid::Uuid;

/// The lease of one message. Left behind by a process that died, it ends by itself.
pub(crate) struct Hold {
    store: Store,
    name: String,
    holder: Uuid,
}

/// How long others' hands are waited for: longer than a lease that was left behind lasts.
const PATIENCE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(50);
const RENEW: Duration = Duration::from_secs(2);

impl Hold {
    pub(crate) async fn take(store: &Store, message: Uuid) -> Result<Hold> {
        let hold = Hold {
            store: store.clone(),
            name: format!("message/{message}"),
            holder: Uuid::now_v7(),
        };
        let taken = async {
            while !lease::take(store, &hold.name, hold.holder).await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, taken)
            .await
            .unwrap_or(Err(Error::Unavailable("the message is being sent; try again")))?;
        Ok(hold)
    }

    /// Keeps the lease while `work` runs, and gives it back after.
    pub(crate) async fn during<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let renew = async {
            loop {
                tokio::time::sleep(RENEW).await;
                if !lease::take(&self.store, &self.name, self.holder).await? {
                    return Err(Error::Unavailable("the lease of a message was lost; try again"));
                }
            }
        };
        let done = tokio::select! {
            done = work => done,
            lost = renew => lost,
        };
        lease::release(&self.store, &self.name, self.holder).await?;
        done
    }
}
