//! What the suite does under stress.
mod amplify;
mod arrivals;
mod clock;
mod flood;
mod full;
mod late;
mod others;
mod over;
mod parts;
mod restart;
mod rude;
mod size;
mod slow;

pub(crate) use others::patient;

use crate::Entry;

/// The trials under stress.
pub const ENTRIES: &[Entry] = &[
    Entry::new(
        "P19.a",
        "calls with deadlines from 100 ms to 2 s while the service that they need is frozen",
        "2,000 calls answered 50 ms after their deadline at p99.9, 200 ms at worst",
        |run| Box::pin(async move { late::frozen(&run).await }),
    ),
    Entry::new(
        "P19.b",
        "deadlines in every odd spelling, at every port",
        "every form at every port: kept, or refused as malformed",
        |run| Box::pin(async move { late::odd(&run).await }),
    ),
    Entry::new(
        "P19.c",
        "readers who take nothing, and writers whose message never ends",
        "200 of each ended within their limit and a second, memory flat",
        |run| Box::pin(async move { late::drops(&run).await }),
    ),
    Entry::new(
        "P20.a",
        "1, 2, 5 and 10 times as many calls as one core serves at its peak, none of which waits for another",
        "90 % of the peak served at twice, 80 at five and ten times, the rest turned away with a time to come back, health never, memory flat",
        |run| Box::pin(async move { over::load(&run).await }),
    ),
    Entry::new(
        "P20.c",
        "the directory says UNAVAILABLE to all calls and to half of them, hangs up on callers, and is well again",
        "a minute of each: asked at most 1.1 times for each call",
        |run| Box::pin(async move { amplify::calls(&run).await }),
    ),
    Entry::new(
        "P20.f",
        "twice as many calls as one core serves, beside one caller who leaves after 10 ms and calls again, so as to bring three times as many",
        "80 % of the peak served to the others, health never shed, memory flat",
        |run| Box::pin(async move { over::impatience(&run).await }),
    ),
    Entry::new(
        "P21.a",
        "the directory dead, frozen, half open, its database slow or stalled, the bus gone or stalled",
        "others at most half as slow again, told within 15 s, well 10 s after",
        |run| Box::pin(async move { parts::one(&run).await }),
    ),
    Entry::new(
        "P22.a",
        "each process of two replicas ended and started in turn, clients send again what was UNAVAILABLE",
        "100 restarts, no call failed",
        |run| Box::pin(async move { restart::rolling(&run).await }),
    ),
    Entry::new(
        "P22.b",
        "a process ends while 400 rude clients hold it: silent, half, idle, watching, taking nothing",
        "40 of 40 within 15 s",
        |run| Box::pin(async move { restart::rude(&run).await }),
    ),
    Entry::new(
        "P22.c",
        "a process is told to end while it starts or brings its schema up to date",
        "40 of 40 within 15 s, the next start clean",
        |run| Box::pin(async move { restart::at_start(&run).await }),
    ),
    Entry::new(
        "P23.b",
        "floods of frames that HTTP/2 allows or forbids, by four attackers at a time, beside good callers",
        "each kind for 20 s on every port: told to go or borne, 64 MiB more at most, others at most twice as slow",
        |run| Box::pin(async move { flood::frames(&run).await }),
    ),
    Entry::new(
        "P23.c",
        "more connections than a listener takes that are silent, half or as slow as a byte a second, beside newcomers",
        "520 of each kind five times over: closed in time, every newcomer served",
        |run| Box::pin(async move { slow::connections(&run).await }),
    ),
    Entry::new(
        "P23.d",
        "messages and metadata at their limits, over them, bent and blown up, to every method",
        "every method, refused as the caller's fault, memory flat",
        |run| Box::pin(async move { size::messages(&run).await }),
    ),
    Entry::new(
        "P24.a",
        "the disk of a database fills up, and there is room again",
        "10 times: refused, nothing acknowledged lost, back within 30 s",
        |run| Box::pin(async move { full::disk(&run).await }),
    ),
    Entry::new(
        "P24.b",
        "200 connections to a process with 20 file handles left",
        "20 times: no spin, who is connected goes on, newcomers again within 5 s",
        |run| Box::pin(async move { full::handles(&run).await }),
    ),
    Entry::new(
        "P24.c",
        "the machine's clock jumps by up to a year, there and back, under changes; killed a year ahead; one process's is 25 s off",
        "16 jumps ten times over in each shape: no change fails or is lost, no token counts that should not, no storm; who is let in or go is so within 5 s",
        |run| Box::pin(async move { clock::jumps(&run).await }),
    ),
];
