//! The one error a handler can return, and the one place it becomes a status.
use std::{collections::HashMap, time::Duration};

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What our functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

const DOMAIN: &str = "caseward";

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
    /// RESOURCE_EXHAUSTED: a limit, or no room on the disk.
    #[error("{0}")]
    Exhausted(&'static str),
    /// UNAVAILABLE: nothing was done; try again.
    #[error("{0}")]
    Unavailable(&'static str),
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
            Error::Unavailable(_) | Error::Unsure => Code::Unavailable,
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
            Error::Unavailable(_) => "UNAVAILABLE",
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
                for Violation { field, why } in violations {
                    details.add_bad_request_violation(field, why);
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
                for subject in subjects {
                    details.add_precondition_failure_violation(*reason, subject, message);
                }
            }
            Error::Unavailable(_) | Error::Unsure => {
                details.set_retry_info(Some(Duration::from_secs(1)));
            }
            _ => {}
        }
        details.set_error_info(self.reason(), DOMAIN, metadata);
        details
    }
}

fn summary(violations: &[Violation]) -> String {
    let fields: Vec<String> =
        violations.iter().map(|Violation { field, why }| format!("{field}: {why}")).collect();
    fields.join("; ")
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
    let passing = [
        "database is locked",
        "deadlock detected",
        "could not serialize",
        "terminating connection",
        "lock timeout",
        "statement timeout",
    ];
    let broken = [
        "closed",
        "reset",
        "refused",
        "broken pipe",
        "timed out",
        "starting up",
        "shutting down",
        "expected to read",
    ];
    if passing.iter().chain(&broken).any(|text| cause.contains(text)) {
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
