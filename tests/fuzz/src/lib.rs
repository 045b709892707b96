//! What every input of a target is held to: 100 ms of the processor, and 64 MiB beyond what was there before.
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use cpu_time::ThreadTime;
pub use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The longest that one input may take, sanitizer and all.
const TIME: Duration = Duration::from_millis(100);

/// The most bytes that one input may take.
const BYTES: usize = 64 << 20;

/// Gives `input` to `target` within its bounds. Past them it panics, and libFuzzer keeps the input.
pub fn bounded(target: impl Fn(&[u8]), input: &[u8]) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = ThreadTime::now();
    target(input);
    let (took, most) = (begun.elapsed(), MEMORY.peak_usage().saturating_sub(before));
    assert!(most <= BYTES, "{most} bytes for one input");
    // What is made once is made for one of the first.
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let warm = SEEN.fetch_update(Relaxed, Relaxed, |seen| (seen < 100).then_some(seen + 1)).is_err();
    assert!(!warm || took <= TIME, "{took:?} for one input");
}

/// The binary of one target.
#[macro_export]
macro_rules! target {
    ($target:path) => {
        $crate::fuzz_target!(|input: &[u8]| $crate::bounded($target, input));
    };
}
