//! The stream of what arrives in an inbox: read from the table, so that nothing is lost, whichever replica wrote it.
use std::{collections::VecDeque, sync::Arc, time::Duration};

use caseward_api::notification::v1 as pb;
use caseward_core::{Ctx, Result};
use caseward_store::Store;
use futures_util::{Stream, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::inbox;

/// How often the table is looked at for what another replica put there.
const LOOK: Duration = Duration::from_millis(500);

/// How many items are read at once.
const BATCH: u64 = 100;

pub(crate) struct Watch {
    pub(crate) store: Store,
    pub(crate) ctx: Ctx,
    pub(crate) arrived: Arc<Notify>,
    pub(crate) stopping: CancellationToken,
    /// Whose inbox it is.
    pub(crate) owner: String,
    /// The place of the last item that was read.
    pub(crate) last: i64,
    pub(crate) read: VecDeque<pb::InboxItem>,
}

impl Watch {
    /// The items as they come, until the caller leaves or the process stops.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<pb::InboxItem, Status>> + Send {
        stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(watch))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<pb::InboxItem>> {
        loop {
            if let Some(item) = self.read.pop_front() {
                self.last = item.sequence;
                return Ok(Some(item));
            }
            // Listening begins before the table is read, or what arrives in between would wait for the next look.
            let arrived = self.arrived.clone();
            let woken = arrived.notified();
            let rows =
                inbox::after(&self.store.read(&self.ctx), &self.owner, self.last, BATCH).await?;
            self.read.extend(rows.into_iter().map(pb::InboxItem::from));
            if !self.read.is_empty() {
                continue;
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(LOOK) => {}
                () = self.stopping.cancelled() => return Ok(None),
            }
        }
    }
}
