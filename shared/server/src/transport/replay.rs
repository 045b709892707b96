//! A request body that can be sent a second time, from what of it was already read.
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// How much of a body is kept; a larger one goes once.
const KEPT: usize = 64 << 10;

/// What is left for another attempt.
#[derive(Debug)]
pub(super) struct Kept(Arc<Mutex<State>>);

/// One attempt's body.
#[derive(Debug)]
pub(super) struct Attempt {
    state: Arc<Mutex<State>>,
    nth: usize,
    /// How many of the pieces this attempt has sent.
    sent: usize,
}

#[derive(Debug)]
struct State {
    body: Body,
    pieces: Vec<Bytes>,
    size: usize,
    /// How many attempts were made. Only the last may read on: what sends for an earlier one ends a moment after its
    /// connection, and by asking for more would be woken in the place of the one that waits.
    attempts: usize,
    /// Whether the pieces are all there was so far.
    whole: bool,
}

impl Kept {
    pub(super) fn new(body: Body) -> Self {
        let (pieces, size, attempts, whole) = (Vec::new(), 0, 0, true);
        Kept(Arc::new(Mutex::new(State { body, pieces, size, attempts, whole })))
    }

    /// The body from its beginning; nothing where it is no longer known.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        let mut state = self.state();
        if !state.whole {
            return None;
        }
        state.attempts += 1;
        Some(Attempt { state: self.0.clone(), nth: state.attempts, sent: 0 })
    }

    /// The first message of the body, if all of it was kept.
    pub(super) fn message(&self) -> Vec<u8> {
        let bytes = self.state().pieces.concat();
        // A flag and a length precede it; a compressed one is not looked into.
        match bytes.get(..5) {
            Some([0, ..]) => bytes[5..].to_vec(),
            _ => vec![],
        }
    }

    /// There will be no other attempt.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.whole = false;
        state.pieces = Vec::new();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut state = lock(&this.state);
        if this.nth < state.attempts {
            return Poll::Ready(Some(Err(Status::cancelled("another attempt is made"))));
        }
        if state.whole
            && let Some(piece) = state.pieces.get(this.sent)
        {
            this.sent += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        let frame = ready!(Pin::new(&mut state.body).poll_frame(cx));
        if state.whole
            && let Some(data) = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref())
        {
            state.size += data.len();
            if state.size <= KEPT {
                state.pieces.push(data.clone());
                this.sent += 1;
            } else {
                state.whole = false;
                state.pieces = Vec::new();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        (!state.whole || self.sent == state.pieces.len()) && state.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let again: usize =
            state.pieces.get(self.sent..).unwrap_or_default().iter().map(Bytes::len).sum();
        let (rest, again) = (state.body.size_hint(), again as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + again);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + again);
        }
        hint
    }
}

/// Whether the protobuf `message` has text in the field of this number.
pub(super) fn has_text(mut message: &[u8], field: u32) -> bool {
    while let Ok((tag, kind)) = prost::encoding::decode_key(&mut message) {
        let context = prost::encoding::DecodeContext::default();
        if tag == field && kind == prost::encoding::WireType::LengthDelimited {
            return prost::encoding::decode_varint(&mut message).is_ok_and(|length| length > 0);
        }
        if prost::encoding::skip_field(kind, tag, &mut message, context).is_err() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    use caseward_api::patient::v1::{CreatePatientRequest, Patient};
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};
    use prost::Message;

    async fn all(attempt: Attempt) -> Vec<u8> {
        attempt.collect().await.unwrap().to_bytes().to_vec()
    }

    fn body(pieces: &[&'static [u8]]) -> Body {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Status>(Frame::data(Bytes::from_static(piece))))
            .collect();
        Body::new(StreamBody::new(futures_util::stream::iter(pieces)))
    }

    #[tokio::test]
    async fn a_second_attempt_sends_what_the_first_had_read_and_the_rest() {
        let kept = Kept::new(body(&[b"one ", b"two ", b"three"]));
        let mut first = kept.attempt().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
        drop(first);
        assert_eq!(all(kept.attempt().unwrap()).await, b"one two three");
        assert_eq!(all(kept.attempt().unwrap()).await, b"one two three");
        kept.forget();
        assert!(kept.attempt().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_given_up_takes_nothing_from_the_next() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Result<_, Status>>();
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let kept = Kept::new(Body::new(StreamBody::new(frames)));
        let mut first = kept.attempt().unwrap();
        assert!(first.frame().now_or_never().is_none());
        let second = tokio::spawn(all(kept.attempt().unwrap()));
        tokio::task::yield_now().await;
        // Its connection is gone, which it is told a moment later.
        let last = first.frame().now_or_never();
        sender.send(Ok(Frame::data(Bytes::from_static(b"late")))).unwrap();
        drop(sender);
        let sent = tokio::time::timeout(Duration::from_secs(1), second).await;
        assert_eq!(sent.expect("the next attempt is woken").unwrap(), b"late");
        assert!(last.is_some_and(|frame| frame.unwrap().is_err()), "the first goes on");
    }

    #[tokio::test]
    async fn a_body_too_large_to_keep_goes_once() {
        const LARGE: &[u8] = &[7; 40 << 10];
        let kept = Kept::new(body(&[LARGE, LARGE]));
        assert_eq!(all(kept.attempt().unwrap()).await.len(), 80 << 10);
        assert!(kept.attempt().is_none());
    }

    #[test]
    fn a_request_id_is_found_behind_other_fields() {
        let patient = Some(Patient { name: "patients/x".into(), ..Default::default() });
        let mut request = CreatePatientRequest { patient, request_id: "an id".into() };
        assert!(has_text(&request.encode_to_vec(), 2));
        request.request_id.clear();
        assert!(!has_text(&request.encode_to_vec(), 2));
        assert!(!has_text(b"\xff\xff", 2));
    }
}
