//! Who holds the slots of a listener, and who gives one up when they run short.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// Nobody is sent away sooner: the first bytes of whoever just came may still be on their way.
const WELCOME: Duration = Duration::from_millis(500);

/// The longest that a unary call takes. A connection whose calls are all older has streams, whose readers resume.
const CALL: Duration = Duration::from_secs(30);

/// How often it is looked again for somebody to send away while somebody waits.
const LOOK: Duration = Duration::from_millis(100);

/// One of so many slots is kept free by sending the idle away, so that who comes need not wait for that.
const SPARE: usize = 8;

/// The slots of one listener. Connections cost a peer nothing, so those who do nothing must not keep out others.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    free: Arc<Semaphore>,
    holders: Mutex<HashMap<u64, Holder>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Holder {
    activity: Activity,
    leave: CancellationToken,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// What the connection does.
    pub(super) activity: Activity,
    /// Told when another needs the place more.
    pub(super) leave: CancellationToken,
    id: u64,
    slots: Arc<Slots>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(most));
        Arc::new(Slots { most, free, holders: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// A slot, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Slot {
        let permit = loop {
            match timeout(LOOK, self.free.clone().acquire_owned()).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => unreachable!("the semaphore is never closed"),
                Err(_) => self.make_room(1),
            }
        };
        self.make_room(0);
        let (activity, leave) = (Activity::new(), CancellationToken::new());
        let holder = Holder { activity: activity.clone(), leave: leave.clone() };
        let id = self.next.fetch_add(1, Relaxed);
        self.holders().insert(id, holder);
        Slot { activity, leave, id, slots: self.clone(), _permit: permit }
    }

    /// Sends away as many as must go for the spare slots, or for `least`, to be free: first who never called, then who
    /// has no call open, then who has only streams; of these who was quiet longest.
    fn make_room(&self, least: usize) {
        let wanted = (self.most / SPARE).max(least);
        let free = self.free.available_permits();
        if free >= wanted {
            return;
        }
        let now = Instant::now();
        let holders = self.holders();
        let (leaving, staying): (Vec<_>, Vec<_>) =
            holders.values().partition(|holder| holder.leave.is_cancelled());
        let mut may_go: Vec<_> = staying
            .into_iter()
            .filter_map(|holder| {
                let seen = holder.activity.seen();
                let rank = match (seen.ever, seen.calls) {
                    (false, _) => 0,
                    (true, 0) => 1,
                    (true, _) => 2,
                };
                let limit = if rank == 2 { CALL } else { WELCOME };
                let quiet = now.duration_since(seen.last);
                (quiet >= limit).then_some(((rank, seen.last), holder))
            })
            .collect();
        may_go.sort_by_key(|(order, _)| *order);
        let more = wanted.saturating_sub(free + leaving.len());
        may_go.iter().take(more).for_each(|(_, holder)| holder.leave.cancel());
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<u64, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.holders().remove(&self.id);
    }
}
