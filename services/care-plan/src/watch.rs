//! Streams of what happens to a case: in order, without loss, while the caller may see it.
use std::time::Duration;

use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Error, Result};
use caseward_store::Store;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{
    case::{self, CaseId},
    timeline,
};

/// How often the timeline is read: another replica may have written to it.
const EVERY: Duration = Duration::from_millis(250);

/// How many entries are read at once, and may wait for a slow reader.
const BATCH: u64 = 64;

/// The entries after `resume`, or after now where that is empty, until the caller leaves, may no longer see the
/// case, or the process stops. Each reading finds the case through the caller's scope, so a right that ends ends
/// the stream.
pub async fn case(
    store: Store,
    ctx: Ctx,
    id: CaseId,
    resume: &str,
    stopping: CancellationToken,
) -> Result<impl Stream<Item = Result<pb::TimelineEntry, Status>> + Send + use<>> {
    let scope = store.read(&ctx);
    let row = case::get(&scope, id).await?;
    let mut last = match resume {
        "" => timeline::last(&scope, &row).await?,
        token => timeline::place(id, token)
            .ok_or_else(|| Error::invalid("resume_token", "is not of this case"))?,
    };
    let (send, stream) = mpsc::channel(BATCH as usize);
    tokio::spawn(async move {
        loop {
            let read = async {
                let entries = timeline::after(&scope, &row, last, BATCH).await?;
                let read = entries.last().map_or(last, |entry| entry.sequence);
                let full = entries.len() as u64 == BATCH;
                // Asked last: an entry of the change that ended the right is not told any more.
                case::get(&scope, id).await?;
                Ok((timeline::shown(&scope, &row, entries).await?, read, full))
            };
            let read: Result<_> = read.await;
            let (entries, read, full) = match read {
                Ok(read) => read,
                Err(error) if error.code() == Code::Unavailable => (vec![], last, false),
                Err(error) => {
                    send.send(Err(error.into())).await.ok();
                    return;
                }
            };
            last = read;
            for entry in entries {
                if send.send(Ok(entry.into())).await.is_err() {
                    return;
                }
            }
            if full {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = send.closed() => return,
                () = stopping.cancelled() => {
                    let stop = Error::Unavailable("the service is stopping; resume from your last token");
                    send.send(Err(stop.into())).await.ok();
                    return;
                }
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}
