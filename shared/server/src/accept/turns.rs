//! A stream whose reader lets others have their turn.

use std::io;
use std::pin::Pin;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How much is read at a stretch. A flood of small frames is thousands of them, which hyper would all look at in one
/// poll; tokio's own budget counts reads, not what is in them.
const STRETCH: usize = 32 << 10;

/// How long nothing is read from who was turned away. What comes meanwhile is then read, and turned away, together: one
/// by one it would cost several times as much, and take the core from the calls that were admitted.
const REST: Duration = Duration::from_millis(5);

/// Whether a call of a connection was turned away since it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowded(Arc<AtomicBool>);

impl Crowded {
    pub(super) fn tell(&self) {
        self.0.store(true, Relaxed);
    }

    fn take(&self) -> bool {
        // Most often it is not, and to look is cheaper than to take.
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

/// Pauses reading after each stretch until the other ready tasks ran, and longer while calls are turned away.
#[derive(Debug)]
pub(super) struct Turns<I> {
    io: I,
    read: usize,
    crowded: Crowded,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<I> Turns<I> {
    pub(super) fn new(io: I, crowded: Crowded) -> Self {
        Self { io, read: 0, crowded, rest: None }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_none() && self.crowded.take() {
            self.rest = Some(Box::pin(sleep(REST)));
        }
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
            self.crowded.take();
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx));
        if self.read >= STRETCH {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.read = if read.is_pending() { 0 } else { self.read + buf.filled().len() - before };
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Turns<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{io::AsyncReadExt, time::advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_was_turned_away_is_read_again_a_moment_later() {
        let crowded = Crowded::default();
        let mut turns = Turns::new(&b"one two"[..], crowded.clone());
        let mut read = [0; 4];
        turns.read_exact(&mut read).await.unwrap();
        crowded.tell();
        let mut read = [0; 3];
        assert!(turns.read_exact(&mut read).now_or_never().is_none());
        crowded.tell();
        advance(REST).await;
        assert!(
            turns.read_exact(&mut read).now_or_never().is_some(),
            "told meanwhile, it rests once"
        );
        assert_eq!(&read, b"two");
    }
}
