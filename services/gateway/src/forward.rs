//! gRPC through the door: to the owner of the method, every byte and trailer unread.
use std::collections::HashMap;

use axum::extract::Request;
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
    peer: Peer,
}

impl Forward {
    pub(crate) fn insert(&mut self, method: &Method, peer: Peer) {
        self.methods.insert(method.path.path().into(), Owner { uri: method.uri(), peer });
    }

    pub(crate) async fn call(&self, req: Request) -> http::Response<Body> {
        let exact = req.method() == Verb::POST && req.uri().query().is_none();
        let owner = exact.then(|| self.methods.get(req.uri().path())).flatten();
        let Some(Owner { uri, peer }) = owner else {
            return Status::unimplemented("no such method").into_http();
        };
        let (mut parts, body) = req.into_parts();
        headers::inward(&mut parts.headers);
        // The body is streamed, and a translated one has another length.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        parts.uri = uri.clone();
        parts.version = Version::HTTP_2;
        let mut reply = peer.clone().call(http::Request::from_parts(parts, Body::new(body))).await;
        headers::hop(reply.headers_mut());
        reply
    }
}
