//! The one error a handler can return, and the one place it becomes a status.
use std::{collections::HashMap, time::Duration};

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What our functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

const DOMAIN: &str = "caseward";

/// What the message of a refusal may hold of what is wrong, in bytes of a header.
const TOLD: usize = 1024;

/// What its details may hold of it. They go out in base64 with the message in them: all in all about 6 KiB of the 8 that
/// many a client takes of headers.
const DETAILED: usize = 3072;

/// What is said of one thing that is wrong, at most. It can quote what a caller sent, such as the path of a mask.
const ONE: usize = 256;

/// Why a call was refused. `Display` is what the caller reads, so it never holds a patient's value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// INVALID_ARGUMENT: every field that is wrong, and why.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// NOT_FOUND: unknown, or not for this caller; which of the two is not said.
    #[error("{0} not found")]
    NotFound(String),
    /// ALREADY_EXISTS.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// ABORTED: the caller read an older revision.
    #[error("{0} was changed by someone else; read it again")]
    Stale(String),
    /// FAILED_PRECONDITION: the state machine has no such step from here.
    #[error("{name} is {state}; from there it can become: {}", allowed.join(", "))]
    State {
        /// The resource.
        name: String,
        /// Where it stands.
        state: &'static str,
        /// Where it can go from there.
        allowed: Vec<&'static str>,
    },
    /// FAILED_PRECONDITION: a rule forbids it for now.
    #[error("{message}")]
    Precondition {
        /// Stable and machine readable, such as `OPEN_OBLIGATIONS`.
        reason: &'static str,
        /// What to do about it.
        message: String,
        /// The resources that stand in the way.
        subjects: Vec<String>,
    },
    /// PERMISSION_DENIED.
    #[error("permission denied")]
    Denied,
    /// UNAUTHENTICATED.
    #[error("sign in with a valid token")]
    Unauthenticated,
    /// RESOURCE_EXHAUSTED: a limit, or no room on the disk; try again later.
    #[error("{0}")]
    Exhausted(&'static str),
    /// UNAVAILABLE: nothing was done; try again.
    #[error("{0}")]
    Unavailable(&'static str),
    /// UNAVAILABLE: it gave way to another change, and nothing was done. A store runs its work again before it says so.
    #[error("another change was in the way; try again")]
    Crossed,
    /// UNAVAILABLE: whether it was done is not known; the same `request_id` finds out.
    #[error("whether the change was made is not known; send it again with the same request_id")]
    Unsure,
    /// DEADLINE_EXCEEDED: nobody waits any more, and nothing was done.
    #[error("the deadline passed before the work began")]
    Deadline,
    /// INTERNAL: ours to mend. The cause goes to the log, never to the caller.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What a peer answered, passed on.
    #[error("{}", .0.message())]
    Peer(Box<Status>),
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as in the contract.
    pub field: String,
    /// What is wrong; never the value.
    pub why: String,
}

impl Error {
    /// One wrong field.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Invalid(vec![Violation { field: field.into(), why: why.into() }])
    }

    /// A rule that forbids it for now.
    pub fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Error::Precondition { reason, message: message.into(), subjects: vec![] }
    }

    /// A cause that is ours to mend.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Internal(cause.into())
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        match self {
            Error::Invalid(_) => Code::InvalidArgument,
            Error::NotFound(_) => Code::NotFound,
            Error::AlreadyExists(_) => Code::AlreadyExists,
            Error::Stale(_) => Code::Aborted,
            Error::State { .. } | Error::Precondition { .. } => Code::FailedPrecondition,
            Error::Denied => Code::PermissionDenied,
            Error::Unauthenticated => Code::Unauthenticated,
            Error::Exhausted(_) => Code::ResourceExhausted,
            Error::Unavailable(_) | Error::Crossed | Error::Unsure => Code::Unavailable,
            Error::Deadline => Code::DeadlineExceeded,
            Error::Internal(_) => Code::Internal,
            Error::Peer(status) => status.code(),
        }
    }

    /// Whether the same work may succeed later, through no change of its own.
    pub fn is_transient(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::ResourceExhausted)
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_FIELDS",
            Error::NotFound(_) => "NOT_FOUND",
            Error::AlreadyExists(_) => "ALREADY_EXISTS",
            Error::Stale(_) => "STALE_ETAG",
            Error::State { .. } => "STATE_NOT_ALLOWED",
            Error::Precondition { reason, .. } => reason,
            Error::Denied => "PERMISSION_DENIED",
            Error::Unauthenticated => "UNAUTHENTICATED",
            Error::Exhausted(_) => "EXHAUSTED",
            Error::Unavailable(_) | Error::Crossed => "UNAVAILABLE",
            Error::Unsure => "OUTCOME_UNKNOWN",
            Error::Deadline => "DEADLINE_EXCEEDED",
            Error::Internal(_) => "INTERNAL",
            Error::Peer(_) => "PEER",
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut metadata = HashMap::new();
        let mut details = ErrorDetails::new();
        match self {
            Error::Invalid(violations) => {
                let (listed, more) = fitting(violations, DETAILED, |one| {
                    cut(&one.field).len() + cut(&one.why).len() + FRAME
                });
                for Violation { field, why } in listed {
                    details.add_bad_request_violation(cut(field), cut(why));
                }
                if more > 0 {
                    metadata.insert("more".to_owned(), more.to_string());
                }
            }
            Error::State { name, state, allowed } => {
                let allowed = allowed.join(",");
                details.add_precondition_failure_violation(
                    "STATE",
                    name,
                    format!("allowed: {allowed}"),
                );
                metadata.insert("state".to_owned(), (*state).to_owned());
                metadata.insert("allowed".to_owned(), allowed);
            }
            Error::Precondition { reason, message, subjects } => {
                let none = [String::new()];
                let subjects = if subjects.is_empty() { &none[..] } else { subjects };
                let (listed, more) = fitting(subjects, DETAILED, |subject| {
                    reason.len() + subject.len() + message.len() + FRAME
                });
                for subject in listed {
                    details.add_precondition_failure_violation(*reason, subject, message);
                }
                if more > 0 {
                    metadata.insert("more".to_owned(), more.to_string());
                }
            }
            Error::Exhausted(_) | Error::Unavailable(_) | Error::Crossed | Error::Unsure => {
                details.set_retry_info(Some(Duration::from_secs(1)));
            }
            _ => {}
        }
        details.set_error_info(self.reason(), DOMAIN, metadata);
        details
    }
}

/// What is wrong, in words; what does not fit is counted.
fn summary(violations: &[Violation]) -> String {
    let said: Vec<String> = violations
        .iter()
        .map(|Violation { field, why }| format!("{}: {}", cut(field), cut(why)))
        .collect();
    let (listed, more) = fitting(&said, TOLD, |text| in_header(text) + "; ".len());
    let listed = listed.join("; ");
    if more == 0 { listed } else { format!("{listed}; and {more} more") }
}

/// What a violation takes in the details beside its words.
const FRAME: usize = 8;

/// The first of `all` that have room, and how many are left; the first has room in any case.
fn fitting<T>(all: &[T], room: usize, size: impl Fn(&T) -> usize) -> (&[T], usize) {
    let mut taken = 0;
    let count = all
        .iter()
        .take_while(|one| {
            taken += size(one);
            taken <= room
        })
        .count()
        .max(all.len().min(1));
    (&all[..count], all.len() - count)
}

/// The beginning of a text, as much as is said of one thing.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ONE)]
}

/// How many bytes a text takes in `grpc-message`, which percent-encodes what is not printable ASCII.
fn in_header(text: &str) -> usize {
    text.bytes().map(|b| if matches!(b, b' '..=b'~') && b != b'%' { 1 } else { 3 }).sum()
}

impl From<DbErr> for Error {
    /// Keeps the kind and drops the text: a database's message can hold the row it refused.
    fn from(err: DbErr) -> Self {
        match err.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => {
                Error::AlreadyExists("resource".to_owned())
            }
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                Error::internal("foreign key violated")
            }
            _ => match &err {
                DbErr::RecordNotUpdated => Error::Stale("resource".to_owned()),
                DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => {
                    Error::Unavailable("the database does not answer; try again")
                }
                DbErr::Exec(RuntimeErr::SqlxError(cause))
                | DbErr::Query(RuntimeErr::SqlxError(cause)) => driver(&cause.to_string()),
                _ => Error::internal(kind(&err)),
            },
        }
    }
}

/// Sorts what a driver says into what a caller can do about it.
fn driver(cause: &str) -> Error {
    if cause.contains("disk is full") || cause.contains("No space left") {
        return Error::Exhausted("no room left on the disk");
    }
    let crossed =
        ["database is locked", "deadlock detected", "could not serialize", "lock timeout"];
    if crossed.iter().any(|text| cause.contains(text)) {
        return Error::Crossed;
    }
    let silent = [
        "terminating connection",
        "statement timeout",
        "closed",
        "reset",
        "refused",
        "broken pipe",
        "timed out",
        "starting up",
        "shutting down",
        "expected to read",
    ];
    if silent.iter().any(|text| cause.contains(text)) {
        return Error::Unavailable("the database does not answer; try again");
    }
    // The SQLSTATE or the first words name the fault; what follows a colon or a quote can be data.
    Error::internal(cause.split([':', '"', '\'']).next().unwrap_or_default().to_owned())
}

fn kind(err: &DbErr) -> String {
    let text = format!("{err:?}");
    text.split(['(', '{']).next().unwrap_or("database error").trim().to_owned()
}

impl From<Error> for Status {
    fn from(err: Error) -> Status {
        match err {
            Error::Peer(status) => *status,
            err => {
                if let Error::Internal(cause) = &err {
                    tracing::error!(cause = %cause, "internal error");
                }
                Status::with_error_details(err.code(), err.to_string(), err.details())
            }
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Peer(Box::new(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a status takes of the trailers: its message, and its details in base64.
    fn trailers(status: &Status) -> usize {
        in_header(status.message()) + status.details().len().div_ceil(3) * 4
    }

    #[test]
    fn a_refusal_of_a_thousand_fields_fits_the_headers_of_any_client() {
        for (field, why) in [
            ("patient.names[0].given[0]".to_owned(), "is required".to_owned()),
            ("ñ".repeat(5000), "日".repeat(5000)),
        ] {
            let all = vec![Violation { field, why }; 1000];
            let status = Status::from(Error::Invalid(all));
            assert!(trailers(&status) < 7 * 1024, "{}", trailers(&status));
            let details = status.get_error_details();
            let listed = details.bad_request().unwrap().field_violations.len();
            let more: usize = details.error_info().unwrap().metadata["more"].parse().unwrap();
            assert!(listed > 0 && listed + more == 1000);
            assert!(status.message().ends_with(" more"), "{}", status.message());
        }
    }

    #[test]
    fn a_refusal_of_a_few_fields_names_them_all() {
        let one = |n| Violation { field: format!("names[{n}]"), why: "is required".to_owned() };
        let status = Status::from(Error::Invalid((0..20).map(one).collect()));
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations.len(), 20);
        assert!(status.message().ends_with("names[19]: is required"));
        assert!(!status.get_error_details().error_info().unwrap().metadata.contains_key("more"));
    }

    #[test]
    fn what_stands_in_the_way_is_listed_as_far_as_there_is_room() {
        let subjects = (0..500).map(|n| format!("cases/1/tasks/{n}")).collect();
        let message = "end the open tasks first".to_owned();
        let open = Error::Precondition { reason: "OPEN_OBLIGATIONS", message, subjects };
        assert!(trailers(&Status::from(open)) < 7 * 1024);
    }
}
