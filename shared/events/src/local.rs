//! The bus within one process: a publish is the delivery itself.
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::{
    Event,
    subscription::{Inner as Consuming, Progress},
};

/// Hands each event to every consumer of the process and waits until all of them are done with it, so that
/// the outbox is the only memory. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    consumers: RwLock<Vec<Arc<Consuming>>>,
    open: watch::Sender<bool>,
}

impl Bus {
    pub(crate) fn new() -> Self {
        let inner = Inner { consumers: RwLock::default(), open: watch::Sender::new(false) };
        Bus { inner: Arc::new(inner) }
    }

    pub(crate) fn open(&self) {
        self.inner.open.send_replace(true);
    }

    pub(crate) fn subscribe(&self, consumer: Arc<Consuming>) {
        let mut all = self.inner.consumers.write().unwrap_or_else(PoisonError::into_inner);
        all.push(consumer);
    }

    pub(crate) async fn publish(&self, event: &Event) -> Progress {
        // The sender lives as long as this bus.
        let _ = self.inner.open.subscribe().wait_for(|open| *open).await;
        let consumers: Vec<_> = {
            let all = self.inner.consumers.read().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter(|one| one.consumer.wants(&event.subject)).cloned().collect()
        };
        let wait = join_all(consumers.iter().map(|one| one.attempt(event)))
            .await
            .into_iter()
            .filter_map(|progress| match progress {
                Progress::Done => None,
                Progress::Again(wait) => Some(wait),
            })
            .max();
        wait.map_or(Progress::Done, |wait: Duration| Progress::Again(wait))
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("local::Bus")
    }
}
