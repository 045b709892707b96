//! Errors as JSON: an HTTP status, and a body that holds everything the gRPC status held.
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method as Verb, StatusCode, header};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorDetails, FieldViolation, StatusExt};

/// How much is said of what is wrong with one request: a body of a few MiB could be wrong in millions of places.
pub(crate) const MOST: usize = 100;

/// Why a REST call was not answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: Status,
    http: StatusCode,
    allow: Option<HeaderValue>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let http = http_status(status.code());
        Refusal { status, http, allow: None }
    }
}

impl Refusal {
    /// INVALID_ARGUMENT with every violation, or the first of many.
    pub(crate) fn invalid(mut violations: Vec<FieldViolation>) -> Self {
        if violations.len() >= MOST {
            violations.truncate(MOST);
            violations.push(FieldViolation::new("", "there may be more; only the first are named"));
        }
        let message = match violations.first() {
            Some(FieldViolation { field, description, .. }) if field.is_empty() => {
                description.clone()
            }
            Some(first) => format!("{}: {}", first.field, first.description),
            None => "the request is not valid".into(),
        };
        let details = ErrorDetails::with_bad_request(violations);
        Status::with_error_details(Code::InvalidArgument, message, details).into()
    }

    pub(crate) fn field(field: &str, description: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation::new(field, description)])
    }

    pub(crate) fn no_such_path() -> Self {
        Status::not_found("no such path").into()
    }

    pub(crate) fn other_methods(verbs: &[&Verb]) -> Self {
        let status = Status::unimplemented("the path does not take this method");
        Refusal { status, http: StatusCode::METHOD_NOT_ALLOWED, allow: Some(allow(verbs)) }
    }

    pub(crate) fn media_type(expected: &str) -> Self {
        let status = Status::invalid_argument(format!("the content-type must be {expected}"));
        Refusal { status, http: StatusCode::UNSUPPORTED_MEDIA_TYPE, allow: None }
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::too_much(format!("the body must be at most {limit} bytes"))
    }

    pub(crate) fn too_many_parts() -> Self {
        Self::too_much("the body has too many parts; send it in several")
    }

    fn too_much(why: impl Into<String>) -> Self {
        let status = Status::resource_exhausted(why);
        Refusal { status, http: StatusCode::PAYLOAD_TOO_LARGE, allow: None }
    }

    pub(crate) fn json(&self) -> Value {
        let status = &self.status;
        let details: Vec<_> =
            status.get_error_details_vec().into_iter().filter_map(detail).collect();
        json!({ "error": {
            "code": self.http.as_u16(),
            "status": name(status.code()),
            "message": status.message(),
            "details": details,
        }})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut reply = Response::new(Body::from(self.json().to_string()));
        *reply.status_mut() = self.http;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, allow);
        }
        if self.status.code() == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let retry = self.status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        if let Some(delay) = retry {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }
}

/// `Allow` for a path that takes these: GET brings HEAD, and every path answers OPTIONS.
pub(crate) fn allow(verbs: &[&Verb]) -> HeaderValue {
    let mut names: Vec<_> = verbs.iter().map(|verb| verb.as_str()).collect();
    if verbs.contains(&&Verb::GET) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// The name of a code, as in `google.rpc.Code`.
pub(crate) fn name(code: Code) -> &'static str {
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

/// The mapping of `google/rpc/code.proto`.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499 is nobody's but everybody's "client closed request".
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn detail(detail: ErrorDetail) -> Option<Value> {
    Some(match detail {
        ErrorDetail::BadRequest(it) => {
            let violations = it.field_violations.into_iter().map(|violation| {
                json!({ "field": violation.field, "description": violation.description })
            });
            typed("BadRequest", json!({ "fieldViolations": violations.collect::<Vec<_>>() }))
        }
        ErrorDetail::ErrorInfo(it) => typed(
            "ErrorInfo",
            json!({ "reason": it.reason, "domain": it.domain, "metadata": it.metadata }),
        ),
        ErrorDetail::PreconditionFailure(it) => {
            let violations = it.violations.into_iter().map(|violation| {
                json!({
                    "type": violation.r#type,
                    "subject": violation.subject,
                    "description": violation.description,
                })
            });
            typed("PreconditionFailure", json!({ "violations": violations.collect::<Vec<_>>() }))
        }
        ErrorDetail::RetryInfo(it) => {
            let delay = it.retry_delay.unwrap_or_default();
            typed("RetryInfo", json!({ "retryDelay": format!("{}s", delay.as_secs_f64()) }))
        }
        ErrorDetail::QuotaFailure(it) => {
            let violations = it.violations.into_iter().map(|violation| {
                json!({ "subject": violation.subject, "description": violation.description })
            });
            typed("QuotaFailure", json!({ "violations": violations.collect::<Vec<_>>() }))
        }
        ErrorDetail::RequestInfo(it) => typed(
            "RequestInfo",
            json!({ "requestId": it.request_id, "servingData": it.serving_data }),
        ),
        ErrorDetail::ResourceInfo(it) => typed(
            "ResourceInfo",
            json!({
                "resourceType": it.resource_type,
                "resourceName": it.resource_name,
                "owner": it.owner,
                "description": it.description,
            }),
        ),
        ErrorDetail::Help(it) => {
            let links = it.links.into_iter();
            let links =
                links.map(|link| json!({ "description": link.description, "url": link.url }));
            typed("Help", json!({ "links": links.collect::<Vec<_>>() }))
        }
        ErrorDetail::LocalizedMessage(it) => {
            typed("LocalizedMessage", json!({ "locale": it.locale, "message": it.message }))
        }
        // Stack entries are for the log of the service, never for a caller.
        _ => return None,
    })
}

fn typed(name: &str, mut value: Value) -> Value {
    value["@type"] = format!("type.googleapis.com/google.rpc.{name}").into();
    value
}
