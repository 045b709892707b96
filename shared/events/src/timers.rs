//! Fires timers that come due, once in effect, whichever replica does it.
use std::{
    collections::HashMap, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use caseward_core::{Clock, Ctx, Error, Result, Time};
use caseward_store::{Store, Tx, timer};
use futures_util::{FutureExt, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field::Empty, info_span, warn};
use uuid::Uuid;

use crate::{
    consumer::{Boxed, Work},
    lease,
};

pub use caseward_store::timer::Model as Timer;

/// How many subjects' timers are fired at once.
const IN_FLIGHT: usize = 64;

/// How many due timers are read at once.
const BATCH: u64 = 256;

/// How often to look for timers that another replica set.
const POLL: Duration = Duration::from_secs(1);

type Prepare = Arc<dyn Fn(Ctx, Timer) -> Boxed<Result<Work>> + Send + Sync>;

/// What to do when a timer of one kind comes due.
#[derive(Clone)]
pub struct Handler {
    kind: &'static str,
    prepare: Prepare,
}

/// The timers of one service's database. Cheap to clone.
#[derive(Clone)]
pub struct Timers {
    inner: Arc<Inner>,
}

struct Inner {
    service: &'static str,
    store: Store,
    clock: Clock,
    handlers: HashMap<&'static str, Handler>,
}

/// What became of the timers that were due.
#[derive(Default)]
struct Round {
    fired: usize,
    /// Still due: a part that was needed is down.
    left: usize,
}

impl Handler {
    /// Runs `work` when a timer of `kind` comes due, in the transaction that takes the timer away.
    ///
    /// The work may be run more than once before one run commits, so it must have no effect but through its `Tx`.
    pub fn new<F, Fut>(kind: &'static str, work: F) -> Self
    where
        F: Fn(Timer, Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let work = Arc::new(work);
        let prepare = move |_: Ctx, timer: Timer| {
            let work = work.clone();
            let work: Work = Arc::new(move |tx| Box::pin(work(timer.clone(), tx)));
            Box::pin(async { Ok(work) }) as Boxed<_>
        };
        Handler { kind, prepare: Arc::new(prepare) }
    }

    /// The same for work that first asks for what it needs, while no transaction waits for the answer.
    pub fn asking<A, AFut, T, F, Fut>(kind: &'static str, ask: A, work: F) -> Self
    where
        A: Fn(Ctx, Timer) -> AFut + Send + Sync + 'static,
        AFut: Future<Output = Result<T>> + Send + 'static,
        T: Clone + Send + Sync + 'static,
        F: Fn(Timer, T, Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (ask, work) = (Arc::new(ask), Arc::new(work));
        let prepare = move |ctx: Ctx, timer: Timer| {
            let (ask, work) = (ask.clone(), work.clone());
            Box::pin(async move {
                let answer = ask(ctx, timer.clone()).await?;
                let work: Work =
                    Arc::new(move |tx| Box::pin(work(timer.clone(), answer.clone(), tx)));
                Ok(work)
            }) as Boxed<_>
        };
        Handler { kind, prepare: Arc::new(prepare) }
    }
}

impl Timers {
    /// The timers of `service`'s `store`.
    pub fn new(
        service: &'static str,
        store: Store,
        clock: Clock,
        handlers: impl IntoIterator<Item = Handler>,
    ) -> Self {
        let handlers = handlers.into_iter().map(|handler| (handler.kind, handler)).collect();
        Timers { inner: Arc::new(Inner { service, store, clock, handlers }) }
    }

    /// Fires timers as they come due until `stop`, while this replica holds the lease.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        lease::hold(&self.inner.store, "timers", &stop, || self.inner.work()).await;
        Ok(())
    }

    /// Fires all that is due now, what comes due by it included; answers how many were fired. Safe beside
    /// `run` and other replicas: who takes the timer away fires it.
    pub async fn fire(&self) -> Result<usize> {
        Ok(self.inner.fire().await?.fired)
    }

    /// When the next timer comes due.
    pub async fn next(&self) -> Result<Option<Time>> {
        timer::next(&self.inner.store).await
    }
}

impl Inner {
    async fn work(&self) -> anyhow::Result<()> {
        loop {
            let round = self.fire().await?;
            let next = timer::next(&self.store).await?;
            if round.left > 0 {
                tokio::time::sleep(POLL).await;
            } else {
                self.clock.until(next, POLL).await;
            }
        }
    }

    async fn fire(&self) -> Result<Round> {
        let mut total = Round::default();
        loop {
            let due = timer::due(&self.store, self.clock.now(), BATCH).await?;
            let round = self.round(due).await?;
            total.fired += round.fired;
            total.left = round.left;
            if round.fired == 0 {
                return Ok(total);
            }
        }
    }

    /// Fires `due`: each subject's in order, subjects beside each other.
    async fn round(&self, due: Vec<Timer>) -> Result<Round> {
        let mut subjects: Vec<(Uuid, Vec<Timer>)> = Vec::new();
        let mut places = HashMap::new();
        for timer in due {
            let place = *places.entry(timer.subject).or_insert_with(|| {
                subjects.push((timer.subject, vec![]));
                subjects.len() - 1
            });
            subjects[place].1.push(timer);
        }
        let mut rounds = stream::iter(subjects)
            .map(|(_, timers)| async move {
                let mut round = Round::default();
                for timer in timers {
                    if self.settle(&timer).await? {
                        round.fired += 1;
                    } else {
                        round.left += 1;
                    }
                }
                Ok::<_, Error>(round)
            })
            .buffer_unordered(IN_FLIGHT);
        let mut total = Round::default();
        while let Some(round) = rounds.next().await {
            let round = round?;
            total.fired += round.fired;
            total.left += round.left;
        }
        Ok(total)
    }

    /// Fires `timer` or puts it off; false where it stays due.
    async fn settle(&self, timer: &Timer) -> Result<bool> {
        let ctx = Ctx::task(self.service, "timer", timer.organization, self.clock.clone());
        let Err(error) = self.fire_one(&ctx, timer).await else { return Ok(true) };
        warn!(kind = %timer.kind, subject = %timer.subject, attempts = timer.attempts, %error, "a timer failed");
        if error.is_transient() {
            return Ok(false);
        }
        timer::put_off(&self.store, &ctx, timer).await?;
        Ok(true)
    }

    async fn fire_one(&self, ctx: &Ctx, timer: &Timer) -> Result<()> {
        let Some(handler) = self.handlers.get(timer.kind.as_str()) else {
            return Err(Error::internal(format!("no handler for timers of {}", timer.kind)));
        };
        let span = info_span!("timer", otel.name = Empty, subject = %timer.subject);
        span.record("otel.name", format!("timer {}", timer.kind));
        let whole = async {
            let asked = AssertUnwindSafe((handler.prepare)(ctx.clone(), timer.clone()));
            let work = match tokio::time::timeout(ctx.left(), asked.catch_unwind()).await {
                Ok(Ok(work)) => work?,
                Ok(Err(_panic)) => return Err(Error::internal("a timer's handler panicked")),
                Err(_late) => return Err(Error::Deadline),
            };
            let timer = timer.clone();
            self.store
                .task(ctx, move |tx| {
                    let (work, timer) = (work.clone(), timer.clone());
                    async move {
                        if timer::take(&tx, &timer).await? {
                            work(tx).await?;
                        }
                        Ok(())
                    }
                })
                .await
        };
        whole.instrument(span).await
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("service", &self.inner.service).finish_non_exhaustive()
    }
}
