//! The vocabulary of Caseward: who asks, what went wrong, how things are named, what time it is.
pub mod check;
mod clock;
mod confidential;
pub mod consent;
mod ctx;
pub mod data;
mod error;
mod id;
mod machine;
mod page;
mod record;
mod time;

pub use check::Violations;
pub use clock::Clock;
pub use confidential::Confidential;
pub use ctx::{Caller, Ctx, Purpose, Reach, SUPERVISOR};
pub use error::{Error, Result, Violation};
pub use id::{Id, Kind, Name};
pub use machine::Machine;
pub use page::{Page, weight};
pub use record::Record;
pub use time::Time;
