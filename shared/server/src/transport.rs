//! One client transport: a peer in this process, or one across the network.
mod place;
mod remote;
mod replay;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
};

use caseward_core::Ctx;
use http::{HeaderValue, Uri, header::AUTHORIZATION};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service, StdError},
};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{deadline, tls::Connector};

type Inner = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, StdError>;

/// A way to call one service, whichever process it is in.
#[derive(Clone, Debug)]
pub struct Transport(Inner);

impl Transport {
    /// A peer in this process: no socket, no copy, the same guard.
    pub fn local<S, B>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<StdError>,
        S::Future: Send + 'static,
        B: tonic::codegen::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Transport(BoxCloneSyncService::new(
            service.map_response(|reply| reply.map(Body::new)).map_err(Into::into),
        ))
    }

    /// A service across the network at one address, without TLS, for a client: a call ends when its caller leaves.
    pub fn remote(uri: Uri) -> Self {
        Self::over(remote::Remote::new(&[uri], None, false))
    }

    /// A peer across the network: its replicas at `origins`, each `http://` or `https://`, whose names may stand for
    /// several. Connected when first called; a dead replica is noticed within 15 s and left alone for a while; a
    /// call that lost its connection is made once more where that is safe. Calls of many share its connections, so one
    /// whose caller leaves at once ends a moment later.
    pub fn replicas(origins: &[Uri], tls: Option<&Arc<Connector>>) -> anyhow::Result<Self> {
        Ok(Self::over(Ok(remote::Remote::new(origins, tls, true)?)))
    }

    /// An address that no call can be made to answers that to every call.
    fn over(remote: anyhow::Result<remote::Remote>) -> Self {
        let remote = remote.ok();
        Self::local(service_fn(move |request: http::Request<Body>| {
            let remote = remote.clone();
            async move {
                Ok::<_, Infallible>(match remote {
                    Some(remote) => remote.call(request).await,
                    None => unavailable(),
                })
            }
        }))
    }

    /// The same peer, called on behalf of `ctx`: its token, what is left of its time, its trace. The head of the answer
    /// is waited for no longer: a peer that is frozen keeps no deadline.
    pub fn for_caller(&self, ctx: &Ctx) -> Self {
        let inner = self.clone();
        let authorization = HeaderValue::try_from(format!("Bearer {}", ctx.caller.token)).ok();
        let trace =
            HeaderValue::try_from(ctx.record.trace()).ok().filter(|trace| !trace.is_empty());
        let deadline = ctx.deadline;
        Self::local(service_fn(move |mut request: http::Request<Body>| {
            let headers = request.headers_mut();
            if let Some(mut token) = authorization.clone() {
                token.set_sensitive(true);
                headers.insert(AUTHORIZATION, token);
            }
            if let Some(trace) = trace.clone() {
                headers.insert("traceparent", trace);
            }
            deadline::carry(headers, deadline);
            let reply = tokio::time::timeout_at(deadline.into(), inner.clone().oneshot(request));
            async move { reply.await.unwrap_or_else(|_| Ok(late())) }
        }))
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = <Inner as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, req: http::Request<Body>) -> Self::Future {
        self.0.call(req)
    }
}

/// The answer of a peer that did not answer in time.
fn late() -> http::Response<Body> {
    Status::deadline_exceeded("the deadline passed; a change may have been made").into_http()
}

/// The answer of a peer that does not answer.
fn unavailable() -> http::Response<Body> {
    Status::from(caseward_core::Error::Unavailable(
        "a service behind this one does not answer; try again",
    ))
    .into_http()
}

/// The services that a process knows, each bound when it starts or when the process does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers(Arc<Mutex<HashMap<&'static str, Slot>>>);

/// Where a peer is, once that is known.
type Slot = Arc<OnceLock<Transport>>;

impl Peers {
    /// A way to call `service`, which need not be bound yet.
    pub(crate) fn get(&self, service: &'static str) -> Transport {
        let slot = self.slot(service);
        Transport::local(service_fn(move |request: http::Request<Body>| {
            let peer = slot.get().cloned();
            async move {
                match peer {
                    Some(peer) => peer.oneshot(request).await,
                    None => Ok(unavailable()),
                }
            }
        }))
    }

    /// The peer `service`, where it is bound.
    pub(crate) fn bound(&self, service: &'static str) -> Option<Transport> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(service)?.get().cloned()
    }

    /// Binds `service`; the first binding stands.
    pub(crate) fn bind(&self, service: &'static str, peer: Transport) {
        let _ = self.slot(service).set(peer);
    }

    /// The services that somebody wants to call and that are not in this process.
    pub(crate) fn unbound(&self) -> Vec<&'static str> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().filter(|(_, slot)| slot.get().is_none()).map(|(name, _)| *name).collect()
    }

    fn slot(&self, service: &'static str) -> Slot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(service).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use caseward_core::Clock;
    use tonic::Code;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_a_frozen_peer_on_somebodys_behalf_waits_until_their_deadline() {
        let peer = Transport::local(service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, Infallible>>()
        }));
        let ctx = Ctx::task("test", "asks", Uuid::nil(), Clock::System);
        let began = tokio::time::Instant::now();
        let waits = peer.for_caller(&ctx).oneshot(http::Request::new(Body::default()));
        let reply = tokio::time::timeout(2 * Ctx::TASK, waits).await.expect("a deadline").unwrap();
        let status = Status::from_header_map(reply.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(began.elapsed() <= Ctx::TASK + Duration::from_millis(100));
    }
}
