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
    /// How many rows the audit log knows of, plus one; 0 while it knows nothing.
    settled: AtomicU32,
    reached: AtomicBool,
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
            settled: AtomicU32::new(0),
            reached: AtomicBool::new(false),
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

    /// Notes that the request came to its handler, decoded.
    pub(crate) fn reach(&self) {
        self.reached.store(true, Relaxed);
    }

    /// Whether a handler has seen the request.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Relaxed)
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

    /// The patients seen so far, as a table keeps them: ids, separated by spaces.
    pub fn patients_text(&self) -> String {
        let patients: Vec<String> = self.patients().iter().map(Uuid::to_string).collect();
        patients.join(" ")
    }

    /// How many rows that concern patients were seen so far.
    pub fn rows(&self) -> u32 {
        self.rows.load(Relaxed)
    }

    /// Takes back the rows beyond `rows`: they were counted by work that is about to run again.
    pub fn recount(&self, rows: u32) {
        self.rows.store(rows, Relaxed);
    }

    /// Notes that the audit log holds all that was seen so far.
    pub fn settle(&self) {
        self.settled.store(self.rows().saturating_add(1), Relaxed);
    }

    /// Whether the audit log holds the record, and nothing was seen since.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Relaxed) == self.rows().saturating_add(1)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.id).field("method", &self.method).finish()
    }
}
