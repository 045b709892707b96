//! Which headers of a request go inward. A service trusts none of them but `authorization`, which it verifies.
use http::{
    HeaderMap, HeaderName,
    header::{self, Entry},
};

/// Those of one connection only (RFC 9110, 7.6.1), and what HTTP/2 says in other ways.
const HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a proxy or a service could take for a word of ours: who calls, from where, or for another path.
const INWARD: [&str; 12] = [
    "baggage",
    "cookie",
    "forwarded",
    // Free text that a trace would carry.
    "tracestate",
    "x-caseward-",
    "x-client-",
    "x-envoy-",
    "x-forwarded-",
    "x-http-method",
    "x-method-override",
    "x-original-",
    "x-rewrite-",
];

/// What speaks of the JSON, not of the call.
const REST: [&str; 19] = [
    "accept",
    "accept-encoding",
    "access-control-",
    "cache-control",
    "content-",
    "dnt",
    "expect",
    "grpc-",
    "if-",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "sec-",
    "upgrade-insecure-requests",
    "x-request-timeout",
    "x-real-ip",
];

/// Leaves what a gRPC call may carry to a peer.
pub(crate) fn inward(headers: &mut HeaderMap) {
    hop(headers);
    retain(headers, &INWARD);
}

/// Leaves what a REST call may carry to a peer.
pub(crate) fn inward_of_rest(headers: &mut HeaderMap) {
    inward(headers);
    retain(headers, &REST);
}

/// Takes away what belongs to one connection, also the headers that `connection` names.
pub(crate) fn hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::AUTHORIZATION)
        .collect();
    for name in HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Removes the headers named in the list; one that ends in `-` is a prefix.
fn retain(headers: &mut HeaderMap, refused: &[&str]) {
    let odd: Vec<HeaderName> =
        headers.keys().filter(|name| is_any(name.as_str(), refused)).cloned().collect();
    for name in odd {
        if let Entry::Occupied(entry) = headers.entry(name) {
            entry.remove_entry_mult();
        }
    }
}

fn is_any(name: &str, list: &[&str]) -> bool {
    // `x-http-method` also stands for `x-http-method-override`.
    list.iter().any(|refused| {
        name == *refused || (refused.ends_with(['-', 'd']) && name.starts_with(refused))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_call_goes_inward() {
        let kept = [
            "authorization",
            "grpc-timeout",
            "grpc-trace-bin",
            "traceparent",
            "x-request-id",
            "content-type",
        ];
        let dropped = [
            "x-caseward-subject",
            "x-caseward-",
            "baggage",
            "tracestate",
            "cookie",
            "connection",
            "x-mine",
            "te",
            "host",
            "x-original-path",
            "x-http-method-override",
            "x-forwarded-for",
            "forwarded",
        ];
        let mut headers: HeaderMap = kept
            .into_iter()
            .chain(dropped)
            .map(|name| {
                (
                    HeaderName::from_static(name),
                    header::HeaderValue::from_static("x-mine, authorization"),
                )
            })
            .collect();
        headers.append("x-caseward-roles", header::HeaderValue::from_static("supervisor"));
        headers.append("x-caseward-roles", header::HeaderValue::from_static("operator"));
        inward(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let mut expected = kept.to_vec();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
