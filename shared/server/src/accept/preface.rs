//! A stream whose peer must say in time which protocol it speaks.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Fails a read with `TimedOut` unless the whole HTTP/2 preface, or a byte that rules it out, came in time. After
/// either, hyper's own timers (PING, HTTP/1.1 head) take over; before, it has none.
#[derive(Debug)]
pub(super) struct Preface<I> {
    io: I,
    /// Bytes of the preface seen.
    seen: usize,
    /// `None` once the protocol is known.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<I> Preface<I> {
    pub(super) fn new(io: I, limit: Duration) -> Self {
        Self { io, seen: 0, limit: Some(Box::pin(sleep(limit))) }
    }

    fn see(&mut self, bytes: &[u8]) {
        let rest = &HTTP2[self.seen..];
        let common = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        self.seen += common;
        if common == rest.len() || common < bytes.len() {
            self.limit = None;
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Preface<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(limit) = &mut self.limit else { return read };
        if read.is_pending() {
            ready!(limit.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.see(&buf.filled()[before..]);
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Preface<I> {
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
