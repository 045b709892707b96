//! Stories across services, and the checks that hold the house together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod audited;
mod coverage;
mod cycle;
mod data;
mod import;
mod journey;
mod layering;
mod outage;
mod rest;
mod sight;
mod stress;
mod told;
mod trace;
