//! What one listener grants its connections.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Limits of a listener; times are settings in seconds, fractions allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time; more wait. Of the last eighth each newcomer sends away whoever was quiet longest: first
    /// who never called, then who has no call open, then who has only streams. Stays below half of the 1,024 file
    /// handles most systems grant, since a call may need one of its own.
    pub connections: usize,
    /// For the TLS handshake, and again for the first bytes after it: a silent peer holds a slot no longer.
    #[serde(rename = "handshake_seconds", deserialize_with = "seconds")]
    pub handshake: Duration,
    /// For the head of an HTTP/1.1 request, the wait for the next one on the same connection included (hyper
    /// counts both together).
    #[serde(rename = "http1_head_seconds", deserialize_with = "seconds")]
    pub http1_head: Duration,
    /// A connection without a call for this long is told to go.
    #[serde(rename = "idle_seconds", deserialize_with = "seconds")]
    pub idle: Duration,
    /// A connection older than this ± 10 % is told to go, so that load spreads over new replicas and a revoked
    /// client certificate ends.
    #[serde(rename = "age_seconds", deserialize_with = "seconds")]
    pub age: Duration,
    /// What calls in flight get after GOAWAY before the connection is cut.
    #[serde(rename = "grace_seconds", deserialize_with = "seconds")]
    pub grace: Duration,
    /// A stream of HTTP/2 whose reader takes nothing for this long is reset.
    #[serde(rename = "stalled_seconds", deserialize_with = "seconds")]
    pub stalled: Duration,
    /// What all connections together get once the process stops; the process's own `drain_seconds`.
    #[serde(skip)]
    pub drain: Duration,
    /// HTTP/2 PING interval: finds the peer whose machine died without a FIN.
    #[serde(rename = "keepalive_seconds", deserialize_with = "seconds")]
    pub keepalive: Duration,
    /// For the answer to that PING.
    #[serde(rename = "keepalive_answer_seconds", deserialize_with = "seconds")]
    pub keepalive_answer: Duration,
    /// HTTP/2 streams open at a time on one connection.
    pub streams: u32,
    /// Resets the peer may provoke on one connection (CVE-2025-8671, "MadeYouReset").
    pub local_error_resets: usize,
    /// Resets the peer may send before a stream is accepted (CVE-2023-44487, "rapid reset").
    pub pending_accept_resets: usize,
    /// All headers of a request together.
    pub header_list_bytes: u32,
    /// Unread body bytes a stream may hold.
    pub stream_window_bytes: u32,
    /// Unread body bytes a connection may hold.
    pub connection_window_bytes: u32,
    /// Bytes of an answer that a stream may hold for its reader.
    pub send_buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 500,
            handshake: Duration::from_secs(5),
            http1_head: Duration::from_secs(5),
            idle: Duration::from_secs(5 * 60),
            age: Duration::from_secs(10 * 60),
            grace: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
            drain: Duration::from_secs(15),
            keepalive: Duration::from_secs(30),
            keepalive_answer: Duration::from_secs(10),
            streams: 100,
            local_error_resets: 256,
            pending_accept_resets: 20,
            header_list_bytes: 16 << 10,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 1 << 20,
            send_buffer_bytes: 64 << 10,
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
}
