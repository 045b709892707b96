//! Tokens already verified, so that a caller's second call costs no signature check.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use caseward_core::Time;

use super::Claims;

/// A token's digest: the tokens themselves are not kept in memory.
pub(super) type Digest = [u8; 32];

pub(super) struct Cache {
    capacity: usize,
    entries: Mutex<HashMap<Digest, Entry>>,
}

struct Entry {
    generation: u64,
    claims: Arc<Claims>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    pub(super) fn digest(token: &str) -> Digest {
        let mut bytes = Digest::default();
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        bytes
    }

    /// Claims that keys of `generation` verified; whether they are still in time is for the caller to check.
    pub(super) fn get(&self, token: &Digest, generation: u64) -> Option<Arc<Claims>> {
        let entries = self.entries();
        let entry = entries.get(token).filter(|entry| entry.generation == generation)?;
        Some(entry.claims.clone())
    }

    /// Makes room by dropping what expired, else everything: refilling costs less than an order of use would.
    pub(super) fn put(&self, token: Digest, generation: u64, claims: Arc<Claims>, now: Time) {
        let mut entries = self.entries();
        if entries.len() >= self.capacity {
            entries.retain(|_, entry| entry.claims.expires > now);
        }
        if entries.len() >= self.capacity {
            entries.clear();
        }
        entries.insert(token, Entry { generation, claims });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
