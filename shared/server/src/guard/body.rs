//! Bodies that end in time, and what ends with them.
use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::body::Body;
use caseward_core::Error;
use futures_util::StreamExt;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Sleep, sleep_until};
use tonic::{Code, Status};

use super::Owed;

/// `body`, cut off at `deadline`: by then nobody waits for what half a message was to do.
pub(super) fn ends_by(body: Body, deadline: Instant) -> Body {
    let over = sleep_until(deadline.into());
    Body::from_stream(body.into_data_stream().take_until(over))
}

pin_project_lite::pin_project! {
    /// The body of a stream. Its end, or that nobody reads on, ends its audit record.
    pub(super) struct Held<B> {
        #[pin]
        body: B,
        owed: Owed,
    }
}

impl<B> Held<B> {
    pub(super) fn new(body: B, owed: Owed) -> Self {
        Held { body, owed }
    }
}

impl<B: http_body::Body> http_body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let held = self.project();
        let frame = held.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            let status = Status::from_header_map(trailers);
            held.owed.outcome = Some(status.map_or(Code::Unknown, |status| status.code()));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

pin_project_lite::pin_project! {
    /// A body that ends in time, and with a status where its handler panics.
    pub(super) struct Timed<B> {
        #[pin]
        body: B,
        // Nothing once the time is over.
        until: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> Timed<B> {
    pub(super) fn new(body: B, until: Instant) -> Self {
        Timed { body, until: Some(Box::pin(sleep_until(until.into()))) }
    }
}

impl<B: http_body::Body> http_body::Body for Timed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let Some(until) = this.until else { return Poll::Ready(None) };
        if until.as_mut().poll(cx).is_ready() {
            *this.until = None;
            let over = "the stream lasted its time; resume from your last token";
            return Poll::Ready(last(&Status::deadline_exceeded(over)).map(Ok));
        }
        // Left to hyper, a panic takes with it what was told before and says nothing.
        let polled = AssertUnwindSafe(|| this.body.poll_frame(cx));
        std::panic::catch_unwind(polled).unwrap_or_else(|_panic| {
            *this.until = None;
            Poll::Ready(last(&Status::from(Error::internal("a handler panicked"))).map(Ok))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.until.is_none() || self.body.is_end_stream()
    }
}

/// The last frame of a stream that ends with `status`.
fn last<D>(status: &Status) -> Option<Frame<D>> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).ok().map(|()| Frame::trailers(trailers))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::*;

    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off_at_its_deadline() {
        let dribble = ends_by(Body::new(Silent), Instant::now() + Duration::from_millis(1));
        assert!(dribble.collect().await.unwrap().to_bytes().is_empty());
        let whole = ends_by(Body::from("whole"), Instant::now() + Duration::from_secs(5));
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "whole");
    }

    #[tokio::test]
    async fn a_stream_ends_with_a_status_when_its_time_is_over() {
        let timed = Timed::new(Silent, Instant::now() + Duration::from_millis(1));
        let read = timed.collect().await.unwrap();
        let status = Status::from_header_map(read.trailers().unwrap()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(read.to_bytes().is_empty());
    }
}
