//! What every process of Caseward is made of: settings, the guard before each call, peers, health, a life.
pub mod accept;
mod access_log;
mod clock;
pub mod deadline;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod health;
mod identity;
mod lasting;
mod life;
pub mod policy;
mod probes;
mod process;
pub mod relation;
pub mod settings;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod transport;

pub use access_log::AccessLogs;
pub use guard::Guard;
pub use identity::OwnPeer;
pub use life::Life;
pub use process::{LOCAL_ORGANIZATION, Process, Service, main};
pub use transport::Transport;

/// That of every process, and not of SQLite: in the place of the C library's it would be given back what the loader took,
/// and end a process into which something is preloaded. A unit test has it from the crate as others use it; under a
/// sanitizer it would hide what that looks for.
#[cfg(not(any(test, feature = "fuzz")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
