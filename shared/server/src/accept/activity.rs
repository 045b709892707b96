//! Whether a connection serves a call, and since when it does not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::stall;

/// As much as one frame of HTTP/2 holds.
const PIECE: usize = 16 << 10;

/// The calls of one connection.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Open now.
    pub(super) calls: usize,
    /// When one began or ended.
    pub(super) last: Instant,
    /// Whether there was one.
    pub(super) ever: bool,
}

/// One call; the connection is busy until it is dropped.
#[derive(Debug)]
pub(super) struct Call(Activity);

pin_project! {
    /// A response body that is part of its call, so that a long stream is not silence. It goes out in pieces, so that
    /// a reader who takes nothing shows.
    pub(super) struct Busy<B: Body> {
        #[pin]
        body: B,
        rest: Option<B::Data>,
        call: Option<Call>,
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { calls: 0, last: Instant::now(), ever: false })))
    }

    pub(super) fn begin(&self) -> Call {
        self.state(|state| {
            state.calls += 1;
            (state.last, state.ever) = (Instant::now(), true);
        });
        Call(self.clone())
    }

    pub(super) fn seen(&self) -> State {
        self.state(|state| *state)
    }

    /// Returns once no call was open for `limit`. Wakes once per `limit`, not per call.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let State { calls, last, .. } = self.seen();
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

impl<B: Body> Busy<B> {
    pub(super) fn new(body: B, call: Option<Call>) -> Self {
        Self { body, rest: None, call }
    }
}

impl<B: Body> Body for Busy<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_none() {
            match ready!(stall::note(this.body.poll_frame(cx))) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = Some(data),
                    // Trailers, of which there is no other kind.
                    Err(frame) => return Poll::Ready(Some(Ok(frame.map_data(|_| Bytes::new())))),
                },
                end => {
                    return Poll::Ready(
                        end.map(|end| end.map(|frame| frame.map_data(|_| Bytes::new()))),
                    );
                }
            }
        }
        let piece = this.rest.as_mut().map(|data| data.copy_to_bytes(data.remaining().min(PIECE)));
        this.rest.take_if(|data| !data.has_remaining());
        let _ = stall::note(Poll::Ready(()));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |data| data.remaining() as u64);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
