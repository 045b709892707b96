//! What the import withstands. Called by `tests/fuzz`, and here by a few inputs.
use std::{
    convert::Infallible,
    fs,
    future::Future,
    io::Write,
    path::PathBuf,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use caseward_api::{
    careplan::v1::{CaseBundle, CaseBundleOutcome, PlanBundleOutcome},
    types::v1::{Identifier, IngestOutcome, Violation, ingest_outcome::Action},
};
use flate2::{Compression, write::GzEncoder};
use prost::Message;

use crate::{Batch, Reading, Report, Sink, coverage, import, import_nppes};

/// The largest request that is sent.
const REQUEST: usize = 2 << 20;

/// Services that take, refuse and forget as a number tells them to, and check what they are sent.
struct Moody {
    state: u64,
    done: usize,
}

impl Moody {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state >> 33
    }

    fn outcome(&mut self) -> IngestOutcome {
        let n = self.next();
        let action = match n % 8 {
            0 => Action::Failed,
            1 => Action::Updated,
            2 => Action::Unchanged,
            3 => Action::Unspecified,
            _ => Action::Created,
        };
        let violation = Violation {
            field: "one.names[0].family".to_owned(),
            description: "is refused".to_owned(),
        };
        IngestOutcome {
            action: action.into(),
            name: format!("things/{n}"),
            violations: if action == Action::Failed && n.is_multiple_of(16) {
                vec![violation]
            } else {
                vec![]
            },
            ..IngestOutcome::default()
        }
    }

    /// One for each of `wanted`; now and then one is missing.
    fn outcomes(&mut self, wanted: usize) -> Vec<IngestOutcome> {
        let given = if self.next().is_multiple_of(16) { wanted.saturating_sub(1) } else { wanted };
        (0..given).map(|_| self.outcome()).collect()
    }

    fn batch<P: Message>(&mut self, members: &[P], most: usize) -> Vec<IngestOutcome> {
        let bytes: usize = members.iter().map(Message::encoded_len).sum();
        assert!((1..=most).contains(&members.len()), "a batch of {}", members.len());
        assert!(members.len() == 1 || bytes <= REQUEST, "a batch of {bytes} bytes");
        self.outcomes(members.len())
    }
}

impl Sink for Moody {
    type Error = Infallible;

    async fn ingest(&mut self, batch: Batch) -> Result<Vec<IngestOutcome>, Infallible> {
        Ok(match batch {
            Batch::Organizations(all) => self.batch(&all, 200),
            Batch::Locations(all) => self.batch(&all, 200),
            Batch::Practitioners(all) => self.batch(&all, 200),
            Batch::HealthcareServices(all) => self.batch(&all, 200),
            Batch::PractitionerRoles(all) => self.batch(&all, 200),
            Batch::InsurancePlans(all) => self.batch(&all, 200),
            Batch::Patients(all) => self.batch(&all, 200),
            Batch::RelatedPersons(all) => self.batch(&all, 200),
            Batch::Coverages(all) => self.batch(&all, 200),
            Batch::Consents(all) => self.batch(&all, 200),
            Batch::Questionnaires(all) => self.batch(&all, 50),
            Batch::Problems(all) => self.batch(&all, 200),
        })
    }

    async fn ingest_cases(
        &mut self,
        bundles: Vec<CaseBundle>,
    ) -> Result<Vec<CaseBundleOutcome>, Infallible> {
        self.batch(&bundles, 50);
        let outcomes = bundles.iter().map(|bundle| {
            let plans = bundle.plans.iter().map(|plan| PlanBundleOutcome {
                care_plan: (!self.next().is_multiple_of(8)).then(|| self.outcome()),
                goals: self.outcomes(plan.goals.len()),
                activities: self.outcomes(plan.activities.len()),
            });
            let plans = plans.collect();
            CaseBundleOutcome {
                case: (!self.next().is_multiple_of(8)).then(|| self.outcome()),
                members: self.outcomes(bundle.members.len()),
                problems: self.outcomes(bundle.problems.len()),
                plans,
            }
        });
        Ok(outcomes.collect())
    }

    async fn find(
        &mut self,
        _: &str,
        identifier: &Identifier,
    ) -> Result<Option<String>, Infallible> {
        assert!(!identifier.value.is_empty(), "nothing is looked for");
        let n = self.next();
        Ok(n.is_multiple_of(2).then(|| format!("things/{n}")))
    }

    fn progress(&mut self, done: usize, of: usize) {
        assert_eq!(done, self.done + 1, "each is done once");
        assert!(of == 0 || done <= of);
        self.done = done;
    }
}

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("caseward-fuzz-import-{}", std::process::id()))
});

/// Every entry of a file meets one end: created, updated, unchanged, ignored or failed.
///
/// The first byte of an input says whether the rest is packed first, whether the source has a name, and how the
/// services feel; the rest is a file.
pub fn bundle(input: &[u8]) {
    let Some((mood, content)) = input.split_first() else { return };
    if mood & 1 == 1 {
        let mut packed = GzEncoder::new(vec![], Compression::fast());
        packed.write_all(content).expect("memory takes all");
        fs::write(&*FILE, packed.finish().expect("and its end")).expect("a file");
    } else {
        fs::write(&*FILE, content).expect("a file");
    }
    let mut reading = Reading::default();
    reading.take(&FILE);
    let within = coverage::contained(&reading.entries).len() as u64;
    let read = reading.entries.len() as u64 + within + reading.others.values().sum::<u64>();
    let unread = reading.failures.len();
    let source = if mood & 2 == 2 { "clinic" } else { "" };
    let mut report = Report::default();
    let Ok(()) = now(import(reading, source, &mut moody(mood >> 2), &mut report));
    let total = report.total();
    let met = total.created + total.updated + total.unchanged + total.ignored + total.failed;
    assert_eq!(met, read, "every entry meets one end: {report:?}");
    let named = report.failures.len() - unread;
    assert!(named as u64 >= u64::from(total.failed > 0), "a failure says why");
}

/// Every row of an NPPES file meets one end. The first byte of an input says how the services feel.
pub fn nppes(input: &[u8]) {
    let Some((mood, content)) = input.split_first() else { return };
    let (mut report, mut sink) = (Report::default(), moody(*mood));
    let Ok(()) = now(import_nppes("npidata.csv", content, &mut sink, &mut report));
    let total = report.total();
    let met = total.created + total.updated + total.unchanged + total.ignored + total.failed;
    assert_eq!(met, sink.done as u64, "every row meets one end: {report:?}");
    assert!(total.failed == 0 || !report.failures.is_empty(), "a failure says why");
}

fn moody(mood: u8) -> Moody {
    Moody { state: u64::from(mood), done: 0 }
}

/// Runs a future that never waits: the sink here is memory.
fn now<F: Future + Send>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[cfg(test)]
mod tests {
    use caseward_testkit::fuzz::few;

    #[test]
    fn every_entry_of_a_file_meets_one_end() {
        few("bundle", 2000, super::bundle);
    }

    #[test]
    fn every_row_of_nppes_meets_one_end() {
        few("nppes", 2000, super::nppes);
    }
}
