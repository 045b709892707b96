//! Runs the trials of Caseward's promises at the figures of a night, and says what held.
use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use caseward_stories::{Entry, Run, Tier, entries, record};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

/// Tries what Caseward promises on suites that it starts itself, and prints the table of RELIABILITY.md.
#[derive(Parser)]
#[command(name = "storm", version)]
struct Storm {
    /// The promises to try, such as `P1.a`; a prefix such as `P1` names several. All without one.
    promises: Vec<String>,
    /// How much is tried.
    #[arg(long, value_enum, default_value = "nightly")]
    tier: Tier,
    /// By what the counts of a night are multiplied.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// What every chance comes from; a new one each time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints one JSON object per trial instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes the rows into this page too, such as RELIABILITY.md.
    #[arg(long, value_name = "PAGE")]
    record: Option<PathBuf>,
    /// Says what there is to try, and tries nothing.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let storm = Storm::parse();
    let chosen = storm.chosen()?;
    if storm.list {
        for entry in chosen {
            println!("{:<6} {} ({})", entry.promise, entry.what, entry.goal);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let seed = storm.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let (mut rows, mut broken) = (vec![], false);
    for entry in chosen {
        let bar = bar(entry.promise);
        let run = Run::new(storm.tier, seed, storm.scale, bar.clone());
        let began = Instant::now();
        let trial = entry.run(&run).await;
        bar.finish_and_clear();
        broken |= !trial.failures.is_empty();
        let took = began.elapsed();
        if storm.json {
            println!(
                "{}",
                json!({
                    "promise": entry.promise, "what": entry.what, "goal": entry.goal, "seed": seed,
                    "tries": trial.tries, "failures": trial.failures, "control": trial.control,
                    "notes": trial.notes, "seconds": took.as_secs_f64(), "command": entry.command(&run),
                })
            );
        } else {
            let (failed, seconds) = (trial.failures.len(), took.as_secs());
            eprintln!("{} {} tries, {failed} failures, {seconds} s", entry.promise, trial.tries);
            trial.failures.iter().take(20).for_each(|failure| eprintln!("  {failure}"));
            if failed > 0 {
                eprintln!("  again: {}", entry.command(&run));
            }
        }
        let row = record::row(entry, &run, &trial);
        if let Some(page) = &storm.record {
            let text = std::fs::read_to_string(page).context("reading the page")?;
            std::fs::write(page, record::merged(&text, std::slice::from_ref(&row))?)?;
        }
        rows.push(row);
    }
    if !storm.json {
        print!("{}", record::table(&rows));
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Storm {
    fn chosen(&self) -> anyhow::Result<Vec<&'static Entry>> {
        let named = |entry: &&Entry| {
            self.promises.is_empty()
                || self.promises.iter().any(|promise| {
                    entry.promise == promise
                        || entry
                            .promise
                            .strip_prefix(promise.as_str())
                            .is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_digit()))
                })
        };
        let chosen: Vec<_> = entries().filter(named).collect();
        if chosen.is_empty() {
            bail!("no trial has that name; `storm --list` says what there is");
        }
        Ok(chosen)
    }
}

fn bar(promise: &'static str) -> ProgressBar {
    let style = "{msg} {wide_bar} {pos}/{len} {elapsed} (about {eta} left)";
    let style = ProgressStyle::with_template(style).expect("a template");
    let bar = ProgressBar::new(1).with_style(style).with_message(promise);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
