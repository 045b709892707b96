//! The guard's audit: a right entry for each end that a call can come to, and no access where there can be none.
#![expect(
    clippy::disallowed_methods,
    reason = "the log is read, and its table harmed, past the store"
)]
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_api::{
    notification::v1::{
        self as pb,
        inbox_service_client::InboxServiceClient,
        inbox_service_server::{InboxService, InboxServiceServer},
    },
    patient::v1::{self as patient_pb, ListAccessesRequest},
};
use caseward_core::{Ctx, Error};
use caseward_server::{Service, Transport, settings::Layers};
use caseward_store::{
    Settings, Store,
    audit::{self, Column},
};
use caseward_testkit::{Database, fuzz};
use futures_util::{Stream, StreamExt, stream};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
    TransactionTrait,
};
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status, service::interceptor::InterceptedService};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::world::{Tables, Token, World, code, patient, sign_in, worlds};

type Inbox = InboxServiceClient<InterceptedService<Transport, Token>>;

/// An inbox that does as its name says.
#[derive(Clone, Default)]
struct Double {
    /// How many handlers began.
    begun: Arc<AtomicUsize>,
    /// Lets go whoever waits.
    gate: Arc<Notify>,
}

impl Double {
    async fn act(&self, ctx: &Ctx, name: &str) -> Result<(), Status> {
        self.begun.fetch_add(1, SeqCst);
        match name.rsplit('/').next().unwrap() {
            "empty" => {}
            "wrong" => return Err(Error::invalid("name", "is wrong").into()),
            "absent" => return Err(Error::NotFound("it".to_owned()).into()),
            "panic" => panic!("as the test wants"),
            "wait" => self.gate.notified().await,
            patient => match Uuid::try_parse(patient) {
                Ok(patient) => ctx.record.saw(patient),
                Err(_) => [1, 2].map(Uuid::from_u128).into_iter().for_each(|id| ctx.record.saw(id)),
            },
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl InboxService for Double {
    async fn list_inbox_items(
        &self,
        req: Request<pb::ListInboxItemsRequest>,
    ) -> Result<Response<pb::ListInboxItemsResponse>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        self.act(&ctx, &req.parent).await?;
        Ok(Response::new(pb::ListInboxItemsResponse::default()))
    }

    async fn mark_read(
        &self,
        req: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::InboxItem>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        self.act(&ctx, &req.name).await?;
        Ok(Response::new(pb::InboxItem::default()))
    }

    type WatchInboxStream = Pin<Box<dyn Stream<Item = Result<pb::InboxItem, Status>> + Send>>;

    async fn watch_inbox(
        &self,
        req: Request<pb::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        let item = stream::iter([Ok(pb::InboxItem::default())]);
        let rest: Self::WatchInboxStream = match req.name.rsplit('/').next().unwrap() {
            "endless" => Box::pin(item.chain(stream::pending())),
            "broken" => Box::pin(item.chain(stream::iter([Err(Status::data_loss("gone"))]))),
            "panics" => Box::pin(item.chain(stream::once(async {
                tokio::task::yield_now().await;
                panic!("as the test wants")
            }))),
            _ => {
                self.act(&ctx, &req.name).await?;
                Box::pin(item)
            }
        };
        Ok(Response::new(rest))
    }
}

/// A world with a service of the test's own, on a database of the same kind.
struct Bench {
    world: World,
    double: Double,
    db: DatabaseConnection,
    _database: Database,
}

async fn benches() -> Vec<Bench> {
    let mut all = vec![];
    for mut world in worlds().await {
        let database = match world.database.is_sqlite() {
            true => Database::sqlite(),
            false => Database::postgres().await.unwrap(),
        };
        let store = Store::open::<Tables>(&Settings::new(&database.url)).await.unwrap();
        let double = Double::default();
        let service = Service::new("notification", Some(store));
        world.process.serve(service.with(InboxServiceServer::new(double.clone()))).unwrap();
        let db = sea_orm::Database::connect(&database.url).await.unwrap();
        all.push(Bench { world, double, db, _database: database });
    }
    all
}

impl Bench {
    fn inbox(&self, subject: &str, role: &str) -> Inbox {
        let peer = self.world.process.peer("notification");
        InboxServiceClient::with_interceptor(peer, self.world.token(subject, &[role]))
    }

    /// So many changes at once that do not end, by `subjects` in turn, who all leave after 10 ms; what those were told whom
    /// nobody took.
    async fn leave(&self, calls: usize, subjects: &[&str]) -> Vec<Status> {
        let calls = (0..calls).map(|n| async move {
            let mut inbox = self.inbox(subjects[n % subjects.len()], "case_manager");
            tokio::time::timeout(Duration::from_millis(10), inbox.mark_read(mark("wait"))).await
        });
        let answers = futures_util::future::join_all(calls).await;
        answers.into_iter().flatten().map(|answer| answer.unwrap_err()).collect()
    }

    /// Everything on record about `subject`, once there are `most` entries: phase, outcome, patients.
    async fn record(&self, subject: &str, most: usize) -> Vec<(String, String, usize)> {
        let entries = self.world.until(async || {
            let entries = audit::Entity::find()
                .filter(Column::Subject.eq(subject))
                .order_by_asc(Column::Record)
                .order_by_asc(Column::Phase)
                .all(&self.db)
                .await
                .unwrap();
            (entries.len() >= most).then_some(entries)
        });
        let told = entries.await.into_iter().map(|entry| {
            assert!(entry.method.starts_with("/caseward.notification.v1.InboxService/"));
            assert_eq!((entry.purpose.as_str(), entry.roles.is_empty()), ("TREAT", false));
            (entry.phase, entry.outcome, entry.patients.split_whitespace().count())
        });
        told.collect()
    }

    /// What a read of `subject` came to, and of how many patients: in one entry or, where it took its time, in the second.
    async fn ended(&self, subject: &str) -> (String, usize) {
        let mut entries = self.record(subject, 1).await;
        if entries[0].0 == "BEGIN" {
            entries = self.record(subject, 2).await;
            assert_eq!(entries.remove(0), ("BEGIN".to_owned(), String::new(), 0));
        }
        let [(phase, outcome, patients)] = &entries[..] else { panic!("{entries:?}") };
        assert_ne!(phase, "BEGIN");
        (outcome.clone(), *patients)
    }
}

fn list(to: &str) -> pb::ListInboxItemsRequest {
    pb::ListInboxItemsRequest { parent: format!("inboxes/{to}"), ..Default::default() }
}

fn mark(to: &str) -> pb::MarkReadRequest {
    pb::MarkReadRequest { name: format!("inboxes/x/items/{to}"), ..Default::default() }
}

fn watch(to: &str) -> pb::WatchInboxRequest {
    pb::WatchInboxRequest { name: format!("inboxes/{to}"), ..Default::default() }
}

fn of(entries: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
    entries
        .iter()
        .map(|(phase, outcome, n)| ((*phase).to_owned(), (*outcome).to_owned(), *n))
        .collect()
}

#[tokio::test]
async fn a_read_is_on_record_with_what_it_came_to_and_with_its_beginning_where_it_takes_long() {
    for bench in benches().await {
        for (name, outcome, patients) in [
            ("full", "OK", 2),
            ("empty", "OK", 0),
            ("wrong", "INVALID_ARGUMENT", 0),
            ("absent", "NOT_FOUND", 0),
            ("panic", "INTERNAL", 0),
        ] {
            let reply = bench.inbox(name, "case_manager").list_inbox_items(list(name)).await;
            assert_eq!(reply.is_ok(), outcome == "OK", "{name}");
            assert_eq!(bench.ended(name).await, (outcome.to_owned(), patients), "{name}");
        }

        let mut late = Request::new(list("wait"));
        late.set_timeout(Duration::from_millis(200));
        let reply = bench.inbox("late", "case_manager").list_inbox_items(late).await;
        assert_eq!(code(reply), Code::DeadlineExceeded);
        let expected = of(&[("BEGIN", "", 0), ("END", "DEADLINE_EXCEEDED", 0)]);
        assert_eq!(bench.record("late", 2).await, expected);

        let begun = bench.double.begun.load(SeqCst);
        let mut gone = bench.inbox("gone", "case_manager");
        let call = tokio::spawn(async move { gone.list_inbox_items(list("wait")).await });
        bench.world.until(async || (bench.double.begun.load(SeqCst) > begun).then_some(())).await;
        assert_eq!(bench.record("gone", 1).await, of(&[("BEGIN", "", 0)]));
        call.abort();
        let expected = of(&[("BEGIN", "", 0), ("END", "CANCELLED", 0)]);
        assert_eq!(bench.record("gone", 2).await, expected);

        let refused = bench.inbox("eve", "directory_editor").list_inbox_items(list("full")).await;
        assert_eq!(code(refused), Code::PermissionDenied);
        let entries = audit::Entity::find().filter(Column::Subject.eq("eve")).all(&bench.db).await;
        let [entry] = &entries.unwrap()[..] else { panic!("one entry") };
        assert_eq!((&entry.phase[..], &entry.outcome[..]), ("WHOLE", "PERMISSION_DENIED"));
    }
}

#[tokio::test]
async fn a_change_has_one_entry_whatever_it_came_to_and_whoever_left() {
    for bench in benches().await {
        for (name, outcome, patients) in
            [("full", "OK", 2), ("wrong", "INVALID_ARGUMENT", 0), ("panic", "INTERNAL", 0)]
        {
            let reply = bench.inbox(name, "case_manager").mark_read(mark(name)).await;
            assert_eq!(reply.is_ok(), outcome == "OK", "{name}");
            assert_eq!(bench.record(name, 1).await, of(&[("WHOLE", outcome, patients)]), "{name}");
        }
        let begun = bench.double.begun.load(SeqCst);
        let mut gone = bench.inbox("gone", "case_manager");
        let call = tokio::spawn(async move { gone.mark_read(mark("wait")).await });
        bench.world.until(async || (bench.double.begun.load(SeqCst) > begun).then_some(())).await;
        call.abort();
        bench.double.gate.notify_one();
        assert_eq!(bench.record("gone", 1).await, of(&[("WHOLE", "OK", 0)]));
    }
}

#[tokio::test]
async fn a_stream_has_a_beginning_and_an_end_whoever_ends_it() {
    for bench in benches().await {
        for (name, outcome, patients) in [
            ("full", "OK", 2),
            ("broken", "DATA_LOSS", 0),
            ("wrong", "INVALID_ARGUMENT", 0),
            ("endless", "CANCELLED", 0),
        ] {
            let reply = bench.inbox(name, "case_manager").watch_inbox(watch(name)).await;
            assert_eq!(reply.is_err(), name == "wrong", "{name}");
            if let Ok(reply) = reply {
                let mut items = reply.into_inner();
                assert!(items.message().await.unwrap().is_some());
                if name != "endless" {
                    assert_eq!(items.message().await.is_err(), name == "broken");
                }
            }
            let expected = of(&[("BEGIN", "", 0), ("END", outcome, patients)]);
            assert_eq!(bench.record(name, 2).await, expected, "{name}");
        }
    }
}

/// P23.g; `CASEWARD_TEST_INPUTS=10000` is its figure of a night.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_tells_nothing_and_harms_no_other_call_on_its_connection() {
    for bench in benches().await {
        let process = &bench.world.process;
        let any = ([127, 0, 0, 1], 0).into();
        let address = process.listen(any, process.routes().prepare()).await.unwrap();
        let line = Transport::remote(format!("http://{address}").parse().unwrap());
        let inbox = |subject: &str| {
            let token = bench.world.token(subject, &["case_manager"]);
            InboxServiceClient::with_interceptor(line.clone(), token)
        };
        let count = fuzz::inputs(100);
        for round in 0..count.div_ceil(100) {
            // Who waits on the same connection all the while.
            let mut patient = inbox("patient");
            let begun = bench.double.begun.load(SeqCst);
            let waiting = tokio::spawn(async move { patient.mark_read(mark("wait")).await });
            let waits = async || (bench.double.begun.load(SeqCst) > begun).then_some(());
            bench.world.until(waits).await;
            let endless = inbox("endless").watch_inbox(watch("endless")).await;
            let mut endless = endless.unwrap().into_inner();
            assert!(endless.message().await.unwrap().is_some());
            for n in (round * 100)..count.min(round * 100 + 100) {
                let status = match n % 3 {
                    0 => inbox("panic").list_inbox_items(list("panic")).await.unwrap_err(),
                    1 => inbox("panic").mark_read(mark("panic")).await.unwrap_err(),
                    _ => {
                        let items = inbox("panic").watch_inbox(watch("panics")).await;
                        let mut items = items.unwrap().into_inner();
                        assert!(items.message().await.unwrap().is_some());
                        items.message().await.unwrap_err()
                    }
                };
                assert!(!status.message().contains("as the test wants"), "{status}");
                assert_eq!(status.code(), Code::Internal, "{status}");
                inbox("other").list_inbox_items(list("empty")).await.unwrap();
            }
            bench.double.gate.notify_one();
            waiting.await.unwrap().unwrap();
        }
        // One that took its time has a beginning besides, and the end of a stream may follow.
        let ended = bench.world.until(async || {
            let mut ended = bench.record("panic", count).await;
            ended.retain(|(phase, ..)| phase != "BEGIN");
            (ended.len() >= count).then_some(ended)
        });
        let ended = ended.await;
        assert!(ended.iter().all(|(_, outcome, _)| outcome == "INTERNAL"), "{ended:?}");
        assert_eq!(ended.len(), count);
    }
}

/// P20.f: who leaves and calls again makes no process do more at a time than it takes.
#[tokio::test]
async fn work_whose_caller_has_left_counts_until_it_ends() {
    for bench in benches().await {
        let most = Layers::load(None, &[]).unwrap().common().unwrap().limits.in_flight;
        // No one caller takes all there is.
        let names: Vec<_> = (0..most).map(|n| format!("caller-{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let turned_away = bench.leave(2 * most, &names).await;
        assert_eq!(turned_away.len(), most);
        for status in turned_away {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert!(status.get_details_retry_info().is_some(), "{status}");
        }
        let begun = async || (bench.double.begun.load(SeqCst) == most).then_some(());
        bench.world.until(begun).await;
        let mut other = bench.inbox("other", "case_manager");
        let status = other.list_inbox_items(list("empty")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let again = async || {
            bench.double.gate.notify_waiters();
            bench.inbox("other", "case_manager").list_inbox_items(list("empty")).await.ok()
        };
        bench.world.until(again).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_takes_a_quarter_of_what_a_process_takes_at_once() {
    for bench in benches().await {
        let share = Layers::load(None, &[]).unwrap().common().unwrap().limits.in_flight / 4;
        let turned_away = bench.leave(share + 10, &["ana"]).await;
        assert_eq!(turned_away.len(), 10);
        for status in turned_away {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert!(status.get_details_retry_info().is_some(), "{status}");
        }
        bench.inbox("other", "case_manager").list_inbox_items(list("empty")).await.unwrap();
        let again = async || {
            bench.double.gate.notify_waiters();
            bench.inbox("ana", "case_manager").list_inbox_items(list("empty")).await.ok()
        };
        bench.world.until(again).await;
    }
}

/// What can befall the audit log, and how it is undone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Renamed,
    Locked,
    Full,
    Slow,
}

impl Fault {
    /// Runs `meanwhile` while the fault lasts.
    async fn strike(self, bench: &Bench, meanwhile: impl Future<Output = ()>) {
        let (db, sqlite) = (&bench.db, bench.world.database.is_sqlite());
        let run = async |sql: &str| {
            db.execute_unprepared(sql).await.unwrap();
        };
        let on_insert = |body: &str| {
            format!(
                "CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {body} RETURN NEW; END $$; CREATE TRIGGER strike BEFORE INSERT ON audit \
                 FOR EACH ROW EXECUTE FUNCTION strike()"
            )
        };
        match (self, sqlite) {
            (Fault::Renamed, _) => {
                run("ALTER TABLE audit RENAME TO audit_away").await;
                meanwhile.await;
                run("ALTER TABLE audit_away RENAME TO audit").await;
            }
            (Fault::Locked, _) | (Fault::Slow, true) => {
                let lock = db.begin().await.unwrap();
                let hold = match sqlite {
                    true => "UPDATE audit SET rows = rows",
                    false => "LOCK TABLE audit IN ACCESS EXCLUSIVE MODE",
                };
                lock.execute_unprepared(hold).await.unwrap();
                meanwhile.await;
                lock.rollback().await.unwrap();
            }
            (Fault::Full, true) => {
                run("CREATE TRIGGER strike BEFORE INSERT ON audit \
                     BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
                .await;
                meanwhile.await;
                run("DROP TRIGGER strike").await;
            }
            (Fault::Full, false) | (Fault::Slow, false) => {
                let body = match self {
                    Fault::Full => "RAISE 'No space left on device' USING ERRCODE = '53100';",
                    _ => "PERFORM pg_sleep(3);",
                };
                run(&on_insert(body)).await;
                meanwhile.await;
                run("DROP TRIGGER strike ON audit; DROP FUNCTION strike").await;
            }
        }
    }
}

#[tokio::test]
async fn where_the_log_takes_no_entry_nothing_of_a_patient_is_served_and_all_else_is() {
    for bench in benches().await {
        let mut inbox = bench.inbox("ana", "case_manager");
        inbox.list_inbox_items(list("full")).await.unwrap();
        for fault in [Fault::Renamed, Fault::Locked, Fault::Full, Fault::Slow] {
            let begun = bench.double.begun.load(SeqCst);
            let meanwhile = async {
                let reads = (0..5).map(|_| {
                    let mut inbox = inbox.clone();
                    async move { inbox.list_inbox_items(list("full")).await.map(|_| ()) }
                });
                let mut watcher = inbox.clone();
                let watched = watcher.watch_inbox(watch("full")).await;
                assert_eq!(bench.double.begun.load(SeqCst), begun, "{fault:?}: a stream began");
                let reads = futures_util::future::join_all(reads).await;
                for refused in reads.into_iter().chain([watched.map(|_| ())]) {
                    let refused = refused.unwrap_err();
                    assert_eq!(refused.code(), Code::Unavailable, "{fault:?}: {refused}");
                }
                // A change is not answered either.
                let changed = inbox.clone().mark_read(mark("full")).await;
                assert_eq!(code(changed), Code::Unavailable, "{fault:?}");
                let peer = bench.world.process.peer("notification");
                let mut health = tonic_health::pb::health_client::HealthClient::new(peer);
                health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
                // The service of another database is not concerned.
                patient(&mut bench.world.caller("sue", "supervisor")).await;
            };
            fault.strike(&bench, meanwhile).await;
            bench
                .world
                .until(async || inbox.clone().list_inbox_items(list("full")).await.ok())
                .await;
        }
    }
}

#[tokio::test]
async fn a_patient_sees_accesses_to_their_data_in_every_service() {
    for bench in benches().await {
        let world = &bench.world;
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        sign_in(&mut sue, &row, "pat").await;
        let id = row.name.strip_prefix("patients/").unwrap();
        bench.inbox("bob", "case_manager").list_inbox_items(list(id)).await.unwrap();
        bench.ended("bob").await;
        sue.get_patient(patient_pb::GetPatientRequest { name: row.name.clone() }).await.unwrap();

        let pat = world.caller("pat", "patient");
        let ask = |page_size, page_token| ListAccessesRequest {
            parent: row.name.clone(),
            page_size,
            page_token,
            until: Some((world.now() + time::Duration::seconds(1)).into()),
            ..Default::default()
        };
        let seen = world.until(async || {
            let listed = pat.clone().list_accesses(ask(0, String::new())).await.unwrap();
            let seen = listed.into_inner().accesses;
            (seen.iter().any(|seen| seen.method.ends_with("/GetPatient"))).then_some(seen)
        });
        let seen: Vec<_> = seen
            .await
            .into_iter()
            .filter(|seen| seen.actor != "pat")
            .map(|seen| (seen.actor, seen.method.rsplit('/').next().unwrap().to_owned()))
            .collect();
        let expected = [
            ("sue", "GetPatient"),
            ("bob", "ListInboxItems"),
            ("sue", "UpdatePatient"),
            ("sue", "CreatePatient"),
        ];
        assert_eq!(seen, expected.map(|(actor, method)| (actor.to_owned(), method.to_owned())));

        let (mut token, mut paged) = (String::new(), vec![]);
        loop {
            let page = pat.clone().list_accesses(ask(1, token)).await.unwrap().into_inner();
            paged.extend(page.accesses.into_iter().filter(|seen| seen.actor != "pat"));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(paged.len(), 4, "{paged:#?}");

        world.process.bind("directory", Transport::remote("http://127.0.0.1:9".parse().unwrap()));
        let silent = pat.clone().list_accesses(ask(0, String::new())).await;
        assert_eq!(code(silent), Code::Unavailable, "a log that does not answer is not left out");
    }
}
