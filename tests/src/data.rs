//! What becomes of data.
mod kill;
mod load;
mod lost_update;

use crate::Entry;

/// The trials of data.
pub const ENTRIES: &[Entry] = &[
    Entry::new(
        "P1.a",
        "kill -9 of any process, of PostgreSQL or of the bus, at any moment of a load of creates",
        "500 kills in each shape, none lost, none doubled",
        |run| Box::pin(async move { kill::random(&run).await }),
    ),
    Entry::new(
        "P5.a",
        "clients race to read, change and write the same records",
        "200,000 attempts in each shape, none lost",
        |run| Box::pin(async move { lost_update::etags(&run).await }),
    ),
];
