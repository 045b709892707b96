//! Durations of calls by method and outcome, by the semantic conventions for RPC.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, StringValue, global};
use tonic::Code;

use super::OURS;
use super::meters::CALLS;

/// How long calls served took; made after `start`.
#[derive(Clone, Debug)]
pub struct Calls(Histogram<f64>);

/// Seconds. The convention's boundaries begin at 5 ms, where most of our calls have ended.
const BOUNDARIES: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Calls {
    #[expect(clippy::new_without_default, reason = "it reads what `start` set")]
    pub fn new() -> Self {
        let meter = global::meter(OURS);
        let duration = meter.f64_histogram(CALLS.name).with_unit(CALLS.unit);
        Self(duration.with_description(CALLS.what).with_boundaries(BOUNDARIES.to_vec()).build())
    }

    /// `method` is a name of the method table, never what a caller sent: each value costs memory for good.
    pub fn record(&self, method: impl Into<StringValue>, code: Code, took: Duration) {
        let method = KeyValue::new("rpc.method", method.into());
        let system = KeyValue::new("rpc.system.name", "grpc");
        let status = KeyValue::new("rpc.response.status_code", code_name(code));
        if is_fault(code) {
            let fault = KeyValue::new("error.type", code_name(code));
            self.0.record(took.as_secs_f64(), &[system, method, status, fault]);
        } else {
            self.0.record(took.as_secs_f64(), &[system, method, status]);
        }
    }
}

/// Codes that say the server failed, as the convention for gRPC lists them; the others blame the call.
pub(super) fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// What `grpc-status` says, without the message and details that a `Status` would be made of.
pub fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

/// As gRPC writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
