//! The front door before a peer in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in what its tests share")]

mod about;
mod grpc;
mod peer;
mod rest;
mod wire;
