//! Closes what began and never ended because its process did.
use caseward_core::{Clock, Ctx, Result, Time};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*, sea_query::Query};
use time::Duration;

use super::{Column, Entity, Entry};
use crate::{Store, moment};

/// After this long no call is under way any more: twice what a stream may take.
const LONGEST: Duration = Duration::hours(1);

/// How far a first sweep looks back, from the last call on record or from now, whichever is earlier.
const LOOK_BACK: Duration = Duration::hours(24);

/// How much is looked at in one step.
const STEP: Duration = Duration::minutes(10);

/// Looks for calls that began and never ended, each stretch of time once.
///
/// A process ends the calls that it began, whatever becomes of them; only one that was killed leaves some open.
#[derive(Debug, Default)]
pub struct Abandoned {
    looked_until: Option<Time>,
}

impl Abandoned {
    /// Closes every call that began before an hour ago and has no end. Answers how many there were.
    ///
    /// A call is named by an id that holds when it began by the machine's clock, so that clock is what counts here;
    /// `clock` says when the closing entry was made.
    pub async fn close(&mut self, store: &Store, clock: &Clock) -> Result<u64> {
        let until = store.present() - LONGEST;
        let mut from = match self.looked_until {
            Some(looked) => looked,
            None => last(store.reader()).await?.unwrap_or(until).min(until) - LOOK_BACK,
        };
        let mut closed = 0;
        while from < until {
            let to = (from + STEP).min(until);
            closed += close_between(store, clock, from, to).await?;
            (from, self.looked_until) = (to, Some(to));
        }
        Ok(closed)
    }
}

/// When the last call on record began.
pub(crate) async fn last(db: &DatabaseConnection) -> Result<Option<Time>> {
    let row = Entity::find().order_by_desc(Column::Record).one(db).await?;
    Ok(row.and_then(|row| moment::of(row.record)))
}

async fn close_between(store: &Store, clock: &Clock, from: Time, to: Time) -> Result<u64> {
    const BATCH: u64 = 500;
    let mut closed = 0;
    loop {
        let (first, end) = (moment::first_id(from), moment::first_id(to));
        let ended = Query::select()
            .column(Column::Record)
            .from(Entity)
            .and_where(Column::Record.gte(first))
            .and_where(Column::Record.lt(end))
            .and_where(Column::Phase.ne("BEGIN"))
            .to_owned();
        let open = Entity::find()
            .filter(Column::Record.gte(first))
            .filter(Column::Record.lt(end))
            .filter(Column::Phase.eq("BEGIN"))
            .filter(Column::Record.not_in_subquery(ended))
            .limit(BATCH)
            .all(store.reader())
            .await?;
        let all = (open.len() as u64) < BATCH;
        for begin in open {
            let ctx = Ctx::task("audit", "audit.abandoned", begin.organization, clock.clone());
            store.audit(&ctx, Entry::abandoned(begin, clock.now())).await?;
            closed += 1;
        }
        if all {
            return Ok(closed);
        }
    }
}
