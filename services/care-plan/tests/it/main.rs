//! The care-plan service through its clients, in process, on every database of this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod accountability;
mod assessment;
mod caregiver;
mod case;
mod delivery;
mod evaluation;
mod history;
mod ingest;
mod ledger;
mod machine;
mod machines;
mod mistake;
mod note;
mod participation;
mod plan;
mod problem;
mod task;
mod team;
mod walk;
mod watch;
mod world;
