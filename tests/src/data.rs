//! What becomes of data.
mod atomic;
mod deeds;
mod flow;
mod kill;
mod leave;
pub(crate) mod load;
mod lost_update;
mod pages;
mod points;
mod power;
mod repeat;

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
        "P1.b",
        "a process is killed as it enters one of its next calls to disk, database, bus or caller, in one change per try",
        "300 tries in each shape, none lost, none doubled",
        |run| Box::pin(async move { points::named(&run).await }),
    ),
    Entry::new(
        "P2.a",
        "callers reset their streams at any moment of every change that the contracts know, at each service's port",
        "10,000 calls in each shape, no connection left in a transaction, nothing lost or half done",
        |run| Box::pin(async move { leave::resets(&run).await }),
    ),
    Entry::new(
        "P2.b",
        "callers give every change that the contracts know a deadline within 1.5 times its slowest, through the gateway",
        "10,000 calls in each shape, no connection left in a transaction, nothing lost or half done",
        |run| Box::pin(async move { leave::deadlines(&run).await }),
    ),
    Entry::new(
        "P3.a",
        "the power is cut at any moment of a load of creates, under every database of one process on SQLite",
        "100 cuts, none lost, none doubled, files whole, audit log verified",
        |run| Box::pin(async move { power::sqlite(&run).await }),
    ),
    Entry::new(
        "P3.b",
        "the power is cut at any moment of a load of creates, under the PostgreSQL of a cluster",
        "100 cuts, none lost, none doubled, audit log verified",
        |run| Box::pin(async move { power::postgres(&run).await }),
    ),
    Entry::new(
        "P4.a",
        "one request id from five clients at once to two replicas, a kill between for a fifth of them",
        "10,000 keys in each shape, none with two effects, all answers alike",
        |run| Box::pin(async move { repeat::race(&run).await }),
    ),
    Entry::new(
        "P4.b",
        "a request id again with another body, caller, tenant, method, and after 25 hours",
        "1,000 of each in each shape, none given another's answer",
        |run| Box::pin(async move { repeat::misuse(&run).await }),
    ),
    Entry::new(
        "P4.c",
        "the answer to a write is taken away by a proxy for a third of them, and it is sent again",
        "20,000 writes in each shape, none with two effects",
        |run| Box::pin(async move { repeat::lost_answers(&run).await }),
    ),
    Entry::new(
        "P5.a",
        "clients race to read, change and write the same records",
        "200,000 attempts in each shape, none lost",
        |run| Box::pin(async move { lost_update::etags(&run).await }),
    ),
    Entry::new(
        "P5.c",
        "walkers read lists page by page while writers add records, move them within the list, take them away",
        "50,000 pages in each shape, each record that stays is seen once",
        |run| Box::pin(async move { pages::turned(&run).await }),
    ),
    Entry::new(
        "P6",
        "after kills in a load of creates, every row is held against its event, transition, reply and audit entry",
        "1,000,000 rows, none without its partners",
        |run| Box::pin(async move { atomic::set(&run).await }),
    ),
    Entry::new(
        "P7.a",
        "relays, consumers and the bus are killed at any moment of a load of events",
        "100,000 events of 500 aggregates in each shape, each with one effect, in order",
        |run| Box::pin(async move { flow::restarts(&run).await }),
    ),
    Entry::new(
        "P7.b",
        "events are published again, and copied on the bus under other message ids",
        "100,000 events in each shape, each five times over, with one effect, in order",
        |run| Box::pin(async move { flow::duplicates(&run).await }),
    ),
    Entry::new(
        "P7.d",
        "events whose handler fails or panics until it is mended",
        "20,000 events in each shape, only those behind a poisoned one wait, and come in order",
        |run| Box::pin(async move { flow::poison(&run).await }),
    ),
    Entry::new(
        "P7.e",
        "two transactions, of which the first commits after the second",
        "1,000 pairs on PostgreSQL, each event has its effect",
        |run| Box::pin(async move { flow::late_commits(&run).await }),
    ),
];
