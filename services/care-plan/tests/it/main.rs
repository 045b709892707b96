//! The care-plan service through its clients, in process, on every database of this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod accountability;
mod case;
mod ingest;
mod plan;
mod task;
mod world;
