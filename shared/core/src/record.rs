//! What one call saw of patients, gathered for the audit.
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use uuid::Uuid;

/// The audit record of one call, open until its answer leaves.
///
/// Resource files add to it what they read; `store` writes it with the transaction of a mutation,
/// the guard writes it otherwise.
pub struct Record {
    id: Uuid,
    method: &'static str,
    trace: String,
    patients: Mutex<BTreeSet<Uuid>>,
    rows: AtomicU32,
    settled: AtomicBool,
}

impl Record {
    /// Opens the record of a call to `method`, a gRPC path or the name of a task of ours.
    pub fn open(method: &'static str) -> Self {
        Record {
            id: Uuid::now_v7(),
            method,
            trace: String::new(),
            patients: Mutex::default(),
            rows: AtomicU32::new(0),
            settled: AtomicBool::new(false),
        }
    }

    /// Ties the record to the W3C trace context of its call.
    pub fn traced(mut self, trace: String) -> Self {
        self.trace = trace;
        self
    }

    /// The W3C trace context of the call, or nothing.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Names the record in the audit.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What was called.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Notes that a row that concerns `patient` was read or written.
    pub fn saw(&self, patient: Uuid) {
        self.rows.fetch_add(1, Relaxed);
        self.patients.lock().unwrap_or_else(PoisonError::into_inner).insert(patient);
    }

    /// The patients seen so far.
    pub fn patients(&self) -> Vec<Uuid> {
        self.patients.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// How many rows that concern patients were seen so far.
    pub fn rows(&self) -> u32 {
        self.rows.load(Relaxed)
    }

    /// Notes that the record is on the audit log, complete.
    pub fn settle(&self) {
        self.settled.store(true, Relaxed);
    }

    /// Whether the record is on the audit log, complete.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Relaxed)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.id).field("method", &self.method).finish()
    }
}
