//! A request body that is heard to its end, whoever was answered before.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How much is heard of what nobody reads, and for how long.
const MOST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(1);

/// What nobody reads any more of an unfinished request, HTTP/2 resets. What its sender then still sends, not knowing, is an
/// error that h2 counts, and of so many it ends the connection, on a gateway's with everybody's calls. So whoever was
/// turned away unread is listened to, for as long as an honest sender needs.
#[derive(Debug)]
pub(super) struct Heard(Option<Incoming>);

impl Heard {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = frame {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let mut rest = Box::pin(listen(body));
        // Most often all of it is there.
        if rest.as_mut().now_or_never().is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(PATIENCE, rest));
        }
    }
}

async fn listen(mut body: Incoming) {
    let mut heard = 0;
    while heard <= MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        heard += frame.data_ref().map_or(0, Bytes::len);
    }
}
