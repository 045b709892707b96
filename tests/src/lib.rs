//! Trials: each tries one promise on running suites, and proves beside it that it would notice a broken one.
//!
//! The tests run every trial at the tier of a pull request; the binary `storm` runs all, or the named ones, at the
//! tier of a night, and writes what it found into `RELIABILITY.md`.
#![allow(clippy::unwrap_used, reason = "a trial that cannot go on has failed")]
pub mod data;
pub mod record;
mod run;
pub mod sight;
pub mod stress;
mod trial;

pub use run::{Run, Tier};
pub use trial::{Entry, Trial};

/// Every trial, in the order of the promises.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    data::ENTRIES.iter().chain(sight::ENTRIES).chain(stress::ENTRIES)
}

/// Runs the trial of `promise` at the tier of a pull request; fails with what it found, and how to find it again.
pub async fn holds(promise: &str) {
    let entry = entries().find(|entry| entry.promise == promise).expect("a promise that is tried");
    let run = Run::of_a_test();
    let trial = entry.run(&run).await;
    assert!(
        trial.failures.is_empty(),
        "{promise}: {} of {} tries failed:\n{}\nagain: {}",
        trial.failures.len(),
        trial.tries,
        trial.failures.join("\n"),
        entry.command(&run)
    );
    assert!(trial.tries > 0, "{promise} tried nothing");
}
