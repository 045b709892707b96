//! How long to wait before the next try.
use std::time::Duration;

use uuid::Uuid;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The wait after `failures` failures in a row: doubled each time up to a few seconds, and spread over the
/// upper half so that those who failed together do not come back together.
pub(crate) fn after(failures: u32) -> Duration {
    let whole = LONGEST.min(FIRST * (1 << failures.saturating_sub(1).min(10)));
    // The last byte of a version 7 id is random.
    let spread = u32::from(Uuid::now_v7().as_bytes()[15]);
    whole / 2 + whole / 2 * spread / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        assert!(after(1) <= FIRST);
        assert!(after(4) >= FIRST * 4);
        assert!((LONGEST / 2..=LONGEST).contains(&after(u32::MAX)));
    }
}
