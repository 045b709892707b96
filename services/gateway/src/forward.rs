//! gRPC through the door: to the owner of the method, every byte and trailer unread.
use std::{collections::HashMap, time::Instant};

use axum::extract::Request;
use caseward_server::deadline;
use http::{HeaderValue, Method as Verb, Uri, Version, header};
use tonic::{Status, body::Body};

use crate::{contract::Method, headers, peer::Peer};

/// Every method there is, by its exact path: nothing is normalised, so no odd path reaches a service.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    methods: HashMap<Box<str>, Owner>,
}

#[derive(Debug)]
struct Owner {
    /// Kept whole, so that a call clones a reference and not the text.
    uri: Uri,
    streams: bool,
    peer: Peer,
}

impl Forward {
    pub(crate) fn insert(&mut self, method: &Method, peer: Peer) {
        let owner = Owner { uri: method.uri(), streams: method.rpc.is_server_streaming(), peer };
        self.methods.insert(method.path.path().into(), owner);
    }

    pub(crate) async fn call(&self, req: Request) -> http::Response<Body> {
        let exact = req.method() == Verb::POST && req.uri().query().is_none();
        let owner = exact.then(|| self.methods.get(req.uri().path())).flatten();
        let Some(Owner { uri, streams, peer }) = owner else {
            return Status::unimplemented("no such method").into_http();
        };
        let (mut parts, body) = req.into_parts();
        let deadline = match deadline::of(&parts.headers, *streams) {
            Ok(deadline) => deadline,
            Err(malformed) => return Status::from(malformed).into_http(),
        };
        deadline::carry(&mut parts.headers, deadline);
        headers::inward(&mut parts.headers);
        // The body is streamed, and a translated one has another length.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        parts.uri = uri.clone();
        parts.version = Version::HTTP_2;
        // A peer keeps the deadline itself; one that is frozen keeps nothing.
        let reply = peer.clone().call(http::Request::from_parts(parts, Body::new(body)));
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(mut reply) = tokio::time::timeout(left, reply).await else {
            return Status::deadline_exceeded("the deadline passed; a change may have been made")
                .into_http();
        };
        headers::hop(reply.headers_mut());
        reply
    }
}
