//! The real input: every file is read and imported, and what became of it is counted.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod import;
mod memory;
mod nppes;
mod read;
