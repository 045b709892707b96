//! One door to the data: reads are scoped to a caller, writes are one transaction with all that belongs to it.
//!
//! `Store::read` gives a [`Scope`], `Store::write` a [`Tx`]; there is no third way to a table. What must be
//! atomic with a change (its events, its transitions, its audit record, its reply) is gathered by the `Tx`
//! and written at commit.
#![expect(
    clippy::disallowed_methods,
    reason = "the tables of this crate are no resources; each function takes the scope that it needs"
)]
pub mod audit;
mod batch;
mod connect;
mod file;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod identifier;
pub mod inbox;
pub mod lease;
pub mod migrations;
mod moment;
pub mod outbox;
pub mod parked;
mod present;
pub mod relation;
mod replay;
mod resource;
mod scope;
mod store;
pub mod timer;
pub mod transition;
mod vitals;
mod writer;

pub use connect::Settings;
pub use relation::Basis;
pub use resource::{Resource, etag, expect, get, insert, list, page, update};
pub use scope::{Db, Scope, Tx};
pub use store::Store;
pub use transition::Transition;
pub use vitals::Vitals;
