//! The store of one service: two pools, a queue of writers, one way in for each kind of work.
use std::{fmt, future::Future, sync::Arc};

use anyhow::Context;
use caseward_api::Mutation;
use caseward_core::{Clock, Ctx, Error, Result, Time, check};
use prost::Message;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use sea_orm_migration::MigratorTrait;
use time::Duration;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use uuid::Uuid;

use crate::{
    Db, Scope, Settings, Tx, Vitals, audit,
    connect::{self, Pools},
    file::File,
    inbox, outbox,
    present::Present,
    replay, vitals,
    writer::{self, Job, Once, Unit},
};

/// How many units of work may wait before callers are turned away.
const QUEUE: usize = 1024;

/// For how long a request id is remembered, at least.
const REPLAY: Duration = Duration::hours(25);

/// For how long events are kept after the bus took them, and consumers remember them.
const RETENTION: Duration = Duration::days(14);

/// The data of one service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    read: DatabaseConnection,
    write: DatabaseConnection,
    file: File,
    queue: mpsc::Sender<Box<dyn Job>>,
    committed: Arc<Notify>,
    ends: Arc<audit::Ends>,
    present: Present,
}

impl Store {
    /// Opens the database and brings its schema up to date, or refuses to start where it is not.
    pub async fn open<M: MigratorTrait>(settings: &Settings) -> anyhow::Result<Store> {
        let pools = connect::open(settings).await?;
        if settings.migrate {
            connect::bring_up::<M>(&pools.write).await.context("migrating the database")?;
        } else {
            let pending = M::get_pending_migrations_read_only(&pools.write).await?;
            anyhow::ensure!(
                pending.is_empty(),
                "{} migrations are pending; run `caseward migrate` first",
                pending.len()
            );
        }
        let present = Present::open(&pools.read).await?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (jobs, committed) = (Arc::new(Mutex::new(jobs)), Arc::new(Notify::new()));
        let ends = Arc::new(audit::Ends::default());
        for _ in 0..pools.writers {
            let (db, jobs, committed) = (pools.write.clone(), jobs.clone(), committed.clone());
            let chain = audit::Chain::new();
            ends.moved(&chain);
            let group = settings.group.max(1);
            let file = pools.file.clone();
            tokio::spawn(writer::run(db, file, jobs, group, committed, chain, ends.clone()));
        }
        let Pools { read, write, writers: _, file } = pools;
        Ok(Store { inner: Arc::new(Inner { read, write, file, queue, committed, ends, present }) })
    }

    /// The data `ctx` may see.
    pub fn read(&self, ctx: &Ctx) -> Scope {
        Scope { ctx: ctx.clone(), db: Db::Pool(self.inner.read.clone()) }
    }

    /// Runs `work` in one transaction. A request that was sent before gets its first answer.
    ///
    /// The work may be run more than once before one run commits, so it must have no effect but through its `Tx`.
    /// It goes on when the caller leaves.
    pub async fn write<Q, F, Fut, M, R>(&self, ctx: &Ctx, request: &Q, work: F) -> Result<R>
    where
        Q: Mutation,
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M>> + Send + 'static,
        M: Into<R> + Send + 'static,
        R: Message + Default + 'static,
    {
        let once = match check::request_id(request.request_id())? {
            None => Once::Always,
            Some(id) => {
                let key = replay::Key::new(id, ctx.record.method(), &request.encode_to_vec());
                // Here, where callers look beside each other, and not in the writer, where they wait for each other.
                if let Some(earlier) = key.earlier(&self.read(ctx)).await? {
                    if ctx.record.rows() > 0 {
                        self.audit(ctx, audit::Entry::whole(ctx, "OK")).await?;
                    }
                    return R::decode(&*earlier).map_err(Error::internal);
                }
                Once::Request(key)
            }
        };
        self.enqueue(ctx, once, work).await
    }

    /// Runs the effect of an event, once per consumer however often the event comes.
    pub async fn handle<F, Fut>(
        &self,
        ctx: &Ctx,
        consumer: &'static str,
        event: Uuid,
        work: F,
    ) -> Result<()>
    where
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if inbox::is_handled(&self.inner.read, consumer, event).await? {
            return Ok(());
        }
        self.enqueue(ctx, Once::Event { consumer, event }, work).await
    }

    /// Runs `work` of a task of ours in one transaction.
    pub async fn task<F, Fut>(&self, ctx: &Ctx, work: F) -> Result<()>
    where
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.enqueue(ctx, Once::Always, work).await
    }

    /// Puts `entry` on the audit log and answers when it is on disk.
    pub async fn audit(&self, ctx: &Ctx, entry: audit::Entry) -> Result<()> {
        let last = entry.is_last();
        let () = self.enqueue(ctx, Once::Entry(entry), |_| async { Ok(()) }).await?;
        if last {
            ctx.record.settle();
        }
        Ok(())
    }

    /// Lets PostgreSQL count its rows anew, as its autovacuum would within a minute of a large load.
    pub async fn analyze(&self) -> Result<()> {
        if self.inner.write.get_database_backend() == DbBackend::Postgres {
            self.inner.write.execute_unprepared("ANALYZE").await?;
        }
        Ok(())
    }

    /// Whether the database answers, and is where it was.
    pub async fn ping(&self) -> Result<()> {
        self.inner.file.is_there()?;
        self.inner.read.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// How much waits here.
    pub async fn vitals(&self) -> Result<Vitals> {
        let queue = &self.inner.queue;
        vitals::take(self, queue.max_capacity() - queue.capacity()).await
    }

    /// Wakes when events may wait in the outbox.
    pub async fn committed(&self) {
        self.inner.committed.notified().await;
    }

    /// Forgets what is past its time: replies, handled and published events. A clock that is moved by hand is moved for
    /// every replica; the machine's is believed as far as it can be.
    pub async fn sweep(&self, clock: &Clock) -> Result<()> {
        let now = if clock.is_simulated() { clock.now() } else { self.present() };
        let db = Db::Pool(self.inner.write.clone());
        replay::purge(&db, now - REPLAY).await?;
        outbox::purge(&db, now - RETENTION).await?;
        inbox::purge(&db, now - RETENTION - Duration::days(7)).await?;
        Ok(())
    }

    /// The machine's time, as far as it is believed.
    pub(crate) fn present(&self) -> Time {
        self.inner.present.now()
    }

    /// Where the audit chains of this store's writers end.
    pub(crate) fn ends(&self) -> &audit::Ends {
        &self.inner.ends
    }

    /// The reading pool, for rows of this crate's own tables.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.inner.read
    }

    /// The writing pool outside any transaction, for single statements on this crate's own tables.
    pub(crate) fn writer(&self) -> Db {
        Db::Pool(self.inner.write.clone())
    }

    async fn enqueue<F, Fut, M, R>(&self, ctx: &Ctx, once: Once, work: F) -> Result<R>
    where
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M>> + Send + 'static,
        M: Into<R> + Send + 'static,
        R: Message + Default + 'static,
    {
        let (waiting, answer) = oneshot::channel();
        let rows = ctx.record.rows();
        let unit = Unit {
            ctx: ctx.clone(),
            once,
            work,
            answer: None,
            rows,
            audited: false,
            looks: false,
            waiting,
        };
        let Ok(sent) =
            tokio::time::timeout(ctx.left(), self.inner.queue.send(Box::new(unit))).await
        else {
            return Err(Error::Unavailable("too many changes are waiting; try again"));
        };
        sent.map_err(|_| Error::Unavailable("the service is stopping; try again"))?;
        answer.await.map_err(|_| Error::Unavailable("the service is stopping; try again"))?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}
