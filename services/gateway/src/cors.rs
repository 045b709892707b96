//! Which pages of other origins may call: none, unless the settings list them.
use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode, header, request::Parts,
};

const REQUEST_METHOD: HeaderName = header::ACCESS_CONTROL_REQUEST_METHOD;

/// What a page may read beside the body: where gRPC-Web keeps its status.
const EXPOSED: &str = "grpc-status, grpc-message, grpc-status-details-bin, retry-after, allow";

#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Self {
        Cors { origins: origins.to_vec() }
    }

    /// The origin of the call, where it is a listed one.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.origins
            .iter()
            .any(|listed| listed.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }

    /// The answer to a preflight.
    pub(crate) fn preflight(
        &self,
        parts: &Parts,
        origin: Option<&HeaderValue>,
    ) -> Option<Response> {
        let asks = parts.method == Verb::OPTIONS && parts.headers.contains_key(&REQUEST_METHOD);
        if !asks || origin.is_none() {
            return None;
        }
        let mut reply = StatusCode::NO_CONTENT.into_response();
        let headers = reply.headers_mut();
        let verbs = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, verbs);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
        // A listed origin is trusted to send what it likes: cookies are not read here.
        if let Some(asked) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(reply)
    }

    /// Marks an answer as readable by its origin. Without a list there is nothing to vary on.
    pub(crate) fn mark(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}
