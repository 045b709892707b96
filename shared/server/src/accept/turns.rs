//! A stream whose reader lets others have their turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at a stretch. A flood of small frames is thousands of them, which hyper would all look at in one
/// poll; tokio's own budget counts reads, not what is in them.
const STRETCH: usize = 32 << 10;

/// Pauses reading after each stretch until the other ready tasks ran.
#[derive(Debug)]
pub(super) struct Turns<I> {
    io: I,
    read: usize,
}

impl<I> Turns<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, read: 0 }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
