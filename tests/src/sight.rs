//! Who may see what.
pub(crate) mod ask;
pub(crate) mod contract;
pub(crate) mod coverage;
mod oracle;
mod paths;
mod roles;
mod rows;
mod tokens;
pub(crate) mod world;

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
