//! The only clock: the real one, or one that is moved by hand.
use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use crate::Time;

/// What time it is for every rule and deadline of a deployment.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that only `advance` moves.
    Simulated(Arc<watch::Sender<Time>>),
}

impl Clock {
    /// By how much the machines of one deployment may tell another time.
    pub const SKEW: Duration = Duration::seconds(30);

    /// A clock that stands still at `start`.
    pub fn simulated(start: Time) -> Self {
        Clock::Simulated(Arc::new(watch::Sender::new(start)))
    }

    /// The present.
    pub fn now(&self) -> Time {
        match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the machine's clock"
            )]
            Clock::System => OffsetDateTime::now_utc().into(),
            Clock::Simulated(now) => *now.borrow(),
        }
    }

    /// Whether the clock is moved by hand.
    pub fn is_simulated(&self) -> bool {
        matches!(self, Clock::Simulated(_))
    }

    /// Moves a simulated clock; the machine's clock is left alone. Answers the present.
    pub fn advance(&self, by: Duration) -> Time {
        if let Clock::Simulated(now) = self {
            now.send_modify(|at| *at = *at + by);
        }
        self.now()
    }

    /// Sets a simulated clock to `at`, unless that is in its past: a follower never goes back.
    pub fn follow(&self, at: Time) {
        if let Clock::Simulated(now) = self {
            now.send_if_modified(|present| {
                let later = at > *present;
                if later {
                    *present = at;
                }
                later
            });
        }
    }

    /// Waits until the clock may have reached `at`, or `at_most` of real time has gone by.
    pub async fn until(&self, at: Option<Time>, at_most: std::time::Duration) {
        let wait = match (self, at) {
            (Clock::System, Some(at)) => {
                let left = (at - self.now()).max(Duration::ZERO);
                at_most.min(left.try_into().unwrap_or(at_most))
            }
            _ => at_most,
        };
        match self {
            Clock::System => tokio::time::sleep(wait).await,
            Clock::Simulated(now) => {
                let mut moved = now.subscribe();
                if at.is_some_and(|at| at <= *moved.borrow_and_update()) {
                    return;
                }
                tokio::time::timeout(wait, moved.changed()).await.ok();
            }
        }
    }
}
