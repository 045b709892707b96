//! The contracts of Caseward, generated from `/proto`: messages, clients, servers and descriptors. No logic.

/// Every file of `/proto` with its imports, options and comments, as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[allow(clippy::all, missing_debug_implementations, unreachable_pub, reason = "generated code is judged by its generator")]
mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

pub use contracts::{
    caseward::{access, patient, r#type as types},
    google,
};
