//! The notification service through its clients, in process, on both databases, with a mail server of its own.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]
mod channels;
mod delivery;
mod events;
mod inboxes;
mod patients;
mod suite;
mod teams;
mod templates;
