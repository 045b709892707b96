//! The report of an import as a person reads it.
use caseward_fhir::{Counts, Report};

/// How many failures are printed; `--json` has all of them.
const SHOWN: usize = 50;

/// Prints one line for each resource type, and what was not taken or is odd.
pub(super) fn print(report: &Report) {
    let name = report.resources.keys().map(|name| name.len()).max().unwrap_or(0).max(8);
    println!(
        "{:name$} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "created", "updated", "unchanged", "ignored", "failed"
    );
    let total = report.total();
    let lines = report.resources.iter().map(|(kind, counts)| (&**kind, counts));
    for (kind, counts) in lines.chain([("in all", &total)]) {
        let Counts { created, updated, unchanged, ignored, failed } = counts;
        println!("{kind:name$} {created:>9} {updated:>9} {unchanged:>9} {ignored:>9} {failed:>9}");
    }
    for warning in &report.warnings {
        println!(
            "odd, {} times: {} {} (first in {} {})",
            warning.count, warning.path, warning.reason, warning.file, warning.entry
        );
    }
    if !report.skipped.is_empty() {
        println!("{} files hold something else by their names", report.skipped.len());
    }
    for failure in report.failures.iter().take(SHOWN) {
        let place = [&*failure.file, &failure.entry, &failure.path];
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        println!("not taken: {}: {}", place.join(" "), failure.reason);
    }
    if report.failures.len() > SHOWN {
        println!("and {} more; --json names them all", report.failures.len() - SHOWN);
    }
}
