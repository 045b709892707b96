//! How long calls took.
use std::time::Duration;

/// The durations of calls, and over how long a time they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    micros: Vec<u64>,
    lasted: Duration,
}

impl Sample {
    pub(super) fn lasting(lasted: Duration) -> Self {
        Sample { micros: vec![], lasted }
    }

    pub(super) fn extend(&mut self, micros: Vec<u64>) {
        self.micros.extend(micros);
    }

    /// Adds another round.
    pub(super) fn add(&mut self, other: Sample) {
        self.micros.extend(other.micros);
        self.lasted += other.lasted;
    }

    pub(super) fn calls(&self) -> usize {
        self.micros.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_calls_did_not_exceed_the_median() {
        let mut sample = Sample::lasting(Duration::from_secs(2));
        sample.extend((1..=101).rev().collect());
        assert_eq!((sample.quantile(0.5), sample.quantile(0.99)), (51, 100));
        assert!((sample.per_second() - 50.5).abs() < 1e-9);
    }

    #[test]
    fn no_call_has_no_duration() {
        assert_eq!(Sample::default().quantile(0.99), 0);
    }
}
