//! What a trial is, and what it found.
use std::{fmt, panic::AssertUnwindSafe, pin::Pin};

use futures_util::FutureExt;

use crate::Run;

type Running = Pin<Box<dyn Future<Output = Trial> + Send>>;

/// One trial of one promise.
pub struct Entry {
    /// By which the promise is known, such as `P1.a`.
    pub promise: &'static str,
    /// What is done to the suite, in a few words.
    pub what: &'static str,
    /// The figure to reach in a night.
    pub goal: &'static str,
    run: fn(Run) -> Running,
}

/// What a trial found.
#[derive(Debug, Default)]
pub struct Trial {
    /// How often it tried.
    pub tries: u64,
    /// What broke, each with what is needed to understand it.
    pub failures: Vec<String>,
    /// What is known to be bad, and how the trial's checker saw it.
    pub control: Option<String>,
    /// What a reader should know beside it, such as a worst time.
    pub notes: Vec<String>,
}

impl Entry {
    /// A trial; `run` is `|run| Box::pin(async move { random_kills(&run).await })`.
    pub const fn new(
        promise: &'static str,
        what: &'static str,
        goal: &'static str,
        run: fn(Run) -> Running,
    ) -> Entry {
        Entry { promise, what, goal, run }
    }

    /// Runs it. A trial that cannot go on, or has no control that was caught, has failed.
    pub async fn run(&self, run: &Run) -> Trial {
        let ran = AssertUnwindSafe((self.run)(run.clone())).catch_unwind().await;
        let mut trial = ran.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            Trial { failures: vec![format!("could not go on: {said}")], ..Default::default() }
        });
        if trial.control.is_none() && trial.failures.is_empty() {
            trial.failures.push("has no control, so it may be blind".to_owned());
        }
        trial
    }

    /// What runs it again with the same chances.
    pub fn command(&self, run: &Run) -> String {
        format!(
            "cargo run --release -p caseward-stories --bin storm -- {} {}",
            self.promise,
            run.arguments()
        )
    }
}

impl Trial {
    /// Counts one try.
    pub fn tried(&mut self) {
        self.tries += 1;
    }

    /// Says what broke.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.failures.push(why.into());
    }

    /// Says what broke unless `holds`.
    pub fn check(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.fail(why());
        }
    }

    /// Says what was done that must be caught, and whether it was; one that passed is a failure of the trial.
    pub fn control(&mut self, what: impl Into<String>, caught: bool) {
        let what = what.into();
        if !caught {
            self.fail(format!("the control was not caught: {what}"));
        }
        let known = self.control.take().map(|known| known + "; ").unwrap_or_default();
        self.control = Some(known + &what);
    }

    /// Adds what a reader should know.
    pub fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("promise", &self.promise).finish_non_exhaustive()
    }
}
