//! The notification service through its clients, in process, on both databases, with a mail server of its own.
#![allow(dead_code, reason = "the rest of the tests follows")]
mod inboxes;
mod patients;
mod suite;
