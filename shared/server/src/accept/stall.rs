//! Ends a stream whose reader takes nothing: what was answered must not be held for it for good.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

thread_local! {
    /// What our side did since hyper's task of the stream was polled.
    static DID: Cell<Did> = const { Cell::new(Did::Nothing) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    /// It was not asked: hyper waits for its peer.
    Nothing,
    /// It gave a piece of an answer.
    Gave,
    /// It has nothing to give yet.
    Waits,
}

/// Says of one poll of ours whether it gave something.
pub(super) fn note<T>(polled: Poll<T>) -> Poll<T> {
    DID.set(if polled.is_pending() { Did::Waits } else { Did::Gave });
    polled
}

/// `future`, known as ours while it is waited for.
pub(super) async fn noted<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| note(future.as_mut().poll(cx))).await
}

/// Runs the streams of HTTP/2, each a task; one whose reader took nothing for `limit` is reset. A timer in the body
/// would not do: hyper does not ask the body while the reader's window is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Watched { stream, limit: self.limit, stalled: None });
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        stream: F,
        limit: Duration,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        DID.set(Did::Nothing);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match DID.get() {
            Did::Waits => {
                *this.stalled = None;
                return Poll::Pending;
            }
            Did::Gave => *this.stalled = None,
            Did::Nothing => {}
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(*this.limit)));
        // Dropping the stream resets it.
        stalled.as_mut().poll(cx)
    }
}
