//! What lasts as long as an answer is read.
use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

pin_project_lite::pin_project! {
    /// A body, and what ends with it.
    #[derive(Debug)]
    pub(crate) struct Lasting<B, T> {
        #[pin]
        body: B,
        with: T,
    }
}

impl<B, T> Lasting<B, T> {
    pub(crate) fn new(body: B, with: T) -> Self {
        Lasting { body, with }
    }
}

impl<B: Body, T> Body for Lasting<B, T> {
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
