//! How long calls took.
use std::time::Duration;

/// The durations of calls, and over how long a time they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    micros: Vec<u64>,
    /// The calls of the warm-up included.
    all: usize,
    lasted: Duration,
}

impl Sample {
    /// Adds the calls of one caller: the durations of those measured, and how many it made in all.
    pub(super) fn extend(&mut self, micros: Vec<u64>, all: usize) {
        self.micros.extend(micros);
        self.all += all;
    }

    /// Says over how long a time the calls were measured.
    pub(super) fn lasted(&mut self, lasted: Duration) {
        self.lasted = lasted;
    }

    /// Adds another round.
    pub(super) fn add(&mut self, other: Sample) {
        self.micros.extend(other.micros);
        self.all += other.all;
        self.lasted += other.lasted;
    }

    /// The calls of the warm-up included.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    pub(super) fn per_second(&self) -> f64 {
        let seconds = self.lasted.as_secs_f64();
        if seconds > 0.0 { self.micros.len() as f64 / seconds } else { 0.0 }
    }

    /// The duration that a share of the calls did not exceed; 0 where there were none.
    pub(super) fn quantile(&mut self, share: f64) -> u64 {
        self.micros.sort_unstable();
        let last = self.micros.len().saturating_sub(1);
        self.micros.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    }
}

/// The middle one of `values`; 0 where there are none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_calls_did_not_exceed_the_median() {
        let mut sample = Sample::default();
        sample.extend((1..=101).rev().collect(), 120);
        sample.lasted(Duration::from_secs(2));
        assert_eq!((sample.quantile(0.5), sample.quantile(0.99)), (51, 100));
        assert!((sample.per_second() - 50.5).abs() < 1e-9);
        assert_eq!(sample.all(), 120);
    }

    #[test]
    fn no_call_has_no_duration() {
        assert_eq!(Sample::default().quantile(0.99), 0);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
