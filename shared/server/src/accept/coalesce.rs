//! A stream that sends what many responses wrote with one system call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where writers begin to wait for the peer.
const FULL: usize = 64 << 10;
/// Capacity an idle connection may keep.
const KEEP: usize = 16 << 10;

/// Gathers writes; the first flush lets the other ready tasks run, the next sends everything. Half of a small
/// call's cost is system calls, and hyper flushes headers, data and trailers apart.
#[derive(Debug)]
pub(crate) struct Coalesce<I> {
    io: I,
    pending: Vec<u8>,
    sent: usize,
    deferred: bool,
}

impl<I: AsyncWrite + Unpin> Coalesce<I> {
    pub(crate) fn new(io: I) -> Self {
        Self { io, pending: Vec::new(), sent: 0, deferred: false }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let rest = &self.pending[self.sent..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.sent = 0;
        self.pending.clear();
        self.pending.shrink_to(KEEP);
        Poll::Ready(Ok(()))
    }

    /// How much may be taken from a writer now.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.pending.len() >= FULL {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(FULL - self.pending.len()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Coalesce<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Coalesce<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx))?;
        let before = self.pending.len();
        for slice in slices {
            let left = room - (self.pending.len() - before);
            self.pending.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        Poll::Ready(Ok(self.pending.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.pending.is_empty() && !self.deferred {
            self.deferred = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_send(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.deferred = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
