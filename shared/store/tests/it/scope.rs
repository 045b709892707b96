//! What a caller may see, page by page, and that reading is only reading.
use caseward_core::{Clock, Ctx, Page, Reach, Time};
use caseward_store::{Basis, Resource, Store, Tx, relation};
use sea_orm::ConnectionTrait;
use tonic::Code;
use uuid::Uuid;

use crate::{
    ORGANIZATION, aside, call, call_in, each,
    note::{self, Entity, once, write, write_about},
};

/// Shows some notes as large ones, and fails where the one called `unread` is read.
const LARGE_ON_SQLITE: &str = "
    CREATE INDEX in_order ON note (organization, id);
    ALTER TABLE note RENAME TO kept;
    CREATE VIEW note AS SELECT id, organization, patient, created_at, updated_at, revision,
        CASE WHEN title = 'unread' THEN json('')
            WHEN title LIKE 'large%' THEN hex(zeroblob(524288))
            ELSE title END AS title
        FROM kept;";
const LARGE_ON_POSTGRES: &str = "
    CREATE INDEX in_order ON note (organization, id);
    ALTER TABLE note RENAME TO kept;
    CREATE FUNCTION shown(title text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN
        IF title = 'unread' THEN RAISE 'it is read'; END IF;
        IF title LIKE 'large%' THEN RETURN repeat('x', 1048576); END IF;
        RETURN title;
    END $$;
    CREATE VIEW note AS SELECT id, organization, patient, created_at, updated_at, revision,
        shown(title) AS title
        FROM kept;";

/// Has a source say at `at` that ana is on the team of `patient` from when until when.
pub(crate) async fn relate_ana(
    store: &Store,
    ctx: &Ctx,
    (source, revision): (Uuid, i64),
    patient: Uuid,
    (starts_at, ends_at): (Time, Option<Time>),
    at: Time,
) {
    let row = relation::Model {
        source,
        organization: ORGANIZATION,
        subject: "ana".to_owned(),
        patient,
        basis: Basis::Team,
        starts_at,
        ends_at,
        revision,
        topics: 0,
        narrowed_at: None,
    };
    relate(store, ctx, row, at).await;
}

/// Has the source of `row` say at `at` what it says.
pub(crate) async fn relate(store: &Store, ctx: &Ctx, row: relation::Model, at: Time) {
    let work = move |tx: Tx| {
        let row = row.clone();
        async move { relation::put(&tx, row, at).await }
    };
    store.task(ctx, work).await.unwrap();
}

#[tokio::test]
async fn a_caller_sees_the_patients_they_are_related_to_while_they_are() {
    each(async |_, store| {
        let (mine, other, source) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let ana = call_in(ORGANIZATION, "ana", Reach::Related);
        let ctx = Ctx { clock: ana.clock.clone(), ..call("boss") };
        write_about(&store, &ctx, mine, &once("mine")).await.unwrap();
        write_about(&store, &ctx, other, &once("other")).await.unwrap();
        let relate = async |revision: i64, ends_in: Option<i64>| {
            let now = ctx.now();
            let ends_at = ends_in.map(|days| now + time::Duration::days(days));
            relate_ana(&store, &ctx, (source, revision), mine, (now, ends_at), now).await;
        };
        assert!(note::titles(&store, &ana).await.is_empty());
        relate(2, Some(30)).await;
        assert_eq!(note::titles(&store, &ana).await, ["mine"]);
        let held = relation::between(&store.read(&ana), "ana", mine).await.unwrap();
        assert_eq!(held[0].basis, Basis::Team);
        // An older word of the same source changes nothing, a later one does.
        relate(1, Some(-1)).await;
        assert_eq!(note::titles(&store, &ana).await, ["mine"]);
        ana.clock.advance(time::Duration::days(30));
        assert!(note::titles(&store, &ana).await.is_empty());
        relate(3, None).await;
        assert_eq!(note::titles(&store, &ana).await, ["mine"]);
        relate(4, Some(0)).await;
        assert!(note::titles(&store, &ana).await.is_empty());
        assert_eq!(note::titles(&store, &ctx).await, ["mine", "other"]);
    })
    .await;
}

#[tokio::test]
async fn what_began_or_ended_has_done_so_for_a_process_whose_clock_is_behind() {
    each(async |_, store| {
        let (patient, source) = (Uuid::now_v7(), Uuid::now_v7());
        let ana = call_in(ORGANIZATION, "ana", Reach::Related);
        let ctx = Ctx { clock: ana.clock.clone(), ..call("boss") };
        write_about(&store, &ctx, patient, &once("mine")).await.unwrap();
        let ahead = ana.now() + Clock::SKEW;
        let relate = async |revision: i64, starts_at: Time, ends_at: Option<Time>| {
            let period = (starts_at, ends_at);
            relate_ana(&store, &ctx, (source, revision), patient, period, ahead).await;
        };
        relate(1, ahead, None).await;
        assert_eq!(note::titles(&store, &ana).await, ["mine"]);
        relate(2, ahead, Some(ahead)).await;
        assert!(note::titles(&store, &ana).await.is_empty());
        // What is to come is not here yet.
        let later = ahead + time::Duration::seconds(1);
        relate(3, later, None).await;
        assert!(note::titles(&store, &ana).await.is_empty());
        relate(4, ahead, Some(later)).await;
        assert_eq!(note::titles(&store, &ana).await, ["mine"]);
    })
    .await;
}

#[tokio::test]
async fn absent_and_not_for_you_are_the_same_answer() {
    each(async |_, store| {
        let row = write(&store, &call("ana"), &once("one")).await.unwrap();
        let stranger = call_in(Uuid::from_u128(2), "ana", Reach::Organization);
        let unrelated = call_in(ORGANIZATION, "ben", Reach::Related);
        for ctx in [stranger, unrelated] {
            let select = Entity::of(&ctx);
            let hidden = sea_orm::QueryFilter::filter(
                select,
                sea_orm::ColumnTrait::eq(&note::Column::Id, row.id()),
            );
            let error = caseward_store::get(&store.read(&ctx), hidden, row.id()).await.unwrap_err();
            assert_eq!(error.to_string(), format!("{} not found", row.name));
            assert_eq!(error.code(), Code::NotFound);
            assert_eq!(ctx.record.rows(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn pages_hold_every_row_once_in_the_order_of_creation() {
    each(async |_, store| {
        let titles: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        for title in &titles {
            write(&store, &call("ana"), &once(title)).await.unwrap();
        }
        let (mut seen, mut token) = (vec![], String::new());
        loop {
            let ctx = Ctx { clock: Clock::System, ..call("ana") };
            let request = caseward_api::patient::v1::ListPatientsRequest {
                page_size: 10,
                page_token: token,
                ..Default::default()
            };
            let page = Page::open(&ctx, &request).unwrap();
            let rows;
            (rows, token) =
                caseward_store::page(&store.read(&ctx), Entity::of(&ctx), &page).await.unwrap();
            assert!(rows.len() <= 10);
            assert_eq!(ctx.record.rows() as usize, rows.len());
            seen.extend(rows.into_iter().map(|row| row.title));
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, titles);
    })
    .await;
}

#[tokio::test]
async fn a_long_page_of_large_rows_reads_no_more_than_it_takes_and_a_step() {
    each(async |database, store| {
        let ctx = call("ana");
        let create = |tx: Tx| async move {
            for n in 0..250 {
                let title = match n {
                    ..5 => format!("large {n}"),
                    150 => "unread".to_owned(),
                    _ => n.to_string(),
                };
                note::create(tx.clone(), Uuid::nil(), title).await?;
            }
            Ok(())
        };
        store.task(&ctx, create).await.unwrap();
        let db = aside(&database).await;
        let large = if database.is_sqlite() { LARGE_ON_SQLITE } else { LARGE_ON_POSTGRES };
        db.execute_unprepared(large).await.unwrap();
        let page = Page::first(1000);
        let read = caseward_store::page(&store.read(&ctx), Entity::of(&ctx), &page).await;
        let (rows, token) = read.unwrap();
        assert_eq!((rows.len(), token.is_empty()), (2, false));
        let shrink = "UPDATE kept SET title = 'no ' || title WHERE title LIKE '%r%'";
        db.execute_unprepared(shrink).await.unwrap();
        let read = caseward_store::page(&store.read(&ctx), Entity::of(&ctx), &page).await;
        let (rows, token) = read.unwrap();
        assert_eq!((rows.len(), token.as_str()), (250, ""));
        assert!(rows.is_sorted_by_key(|row| row.id.uuid()));
    })
    .await;
}

#[tokio::test]
async fn a_scope_that_reads_cannot_write() {
    each(async |_, store| {
        let scope = store.read(&call("ana"));
        assert!(scope.db.execute_unprepared("DELETE FROM note").await.is_err());
        store.ping().await.unwrap();
    })
    .await;
}
