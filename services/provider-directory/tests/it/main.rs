//! The provider directory through its client, in process, on both databases.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]
mod load;
mod records;
mod searches;
mod suite;
