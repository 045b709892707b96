//! What of the machine's clock is believed where something is forgotten for good, or ended, for every replica.
use std::time::Instant;

use caseward_core::{Clock, Result, Time};
use sea_orm::{QueryOrder, entity::prelude::*};
use time::Duration;

use crate::{audit, moment, outbox};

/// Where a process began by what was on record, and how long ago that was by what no change of a clock moves.
///
/// What came on record since says nothing: this process may have written it, by the clock that is in doubt.
#[derive(Debug)]
pub(crate) struct Present {
    newest: Time,
    since: Instant,
}

impl Present {
    /// A database that holds nothing yet has nothing to lose, and goes by the clock of whoever opens it.
    pub(crate) async fn open(db: &DatabaseConnection) -> Result<Self> {
        let call = audit::last(db).await?;
        let event = outbox::Entity::find().order_by_desc(outbox::Column::Id).one(db).await?;
        let newest = call.max(event.and_then(|event| moment::of(event.id)));
        Ok(Present { newest: newest.unwrap_or_else(|| Clock::System.now()), since: Instant::now() })
    }

    /// The machine's time, unless it is further ahead of what was on record than this process is old: then that.
    /// Where nothing happened for a while before the start, this lags behind, and what is past its time stays longer.
    pub(crate) fn now(&self) -> Time {
        let passed = Duration::try_from(self.since.elapsed()).unwrap_or_default();
        Clock::System.now().min(self.newest + passed + Clock::SKEW)
    }
}
