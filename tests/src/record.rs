//! The table of `RELIABILITY.md`: what was tried, how often, what fell, and what proves that it would have been seen.
use crate::{Entry, Run, Trial};

const HEAD: &str =
    "| promise | what is done | to reach | tries | failures | control | seen beside it | command |";
const BEGIN: &str = "<!-- storm -->";
const END: &str = "<!-- /storm -->";

/// One row of the table.
pub fn row(entry: &Entry, run: &Run, trial: &Trial) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | `storm {} {}` |",
        entry.promise,
        cell(entry.what),
        cell(entry.goal),
        trial.tries,
        trial.failures.len(),
        cell(trial.control.as_deref().unwrap_or("none")),
        cell(&trial.notes.join("; ")),
        entry.promise,
        run.arguments(),
    )
}

/// The table of `rows`.
pub fn table(rows: &[String]) -> String {
    let line = "|---".repeat(HEAD.matches('|').count() - 1) + "|";
    let mut table = format!("{HEAD}\n{line}\n");
    rows.iter().for_each(|row| table += &format!("{row}\n"));
    table
}

/// `page` with `new` rows in its table; those of other promises stay.
pub fn merged(page: &str, new: &[String]) -> anyhow::Result<String> {
    use anyhow::Context;
    let (before, rest) = page.split_once(BEGIN).context("the page has no `<!-- storm -->`")?;
    let (old, after) = rest.split_once(END).context("the page has no `<!-- /storm -->`")?;
    let rows: Vec<String> = crate::entries()
        .filter_map(|entry| {
            let mut all = new.iter().map(String::as_str).chain(old.lines());
            all.find(|row| promise_of(row) == Some(entry.promise)).map(str::to_owned)
        })
        .collect();
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", table(&rows)))
}

fn promise_of(row: &str) -> Option<&str> {
    row.strip_prefix('|')?.split('|').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_run_replaces_its_own_row_and_no_other() {
        let all: Vec<&Entry> = crate::entries().take(2).collect();
        let old: Vec<String> =
            all.iter().map(|entry| format!("| {} | old |", entry.promise)).collect();
        let page = format!("# head\n{BEGIN}\n{}{END}\ntail\n", table(&old));
        let new = format!("| {} | new |", all[0].promise);
        let merged = merged(&page, std::slice::from_ref(&new)).unwrap();
        assert!(merged.starts_with("# head\n") && merged.ends_with("\ntail\n"));
        assert!(merged.contains(&new) && !merged.contains(&old[0]));
        assert!(old[1..].iter().all(|row| merged.contains(row)));
    }
}
