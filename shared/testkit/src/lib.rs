//! What tests stand on: real databases and buses, doubles of what Caseward talks to, programs that can be killed.
//!
//! A test asks for what it needs and gets it fresh. What this machine lacks is skipped in plain words, unless
//! `CASEWARD_TEST_REQUIRE` names it: then the test fails, so that a CI job cannot pass by testing nothing.
//!
//! | variable | what it does |
//! |---|---|
//! | `CASEWARD_TEST_POSTGRES_URL` | makes the tests' databases on this PostgreSQL server instead of one of their own |
//! | `CASEWARD_TEST_NATS_URL` | uses this NATS server, with JetStream, instead of one of their own |
//! | `CASEWARD_TEST_REQUIRE` | what must be there, separated by commas: `postgres`, `nats`, `data` |
//! | `CASEWARD_TEST_BINARIES` | the folder of the suite's binaries; without it they are built |
//! | `CASEWARD_TEST_DATA` | where the public data sets are; by default `../shared/data` beside the project |
//!
//! Without the first two, `postgres`, `initdb` and `nats-server` are looked for on `PATH`.
mod data;
mod database;
mod nats;
mod oidc;
mod otlp;
mod postgres;
mod program;
mod smtp;
mod suite;

pub use data::data;
pub use database::{Database, databases};
pub use nats::{Nats, nats};
pub use oidc::Provider;
pub use otlp::{Collector, Telemetry};
pub use program::Program;
pub use smtp::{Answer, Mail, Smtp};
pub use suite::{Caller, Member, Plan, START, Suite, suites};

/// Reads a variable that steers tests; one that is empty is not set.
fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests have no settings but these")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says that something is not there, or fails where it has to be.
fn missing(what: &str, why: &str) {
    let required = variable("CASEWARD_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == what),
        "{why}, but CASEWARD_TEST_REQUIRE names {what}"
    );
    eprintln!("skipped: {why}");
}
