//! Whether a connection serves a call, and since when it does not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

/// The calls of one connection.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    calls: usize,
    last: Instant,
}

/// One call; the connection is busy until it is dropped.
#[derive(Debug)]
pub(super) struct Call(Activity);

pin_project! {
    /// A response body that is part of its call, so that a long stream is not silence.
    pub(super) struct Busy<B> {
        #[pin]
        body: B,
        call: Call,
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { calls: 0, last: Instant::now() })))
    }

    pub(super) fn begin(&self) -> Call {
        self.state(|state| state.calls += 1);
        Call(self.clone())
    }

    /// Returns once no call was open for `limit`. Wakes once per `limit`, not per call.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let (calls, last) = self.state(|state| (state.calls, state.last));
            let now = Instant::now();
            let since = if calls > 0 { now } else { last };
            if now.duration_since(since) >= limit {
                return;
            }
            sleep_until(since + limit).await;
        }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.state(|state| {
            state.calls -= 1;
            state.last = Instant::now();
        });
    }
}

impl<B> Busy<B> {
    pub(super) fn new(body: B, call: Call) -> Self {
        Self { body, call }
    }
}

impl<B: Body> Body for Busy<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
