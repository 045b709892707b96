//! Lets a deployment come to rest, and plays time forward from one timer to the next.
use std::time::Duration;

use caseward_core::{Clock, Error, Result, Time};

use crate::{Bus, Relay, Timers};

/// How long a timer rests that stays due.
const AGAIN: Duration = Duration::from_millis(50);

/// How many rounds in a row must see nothing move.
const QUIET: u32 = 2;

/// All that moves by itself in one process.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The clock that `advance` moves.
    pub clock: Clock,
    /// The bus between the services.
    pub bus: Bus,
    /// The relay of each service.
    pub relays: Vec<Relay>,
    /// The timers of each service.
    pub timers: Vec<Timers>,
}

impl Settle {
    /// Returns when no timer is due and every event has had its effect, with what these brought about too;
    /// UNAVAILABLE if that takes longer than `at_most`.
    pub async fn settle(&self, at_most: Duration) -> Result<()> {
        tokio::time::timeout(at_most, self.rest()).await.unwrap_or(Err(LATE))
    }

    /// Moves a simulated clock to `to`, stopping at every timer on the way, so that each fires at its time
    /// and what it sets in motion fires at its own. Answers the present.
    pub async fn advance(&self, to: Time, at_most: Duration) -> Result<Time> {
        let whole = async {
            self.rest().await?;
            while let Some(next) = self.next().await?.filter(|next| *next <= to) {
                self.clock.follow(next);
                self.rest().await?;
            }
            self.clock.follow(to);
            self.rest().await
        };
        tokio::time::timeout(at_most, whole).await.unwrap_or(Err(LATE))?;
        Ok(self.clock.now())
    }

    async fn rest(&self) -> Result<()> {
        // What the process's own relays and timers finish between two looks of one round, so that neither saw it,
        // shows in the next.
        let mut quiet = 0;
        while quiet < QUIET {
            let mut moved = false;
            for timers in &self.timers {
                moved |= timers.fire().await? > 0;
                // One whose handler needs a part that is down stays due.
                if timers.next().await?.is_some_and(|next| next <= self.clock.now()) {
                    moved = true;
                    tokio::time::sleep(AGAIN).await;
                }
            }
            for relay in &self.relays {
                moved |= relay.drained().await?;
            }
            moved |= self.bus.idle().await?;
            quiet = if moved { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    /// When the next timer of any service comes due.
    async fn next(&self) -> Result<Option<Time>> {
        let mut next = None;
        for timers in &self.timers {
            if let Some(at) = timers.next().await? {
                next = Some(next.map_or(at, |earlier: Time| earlier.min(at)));
            }
        }
        Ok(next)
    }
}

const LATE: Error = Error::Unavailable("timers or events are still under way; try again");
