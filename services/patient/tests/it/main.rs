//! The patient service through its client, in process, on every database of this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod access;
mod audit;
mod caregiver;
mod consent;
mod disclosure;
mod emergency;
mod load;
mod record;
mod relation;
mod world;
