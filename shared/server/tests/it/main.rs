//! The edge as a peer meets it: bytes on sockets, tokens from an issuer.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]

mod accept;
mod authority;
mod guard;
mod inbox;
mod record;
mod settings;
mod token;
mod transport;
