//! What tests stand on: real databases and buses, doubles of what Caseward talks to, programs that can be killed.
//!
//! A test asks for what it needs and gets it fresh. What this machine lacks is skipped in plain words, unless
//! `CASEWARD_TEST_REQUIRE` names it: then the test fails, so that a CI job cannot pass by testing nothing.
//!
//! | variable | what it does |
//! |---|---|
//! | `CASEWARD_TEST_POSTGRES_URL` | makes the tests' databases on this PostgreSQL server instead of one of their own |
//! | `CASEWARD_TEST_NATS_URL` | uses this NATS server, with JetStream, instead of one of their own |
//! | `CASEWARD_TEST_SEED` | where the chances of [`fuzz`] begin, to have a failure again |
//! | `CASEWARD_TEST_INPUTS` | how many inputs each fuzz target is given by `cargo test`, instead of a few hundred; and panics P23.g |
//! | `CASEWARD_TEST_REQUIRE` | what must be there, separated by commas: `postgres`, `nats`, `data` |
//! | `CASEWARD_TEST_BINARIES` | the folder of the suite's binaries; without it they are built |
//! | `CASEWARD_TEST_DATA` | where the public data sets are; by default `../shared/data` beside the project |
//!
//! # Judging a deployment
//!
//! Six pieces make a trial, and each stands alone, so that an operator can judge a build before it goes live:
//!
//! - [`Suite`] starts the real binaries in either shape, from a [`Plan`]: settings, replicas, a PostgreSQL server of its
//!   own, proxies. A [`Member`] is stopped, killed, paused and resumed; [`Suite::victims`] lists all that can be killed.
//! - [`Proxy`] stands on a [`Link`] and does what networks do: latency, stall, half-open, reset, slices, limit.
//! - [`Disk`] loses what was not flushed, as in a power cut; [`Plan`] puts the data, or its PostgreSQL, on one.
//! - [`wire`] speaks HTTP/2 by hand: floods, halves, and what no client library would send.
//! - [`History`] writes down what clients are about to do and what they were told: done, refused, or unknown.
//! - [`history::judge`] holds that against what is there, read through the API and straight from the database.
//!
//! ```no_run
//! # async fn shown() -> anyhow::Result<()> {
//! use caseward_testkit::{History, Suite, Toxic, Way, Link, history};
//! let mut chances = fastrand::Rng::with_seed(7);
//! let mut suite = Suite::plan().own_postgres().proxied().cluster().await.expect("PostgreSQL and NATS");
//! let history = History::create("history.jsonl".as_ref(), 7)?;
//! let call = history.begin("client 1", "CreatePatient", "key 1");
//! // … the call itself, and `call.end(&Outcome::of(&answer, …))` …
//! # drop(call);
//! suite.proxy(Link::Database("patient")).set(Way::Back, Toxic::Stall);
//! let victim = chances.choice(suite.victims()).expect("something to kill");
//! suite.kill(victim, &mut chances).await;
//! suite.restart(victim).await;
//! suite.ready().await;
//! let wrong = history::judge(&history.intents()?, &Default::default());
//! # Ok(()) }
//! ```
//!
//! # What a machine must have
//!
//! Without the first two variables, `postgres`, `initdb` and `nats-server` are looked for on `PATH`.
mod cores;
mod data;
mod database;
mod disk;
pub mod fuzz;
pub mod history;
mod nats;
mod oidc;
mod otlp;
mod postgres;
mod program;
mod proxy;
mod smtp;
mod suite;
pub mod wire;

pub use cores::OnCores;
pub use data::data;
pub use database::{Database, databases};
pub use disk::Disk;
pub use history::{History, Outcome};
pub use nats::{Nats, nats};
pub use oidc::Provider;
pub use otlp::{Collector, Telemetry};
pub use postgres::Postgres;
pub use program::Program;
pub use proxy::{Proxy, Toxic, Way};
pub use smtp::{Answer, Mail, Smtp};
pub use suite::{Caller, Desk, Link, Member, Plan, START, Suite, Victim, suites};

/// Reads a variable that steers tests; one that is empty is not set.
fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests have no settings but these")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the chances of a test begin: `CASEWARD_TEST_SEED`, or a number of its own.
fn seed() -> u64 {
    let given = variable("CASEWARD_TEST_SEED").and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..1 << 32))
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
