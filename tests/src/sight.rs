//! Who may see what.
pub(crate) mod ask;
pub(crate) mod contract;
pub(crate) mod coverage;
mod fill;
mod leaks;
mod log;
mod marks;
mod masks;
mod oracle;
mod pages;
mod paths;
pub(crate) mod revoked;
mod roles;
mod rows;
mod sinks;
mod tokens;
pub(crate) mod world;
mod worlds;

use crate::Entry;

/// The trials of who may see what.
pub const ENTRIES: &[Entry] = &[
    Entry::new(
        "P8.a",
        "every method on every port: nobody, no role, another tenant, a stranger, the wrong port",
        "every method five times over on every port",
        |run| Box::pin(async move { coverage::every_port(&run).await }),
    ),
    Entry::new(
        "P8.b",
        "every role calls every method; the guard's answers against the reviewed table",
        "every cell, none differs",
        |run| Box::pin(async move { roles::matrix(&run).await }),
    ),
    Entry::new(
        "P8.c",
        "odd spellings of every path, over HTTP/2 and HTTP/1.1, each carrying a change that would show",
        "200 forms of every path, no handler reached",
        |run| Box::pin(async move { paths::odd_paths(&run).await }),
    ),
    Entry::new(
        "P8.d",
        "headers that only a gateway of ours could set, from outside and at each service",
        "every header in five spellings, no answer changed",
        |run| Box::pin(async move { paths::forged_headers(&run).await }),
    ),
    Entry::new(
        "P9.a",
        "random relations, filters, pages and orders against a naive evaluator",
        "200,000 answers per store, none differs",
        |run| Box::pin(async move { oracle::lists(&run).await }),
    ),
    Entry::new(
        "P9.b",
        "pairs of organizations that differ in what a caller does not see; what each tells that caller, byte by byte",
        "10,000 pairs, 50 answers each, none differs",
        |run| Box::pin(async move { worlds::look_alike(&run).await }),
    ),
    Entry::new(
        "P9.d",
        "every filter by every value, asked by caregivers who do not see every field; what other systems filter by",
        "20,000 answers, none tells what is not shown",
        |run| Box::pin(async move { masks::filters(&run).await }),
    ),
    Entry::new(
        "P9.e",
        "page tokens of other callers, lists, parents and queries; cut, flipped, guessed, made up",
        "10,000 in each shape, none taken",
        |run| Box::pin(async move { pages::stray_tokens(&run).await }),
    ),
    Entry::new(
        "P9.f",
        "every field that is not a caller's to set: in bodies, in masks; names of what the caller does not see",
        "5,000 in each shape, none set, moved or told",
        |run| Box::pin(async move { masks::mass_assignment(&run).await }),
    ),
    Entry::new(
        "P11.a",
        "members leave and caregivers lose their scope, while others work; each service is asked every 20 ms",
        "1,000 in each shape, refused everywhere within 5 s",
        |run| Box::pin(async move { revoked::relations(&run).await }),
    ),
    Entry::new(
        "P12.a",
        "kill -9 of any process, of PostgreSQL or of the bus, while 16 readers are told of patients or refused",
        "500 kills and 100,000 answers in each shape, none off the record",
        |run| Box::pin(async move { log::kills(&run).await }),
    ),
    Entry::new(
        "P12.b",
        "the audit log's table gone, locked or full, while readers ask",
        "60 s of each in each shape, nothing of a patient told, well 30 s after",
        |run| Box::pin(async move { log::faults(&run).await }),
    ),
    Entry::new(
        "P13.a",
        "values in every field of every request, accepted and refused; looked for wherever they have no business",
        "200 values in every place and spelling, none found",
        |run| Box::pin(async move { leaks::nowhere(&run).await }),
    ),
    Entry::new(
        "P16.a",
        "tokens that are forged, bent, stale or for somebody else, at every service",
        "every form at every service refused alike",
        |run| Box::pin(async move { tokens::forms(&run).await }),
    ),
    Entry::new(
        "P16.b",
        "tokens of keys that nobody knows, beside callers with good ones",
        "1,000 unknown keys, at most one question to the provider in 10 s",
        |run| Box::pin(async move { tokens::unknown_keys(&run).await }),
    ),
    Entry::new(
        "P16.c",
        "signing keys that rotate under load",
        "100 rotations, no failed call, no retired key accepted",
        |run| Box::pin(async move { tokens::rotation(&run).await }),
    ),
];
