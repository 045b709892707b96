//! What a service does when another service speaks.
use std::{fmt, future::Future, pin::Pin, sync::Arc};

use caseward_core::{Ctx, Result};
use caseward_store::Tx;

use crate::Event;

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work for a transaction, ready to run; more than once if need be.
pub(crate) type Work = Arc<dyn Fn(Tx) -> Boxed<Result<()>> + Send + Sync>;

type Prepare = Arc<dyn Fn(Ctx, Event) -> Boxed<Result<Work>> + Send + Sync>;

/// A reader of events. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    /// Names it in its inbox, among the parked events and on the bus. It must never change: under another
    /// name every event is new.
    pub name: &'static str,
    /// The service it belongs to, in whose name it acts.
    pub service: &'static str,
    /// The full names of the messages it wants.
    pub subjects: Arc<[String]>,
    prepare: Prepare,
}

impl Consumer {
    /// A consumer that runs `work` for each event, in one transaction that commits once per event.
    ///
    /// The work may be run more than once before one run commits, so it must have no effect but through its `Tx`.
    pub fn new<F, Fut>(
        name: &'static str,
        service: &'static str,
        subjects: impl IntoIterator<Item = String>,
        work: F,
    ) -> Self
    where
        F: Fn(Event, Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let work = Arc::new(work);
        let prepare = move |_: Ctx, event: Event| {
            let work = work.clone();
            let work: Work = Arc::new(move |tx| Box::pin(work(event.clone(), tx)));
            Box::pin(async { Ok(work) }) as Boxed<_>
        };
        Consumer {
            name,
            service,
            subjects: subjects.into_iter().collect(),
            prepare: Arc::new(prepare),
        }
    }

    /// A consumer that first asks for what it needs, such as a peer, while no transaction waits for the answer.
    ///
    /// `ask` must change nothing: it runs again on every try, and for an event that was handled before.
    pub fn asking<A, AFut, T, F, Fut>(
        name: &'static str,
        service: &'static str,
        subjects: impl IntoIterator<Item = String>,
        ask: A,
        work: F,
    ) -> Self
    where
        A: Fn(Ctx, Event) -> AFut + Send + Sync + 'static,
        AFut: Future<Output = Result<T>> + Send + 'static,
        T: Clone + Send + Sync + 'static,
        F: Fn(Event, T, Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (ask, work) = (Arc::new(ask), Arc::new(work));
        let prepare = move |ctx: Ctx, event: Event| {
            let (ask, work) = (ask.clone(), work.clone());
            Box::pin(async move {
                let answer = ask(ctx, event.clone()).await?;
                let work: Work =
                    Arc::new(move |tx| Box::pin(work(event.clone(), answer.clone(), tx)));
                Ok(work)
            }) as Boxed<_>
        };
        Consumer {
            name,
            service,
            subjects: subjects.into_iter().collect(),
            prepare: Arc::new(prepare),
        }
    }

    pub(crate) fn wants(&self, subject: &str) -> bool {
        self.subjects.iter().any(|wanted| wanted == subject)
    }

    pub(crate) async fn prepare(&self, ctx: Ctx, event: Event) -> Result<Work> {
        (self.prepare)(ctx, event).await
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .field("service", &self.service)
            .field("subjects", &self.subjects)
            .finish_non_exhaustive()
    }
}
