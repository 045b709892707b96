//! Somebody who calls the suite: a token, and clients that show it.
use std::fmt;

use caseward_server::Transport;
use http::{HeaderValue, header::AUTHORIZATION};
use tower::{ServiceExt, service_fn};

/// A signed-in caller.
#[derive(Clone)]
pub struct Caller {
    subject: String,
    token: String,
    transport: Transport,
}

impl Caller {
    pub(super) fn new(subject: &str, token: String, transport: &Transport) -> Caller {
        let transport = signed(transport, &token);
        Caller { subject: subject.to_owned(), token, transport }
    }

    /// The caller's name within the organization.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The caller's token, for REST.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A client in the caller's name: `ana.client(PatientServiceClient::new)`.
    pub fn client<C>(&self, new: impl FnOnce(Transport) -> C) -> C {
        new(self.transport.clone())
    }

    /// The same caller, elsewhere: at a replica past the gateway.
    pub fn at(&self, place: &Transport) -> Caller {
        Caller::new(&self.subject, self.token.clone(), place)
    }
}

fn signed(transport: &Transport, token: &str) -> Transport {
    let inner = transport.clone();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
    Transport::local(service_fn(move |mut request: http::Request<_>| {
        request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        inner.clone().oneshot(request)
    }))
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("subject", &self.subject).finish_non_exhaustive()
    }
}
