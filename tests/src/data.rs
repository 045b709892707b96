//! What becomes of data.
mod lost_update;

use crate::Entry;

/// The trials of data.
pub const ENTRIES: &[Entry] = &[Entry::new(
    "P5.a",
    "clients race to read, change and write the same records",
    "200,000 attempts in each shape, none lost",
    |run| Box::pin(async move { lost_update::etags(&run).await }),
)];
