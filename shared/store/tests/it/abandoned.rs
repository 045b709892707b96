//! Calls that began and never ended because their process was killed are closed, and no others.
#![expect(clippy::disallowed_methods, reason = "the log is read, and harmed, past the store")]
use caseward_core::{Clock, Time};
use caseward_store::{
    Store,
    audit::{self, Abandoned, Column, Entry},
};
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, sea_query::Expr};
use time::Duration;
use uuid::Uuid;

use crate::{aside, call, each, open};

/// The id of a call that began so long `ago`.
pub(crate) fn record_of(ago: Duration) -> Uuid {
    let at: Time = Clock::System.now() - ago;
    let tail = Uuid::now_v7().as_bytes()[6..].try_into().unwrap();
    let millis = (at.micros() / 1000) as u64;
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// Begins a call, and ends it where `ends`; as if `ago`.
async fn begin(store: &Store, db: &DatabaseConnection, ago: Duration, ends: bool) -> Uuid {
    let ctx = call("ana");
    store.audit(&ctx, Entry::begin(&ctx)).await.unwrap();
    if ends {
        store.audit(&ctx, Entry::end(&ctx, "OK")).await.unwrap();
    }
    let record = record_of(ago);
    audit::Entity::update_many()
        .col_expr(Column::Record, Expr::value(record))
        .filter(Column::Record.eq(ctx.record.id()))
        .exec(db)
        .await
        .unwrap();
    record
}

#[tokio::test]
async fn a_call_whose_process_was_killed_is_closed_once() {
    each(async |database, store| {
        let db = aside(&database).await;
        let killed = begin(&store, &db, Duration::hours(3), false).await;
        begin(&store, &db, Duration::hours(3), true).await;
        let running = begin(&store, &db, Duration::minutes(20), false).await;
        let mut abandoned = Abandoned::default();
        assert_eq!(abandoned.close(&store, &Clock::System).await.unwrap(), 1);
        assert_eq!(abandoned.close(&store, &Clock::System).await.unwrap(), 0);
        assert_eq!(Abandoned::default().close(&store, &Clock::System).await.unwrap(), 0);
        let ends = audit::Entity::find()
            .filter(Column::Record.is_in([killed, running]))
            .filter(Column::Phase.eq("END"))
            .all(&db)
            .await
            .unwrap();
        let [end] = &ends[..] else { panic!("{ends:?}") };
        assert_eq!(
            (end.record, end.outcome.as_str(), end.subject.as_str()),
            (killed, "ABANDONED", "ana")
        );
    })
    .await;
}

#[tokio::test]
async fn a_process_whose_clock_is_ahead_closes_no_call_that_is_under_way() {
    each(async |database, store| {
        // To a clock that is three hours ahead what began just now, the last on record, began so long ago.
        begin(&store, &aside(&database).await, Duration::hours(3), false).await;
        let ahead = open(&database).await;
        assert_eq!(Abandoned::default().close(&ahead, &Clock::System).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_call_on_record_by_a_clock_that_was_ahead_hides_none_whose_process_was_killed() {
    each(async |database, store| {
        let db = aside(&database).await;
        begin(&store, &db, -Duration::days(365), true).await;
        begin(&store, &db, Duration::hours(3), false).await;
        assert_eq!(Abandoned::default().close(&store, &Clock::System).await.unwrap(), 1);
    })
    .await;
}
