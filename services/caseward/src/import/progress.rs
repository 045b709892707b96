//! A bar on a terminal, for imports that last.
use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// What is over by then needs no bar.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far an import is, shown to whoever watches.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    watched: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows nothing where `quiet`, or where nobody looks.
    pub(super) fn new(quiet: bool) -> Self {
        let watched = !quiet && io::stderr().is_terminal();
        Progress { started: Instant::now(), watched, bar: None }
    }

    /// Shows that `done` of `of` resources are done; 0 where nobody knows how many there are.
    pub(super) fn show(&mut self, done: usize, of: usize) {
        if !self.watched || self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| match of {
            0 => ProgressBar::new_spinner().with_style(style("{spinner} {pos} rows ({per_sec})")),
            _ => ProgressBar::new(of as u64)
                .with_style(style("{wide_bar} {pos}/{len} {per_sec} {eta} left")),
        });
        bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The style of a template that is part of the program.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
