//! The process that owns a service, in this process or across the network.
use std::{convert::Infallible, fmt, time::Duration};

use caseward_server::telemetry;
use tonic::{Code, Status, body::Body, codegen::StdError};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::{Instrument, warn};

/// Whatever takes a gRPC call: `Transport` does.
#[derive(Clone)]
pub(crate) struct Peer(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, StdError>);

impl Peer {
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>>,
        S: Clone + Send + Sync + 'static,
        S::Error: Into<StdError>,
        S::Future: Send + 'static,
    {
        Peer(BoxCloneSyncService::new(service.map_err(Into::into)))
    }

    /// The answer of the peer; UNAVAILABLE where it could not be reached. Here a trace begins, or it is said that
    /// there is none, so that the next process does not decide again.
    pub(crate) async fn call(self, mut req: http::Request<Body>) -> http::Response<Body> {
        if req.uri().path().starts_with("/caseward.")
            && let Some(parent) = telemetry::sampled(req.headers())
        {
            let span = parent.server(req.uri().path().trim_start_matches('/'));
            span.in_scope(|| telemetry::inject(req.headers_mut()));
            let reply = self.ask(req).instrument(span.clone()).await;
            telemetry::finish(&span, telemetry::code(reply.headers()).unwrap_or(Code::Ok));
            return reply;
        }
        if !req.headers().contains_key("traceparent") {
            telemetry::inject(req.headers_mut());
        }
        self.ask(req).await
    }

    async fn ask(self, req: http::Request<Body>) -> http::Response<Body> {
        match self.0.oneshot(req).await {
            Ok(reply) => reply,
            Err(error) => {
                // The cause names addresses of our network: for the log, not for the caller.
                warn!(error = &*error, "peer unreachable");
                unreachable().into_http()
            }
        }
    }

    /// The same as a service that cannot fail, for a generated client.
    pub(crate) fn service(
        &self,
    ) -> impl Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + use<> {
        let peer = self.clone();
        service_fn(move |req| {
            let peer = peer.clone();
            async move { Ok(peer.call(req).await) }
        })
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

pub(crate) fn unreachable() -> Status {
    let retry = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(
        Code::Unavailable,
        "the service is not reachable now, try again",
        retry,
    )
}
