//! What the bus, the relay, the consumers and the timers promise, on each database and each bus there is.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]

mod effect;
mod events;
mod faults;
mod timers;
mod world;
