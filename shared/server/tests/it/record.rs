//! The guard's audit: an access is on record once, with whom it was about, whoever leaves and whatever comes too late.
#![expect(
    clippy::disallowed_methods,
    reason = "the log is read, and its table harmed, past the store"
)]

use std::sync::Arc;
use std::time::Duration;

use caseward_api::notification::v1 as pb;
use caseward_api::notification::v1::inbox_service_client::InboxServiceClient;
use caseward_core::Ctx;
use caseward_server::LOCAL_ORGANIZATION;
use caseward_store::audit::{self, Column};
use caseward_store::{Settings, Store, migrations};
use caseward_testkit::wire::PATIENCE;
use caseward_testkit::{Database, databases};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tokio::sync::Notify;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::inbox::Desk;

/// The tables that every service has.
struct Tables;

impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        migrations::all()
    }
}

/// A process with an inbox, whose log has one writer.
struct Bench {
    desk: Desk,
    store: Store,
    db: DatabaseConnection,
    _database: Database,
}

async fn benches() -> Vec<Bench> {
    let mut all = vec![];
    for database in databases().await {
        eprintln!("on {database:?}");
        let settings = Settings { writers: 1, ..Settings::new(&database.url) };
        let store = Store::open::<Tables>(&settings).await.unwrap();
        let desk = Desk::start(&[], Some(store.clone())).await;
        let db = sea_orm::Database::connect(&database.url).await.unwrap();
        all.push(Bench { desk, store, db, _database: database });
    }
    all
}

impl Bench {
    /// A request by `subject` with `message`.
    fn request<M>(&self, subject: &str, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let bearer = self.desk.bearer(subject).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// Reads the inbox called `name`.
    fn list(&self, subject: &str, name: &str) -> impl Future<Output = Result<(), Status>> + use<> {
        let parent = format!("inboxes/{name}");
        let message = pb::ListInboxItemsRequest { parent, ..Default::default() };
        let request = self.request(subject, message);
        let mut inbox = InboxServiceClient::new(self.desk.process.peer("notification"));
        async move { inbox.list_inbox_items(request).await.map(drop) }
    }

    /// Everything on record about `subject`, once there is as much as `most`: phase, outcome, patients.
    async fn record(&self, subject: &str, most: usize) -> Vec<(String, String, usize)> {
        let entries = until(async || {
            let entries = audit::Entity::find()
                .filter(Column::Subject.eq(subject))
                .order_by_asc(Column::Phase)
                .all(&self.db)
                .await
                .unwrap();
            (entries.len() >= most).then_some(entries)
        });
        let told = entries
            .await
            .into_iter()
            .map(|entry| (entry.phase, entry.outcome, entry.patients.split_whitespace().count()));
        told.collect()
    }

    /// Puts into the writer's queue what tells when it begins, and ends when it is told to.
    fn queue(&self) -> [Arc<Notify>; 2] {
        let told: [Arc<Notify>; 2] = Default::default();
        let (store, clock, work) =
            (self.store.clone(), self.desk.process.clock.clone(), told.clone());
        tokio::spawn(async move {
            let ctx = Ctx::task("test", "test", LOCAL_ORGANIZATION, clock);
            let work = move |_| {
                let [begun, end] = work.clone();
                async move {
                    begun.notify_one();
                    end.notified().await;
                    Ok(())
                }
            };
            store.task(&ctx, work).await.unwrap();
        });
        told
    }

    /// Waits until so much waits for the writer.
    async fn queued(&self, wanted: usize) {
        until(async || (self.store.vitals().await.unwrap().queue >= wanted).then_some(())).await;
    }
}

/// Asks until there is an answer.
async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, asked).await.unwrap()
}

fn of(entries: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
    let owned =
        entries.iter().map(|(phase, outcome, n)| ((*phase).to_owned(), (*outcome).to_owned(), *n));
    owned.collect()
}

#[tokio::test]
async fn a_change_that_ends_after_its_deadline_is_on_record() {
    for bench in benches().await {
        let message = pb::MarkReadRequest { name: "x/wait".to_owned(), ..Default::default() };
        let mut late = bench.request("late", message);
        late.set_timeout(Duration::from_millis(200));
        let mut inbox = InboxServiceClient::new(bench.desk.process.peer("notification"));
        let answer = inbox.mark_read(late).await.unwrap_err();
        assert_eq!(answer.code(), Code::DeadlineExceeded);
        bench.desk.inbox.gate.notify_one();
        assert_eq!(bench.record("late", 1).await, of(&[("WHOLE", "OK", 1)]));
    }
}

#[tokio::test]
async fn a_slow_read_tells_of_a_patient_once_the_log_knows_which() {
    for bench in benches().await {
        let slow = tokio::spawn(bench.list("slow", "wait"));
        assert_eq!(bench.record("slow", 1).await, of(&[("BEGIN", "", 0)]));
        bench.desk.inbox.gate.notify_one();
        slow.await.unwrap().unwrap();
        let entries = bench.record("slow", 0).await;
        assert_eq!(entries, of(&[("BEGIN", "", 0), ("END", "OK", 1)]));

        let refused = tokio::spawn(bench.list("refused", "wait"));
        assert_eq!(bench.record("refused", 1).await, of(&[("BEGIN", "", 0)]));
        bench.db.execute_unprepared("ALTER TABLE audit RENAME TO audit_away").await.unwrap();
        bench.desk.inbox.gate.notify_one();
        assert_eq!(refused.await.unwrap().unwrap_err().code(), Code::Unavailable);
        bench.db.execute_unprepared("ALTER TABLE audit_away RENAME TO audit").await.unwrap();
        assert_eq!(bench.record("refused", 1).await, of(&[("BEGIN", "", 0)]));
    }
}

#[tokio::test]
async fn a_read_whose_caller_leaves_while_its_entry_commits_is_on_record_once() {
    for bench in benches().await {
        // The entry is in a group that has begun and cannot commit before it is told to.
        let [busy, free] = bench.queue();
        timeout(PATIENCE, busy.notified()).await.unwrap();
        let [begun, commit] = bench.queue();
        bench.queued(1).await;
        let gone = tokio::spawn(bench.list("gone", "here"));
        bench.queued(2).await;
        free.notify_one();
        timeout(PATIENCE, begun.notified()).await.unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        commit.notify_one();
        assert_eq!(bench.record("gone", 1).await, of(&[("WHOLE", "OK", 1)]));
        bench.list("other", "here").await.unwrap();
        assert_eq!(bench.record("gone", 1).await, of(&[("WHOLE", "OK", 1)]));
    }
}
