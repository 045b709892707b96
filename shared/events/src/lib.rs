//! How services hear of each other: events relayed from the outbox to consumers, and timers that come due.
//!
//! What is promised: every committed event has one effect per consumer, in order per aggregate. The record is
//! the producer's outbox and the consumer's inbox; a bus only carries.
mod backoff;
mod bus;
mod consumer;
mod event;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod jetstream;
mod lease;
pub mod local;
mod relay;
mod settle;
mod subscription;
mod sweeper;
mod timers;
pub mod trace;

pub use bus::Bus;
pub use consumer::Consumer;
pub use event::Event;
pub use relay::Relay;
pub use settle::Settle;
pub use subscription::Subscription;
pub use sweeper::Sweeper;
pub use timers::{Handler, Timer, Timers};
