//! Group commit: what waits is run in one transaction and paid for with one flush to disk.
use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Instant};

use caseward_core::{Ctx, Error, Result};
use futures_util::FutureExt;
use prost::Message;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, IntoActiveModel,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::warn;
use uuid::Uuid;

use crate::{
    audit,
    batch::{Batch, Txn},
    file::File,
    inbox, outbox, replay,
    scope::{Side, Tx},
    transition,
};

/// How often work that gave way to another's is run again.
const AGAIN: u32 = 3;

/// How many milliseconds a group waits for a lock. Groups lock what their members change in whatever order these come, so
/// two can wait for each other, and PostgreSQL looks for that after a second only, in which nothing behind them is written.
/// They give up sooner, and not both at once.
const LOCKED: std::ops::Range<u32> = 40..120;

/// A unit of work that waits for its transaction. It may be run again, so it owns what it needs.
pub(crate) trait Job: Send {
    /// Runs the work, keeps the answer, gives the rows that commit beside it.
    fn run(&mut self, txn: Arc<Txn>) -> Pin<Box<dyn Future<Output = Result<Side>> + Send + '_>>;
    /// From now on it looks first whether what it is to do once was done. Whoever made it has looked, so that the
    /// writer need not; what was done since fails by the key of the reply or of the inbox row.
    fn look(&mut self);
    /// Whether what it is to do once was done by another meanwhile.
    fn is_done(
        &self,
        db: DatabaseConnection,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + '_>>;
    /// Whether nobody waits any more.
    fn is_late(&self) -> bool;
    /// Hands the kept answer, or the error, to whoever waits.
    fn finish(self: Box<Self>, outcome: Result<()>);
}

/// Takes jobs from `queue` until it closes. Each writer has its own audit chain.
pub(crate) async fn run(
    db: DatabaseConnection,
    file: File,
    queue: Arc<Mutex<mpsc::Receiver<Box<dyn Job>>>>,
    group: usize,
    committed: Arc<tokio::sync::Notify>,
    chain: audit::Chain,
    ends: Arc<audit::Ends>,
) {
    let mut writer = Writer { db, file, chain, ends, committed };
    loop {
        let mut jobs = Vec::new();
        if queue.lock().await.recv_many(&mut jobs, group).await == 0 {
            return;
        }
        writer.group(jobs).await;
    }
}

struct Writer {
    db: DatabaseConnection,
    file: File,
    chain: audit::Chain,
    ends: Arc<audit::Ends>,
    committed: Arc<tokio::sync::Notify>,
}

impl Writer {
    /// Tries the whole group without savepoints, which cost two hops each. If one member fails, the group is undone and
    /// every member runs in a transaction of its own: those that have to wait for a lock after the others.
    async fn group(&mut self, jobs: Vec<Box<dyn Job>>) {
        let (late, mut jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_late());
        for job in late {
            job.finish(Err(Error::Deadline));
        }
        if jobs.len() > 1 {
            match self.attempt(&mut jobs, true).await {
                Ok(()) => return jobs.into_iter().for_each(|job| job.finish(Ok(()))),
                // Whether it was done is not known, so none may be done again.
                Err(Failure::Unknown) => {
                    return jobs.into_iter().for_each(|job| job.finish(Err(Error::Unsure)));
                }
                Err(Failure::Undone(_)) => jobs = self.apart(jobs).await,
            }
        }
        for mut job in jobs {
            let outcome = self.alone(&mut job).await;
            job.finish(outcome);
        }
    }

    /// Runs each in a transaction of its own that waits for no lock for long; what has to wait is left.
    async fn apart(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let mut wait = vec![];
        for mut job in jobs {
            match self.once(&mut job, true).await {
                Err(Error::Crossed) => wait.push(job),
                outcome => job.finish(outcome),
            }
        }
        wait
    }

    /// Runs it in a transaction of its own, and again where that gave way to another's: two that wait for each other
    /// are not told so before one is undone.
    async fn alone(&mut self, job: &mut Box<dyn Job>) -> Result<()> {
        for _ in 0..AGAIN {
            match self.once(job, false).await {
                Err(Error::Crossed) if !job.is_late() => {}
                outcome => return outcome,
            }
        }
        self.once(job, false).await
    }

    async fn once(&mut self, job: &mut Box<dyn Job>, brief: bool) -> Result<()> {
        // Those before it may have waited for locks, each in turn.
        if job.is_late() {
            return Err(Error::Deadline);
        }
        let refused = match self.attempt(std::slice::from_mut(job), brief).await {
            Ok(()) => return Ok(()),
            Err(Failure::Unknown) => return Err(Error::Unsure),
            Err(Failure::Undone(refused)) => refused,
        };
        // The same request, sent to two replicas, trips over its own effect: a name that is taken, a revision
        // that is gone. Where the reply is there by now, that reply is the answer.
        if !job.is_done(self.db.clone()).await.unwrap_or(false) {
            return Err(refused);
        }
        job.look();
        match self.attempt(std::slice::from_mut(job), brief).await {
            Ok(()) => Ok(()),
            Err(Failure::Unknown) => Err(Error::Unsure),
            Err(Failure::Undone(refused)) => Err(refused),
        }
    }

    /// One transaction; a `brief` one gives up where it would wait for a lock.
    async fn attempt(&mut self, jobs: &mut [Box<dyn Job>], brief: bool) -> Result<(), Failure> {
        self.file.is_there()?;
        let txn = self.db.begin_with_options(immediate()).await.map_err(Error::from)?;
        if brief && txn.get_database_backend() == DbBackend::Postgres {
            let limit = format!("SET LOCAL lock_timeout = {}", fastrand::u32(LOCKED));
            txn.execute_unprepared(&limit).await.map_err(Error::from)?;
        }
        let txn = if jobs.len() > 1 { Txn::of_many(txn) } else { Txn::of_one(txn) };
        let txn = Arc::new(txn);
        let mut side = Side::default();
        for job in jobs {
            match job.run(txn.clone()).await {
                Ok(rows) => side.absorb(rows),
                Err(error) => {
                    undo(txn).await;
                    return Err(error.into());
                }
            }
        }
        let published = !side.outbox.is_empty();
        let mut chain = self.chain.clone();
        if let Err(error) = side.insert(&txn, &mut chain).await {
            undo(txn).await;
            return Err(error.into());
        }
        // A piece of work that kept its `Tx` would write after the commit.
        let txn =
            Arc::try_unwrap(txn).map_err(|_| Error::internal("a transaction outlived its work"))?;
        if let Err(error) = txn.into_inner().commit().await {
            // A constraint that speaks at the commit has undone it.
            if error.sql_err().is_some() {
                return Err(Error::from(error).into());
            }
            warn!(error = %Error::from(error), "the outcome of a commit is not known");
            return Err(self.unsure());
        }
        // Where it went meanwhile, so did what was committed, unless it comes back.
        if self.file.is_there().is_err() {
            return Err(self.unsure());
        }
        self.chain = chain;
        self.ends.moved(&self.chain);
        if published {
            self.committed.notify_one();
        }
        Ok(())
    }

    /// The next place in the chain may be taken or not, so this chain ends here.
    fn unsure(&mut self) -> Failure {
        let before = std::mem::replace(&mut self.chain, audit::Chain::new());
        self.ends.began(&self.chain, &before);
        Failure::Unknown
    }
}

/// Why a transaction did not commit for sure.
enum Failure {
    /// Nothing was done.
    Undone(Error),
    /// The answer to `COMMIT` was not `OK`, or did not come.
    Unknown,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Undone(error)
    }
}

/// Ends a transaction by its own word; a dropped one would be ended by the next owner of its connection.
async fn undo(txn: Arc<Txn>) {
    if let Some(txn) = Arc::into_inner(txn)
        && let Err(error) = txn.into_inner().rollback().await
    {
        warn!(error = %Error::from(error), "rollback failed; the connection is discarded");
    }
}

/// SQLite takes its write lock at once, so that a transaction never fails half way.
fn immediate() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    }
}

impl Side {
    fn absorb(&mut self, other: Side) {
        self.outbox.extend(other.outbox);
        self.transitions.extend(other.transitions);
        self.inbox.extend(other.inbox);
        self.replay.extend(other.replay);
        self.audit.extend(other.audit);
    }

    async fn insert(self, txn: &Txn, chain: &mut audit::Chain) -> Result<()> {
        let txn = txn.settled().await?;
        Batch::of::<replay::Entity>(self.replay)?.insert(txn).await?;
        Batch::of::<inbox::Entity>(self.inbox)?.insert(txn).await?;
        Batch::of::<outbox::Entity>(self.outbox)?.insert(txn).await?;
        Batch::of::<transition::Entity>(self.transitions)?.insert(txn).await?;
        let entries: Vec<_> = self.audit.into_iter().map(|entry| chain.link(entry)).collect();
        let accesses = entries.iter().flat_map(audit::access_rows).map(whole);
        let accesses = Batch::of::<audit::AccessEntity>(accesses)?;
        Batch::of::<audit::Entity>(entries.into_iter().map(whole))?.insert(txn).await?;
        Ok(accesses.insert(txn).await?)
    }
}

/// A row with every column set.
fn whole<M: IntoActiveModel<A>, A: ActiveModelTrait>(row: M) -> A {
    row.into_active_model().reset_all()
}

/// What commits once under its name.
pub(crate) enum Once {
    /// Nothing to remember.
    Always,
    /// A request: the reply is kept and given again.
    Request(replay::Key),
    /// An event handled by a consumer.
    Event { consumer: &'static str, event: Uuid },
    /// An entry of the audit log, which needs none about itself.
    Entry(audit::Entry),
}

/// Work of the form that `Store::write` takes.
pub(crate) struct Unit<F, R> {
    pub(crate) ctx: Ctx,
    pub(crate) once: Once,
    pub(crate) work: F,
    pub(crate) answer: Option<R>,
    /// How many rows its call had seen before it ran.
    pub(crate) rows: u32,
    /// Whether the audit log tells of it when it commits.
    pub(crate) audited: bool,
    /// Whether it looks first whether it was done.
    pub(crate) looks: bool,
    pub(crate) waiting: oneshot::Sender<Result<R>>,
}

impl<F, Fut, M, R> Job for Unit<F, R>
where
    F: Fn(Tx) -> Fut + Send + Sync,
    Fut: Future<Output = Result<M>> + Send,
    M: Into<R> + Send,
    R: Message + Default,
{
    fn run(&mut self, txn: Arc<Txn>) -> Pin<Box<dyn Future<Output = Result<Side>> + Send + '_>> {
        Box::pin(async move {
            self.ctx.record.recount(self.rows);
            let tx = Tx::new(self.ctx.clone(), txn);
            let (once, looks, work) = (&self.once, self.looks, &self.work);
            let answer = &mut self.answer;
            let inner = tx.clone();
            let left = self.ctx.left();
            let whole = async move {
                *answer = Some(perform(inner, once, looks, work).await?);
                Ok(())
            };
            match tokio::time::timeout(left, AssertUnwindSafe(whole).catch_unwind()).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => return Err(error),
                Ok(Err(_panic)) => return Err(Error::internal("a unit of work panicked")),
                Err(_late) => return Err(Error::Deadline),
            }
            let record = &self.ctx.record;
            self.audited = match &self.once {
                Once::Entry(_) => false,
                _ => record.rows() > 0 && !record.is_settled(),
            };
            if self.audited {
                tx.side(|side| side.audit.push(audit::Entry::whole(&self.ctx, "OK")));
            }
            Ok(tx.side(std::mem::take))
        })
    }

    fn look(&mut self) {
        self.looks = true;
    }

    fn is_done(
        &self,
        db: DatabaseConnection,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + '_>> {
        Box::pin(async move {
            match &self.once {
                Once::Always | Once::Entry(_) => Ok(false),
                Once::Request(key) => key.is_kept(&self.ctx, &db).await,
                Once::Event { consumer, event } => inbox::is_handled(&db, consumer, *event).await,
            }
        })
    }

    fn is_late(&self) -> bool {
        self.waiting.is_closed() || self.ctx.deadline <= Instant::now()
    }

    fn finish(self: Box<Self>, outcome: Result<()>) {
        let answer = match (outcome, self.answer) {
            (Ok(()), Some(answer)) => {
                if self.audited {
                    self.ctx.record.settle();
                }
                Ok(answer)
            }
            (Ok(()), None) => Err(Error::internal("a unit of work gave no answer")),
            (Err(error), _) => Err(error),
        };
        // Nobody may be waiting; what was committed stands all the same.
        let _ = self.waiting.send(answer);
    }
}

async fn perform<F, Fut, M, R>(tx: Tx, once: &Once, looks: bool, work: &F) -> Result<R>
where
    F: Fn(Tx) -> Fut + Sync,
    Fut: Future<Output = Result<M>>,
    M: Into<R>,
    R: Message + Default,
{
    match once {
        Once::Always => Ok(work(tx).await?.into()),
        Once::Entry(entry) => {
            tx.side(|side| side.audit.push(entry.clone()));
            Ok(work(tx).await?.into())
        }
        Once::Request(key) => {
            if looks && let Some(earlier) = key.earlier(&tx).await? {
                return R::decode(&*earlier).map_err(Error::internal);
            }
            let answer: R = work(tx.clone()).await?.into();
            key.keep(&tx, answer.encode_to_vec());
            Ok(answer)
        }
        Once::Event { consumer, event } => {
            if looks && inbox::is_handled(&tx.db, consumer, *event).await? {
                return Ok(R::default());
            }
            let answer = work(tx.clone()).await?.into();
            let row = inbox::row(consumer, *event, tx.ctx.now());
            tx.side(|side| side.inbox.push(row));
            Ok(answer)
        }
    }
}
