//! The edge as a peer meets it: bytes on sockets, tokens from an issuer.

mod accept;
mod wire;
