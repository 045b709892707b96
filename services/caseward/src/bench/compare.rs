//! Subjects called in turn, so that what slows the machine slows all alike.
use super::{
    Bench,
    load::Target,
    part::Part,
    report::Line,
    sample::{Sample, median},
};

/// What is called, and the process that answers.
pub(super) struct Subject<'p> {
    what: String,
    target: Target,
    part: &'p Part,
}

/// What was found about one subject.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) line: Line,
    /// The throughput of each round.
    rates: Vec<f64>,
}

impl<'p> Subject<'p> {
    pub(super) fn new(what: impl Into<String>, target: Target, part: &'p Part) -> Self {
        Subject { what: what.into(), target, part }
    }
}

impl Found {
    /// The throughput as a share of `other`'s: the median over the rounds.
    pub(super) fn of(&self, other: &Found) -> f64 {
        let pairs = self.rates.iter().zip(&other.rates);
        median(pairs.filter(|(_, other)| **other > 0.0).map(|(one, other)| one / other).collect())
    }
}

/// Calls each of `subjects` from `callers` at a time, in every round.
pub(super) async fn compare(
    bench: &Bench,
    callers: usize,
    subjects: &[Subject<'_>],
) -> anyhow::Result<Vec<Found>> {
    struct Sum {
        sample: Sample,
        cpu_micros: f64,
        rates: Vec<f64>,
    }
    let mut sums: Vec<Sum> = subjects
        .iter()
        .map(|_| Sum { sample: Sample::default(), cpu_micros: 0.0, rates: vec![] })
        .collect();
    for round in 1..=bench.rounds {
        for (subject, sum) in subjects.iter().zip(&mut sums) {
            bench.says(&format!("{}, {callers} callers, round {round}", subject.what));
            let before = subject.part.usage().cpu;
            let sample = subject.target.load(callers, bench.slice).await?;
            sum.cpu_micros += (subject.part.usage().cpu - before).as_micros() as f64;
            sum.rates.push(sample.per_second());
            sum.sample.add(sample);
        }
    }
    let mut found: Vec<Found> = vec![];
    for (subject, mut sum) in subjects.iter().zip(sums) {
        let line = Line {
            what: subject.what.clone(),
            callers,
            per_second: sum.sample.per_second(),
            p50_micros: sum.sample.quantile(0.5),
            p99_micros: sum.sample.quantile(0.99),
            cpu_micros: sum.cpu_micros / sum.sample.all().max(1) as f64,
            peak_mib: subject.part.usage().peak_mib,
            ratio: 1.0,
        };
        found.push(Found { line, rates: sum.rates });
        if let [first, .., last] = &found[..] {
            let ratio = last.of(first);
            if let Some(last) = found.last_mut() {
                last.line.ratio = ratio;
            }
        }
    }
    Ok(found)
}
