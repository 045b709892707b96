//! What every process needs at its edge: connections, tokens, telemetry.

pub mod accept;
pub mod token;
