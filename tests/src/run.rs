//! How much a trial tries, and with which chances.
use indicatif::ProgressBar;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// Before every merge: seconds.
    Pr,
    /// Once a night, and before a release: the figures to reach.
    Nightly,
}

/// One run of one trial.
#[derive(Clone, Debug)]
pub struct Run {
    /// How much is tried.
    pub tier: Tier,
    /// What every chance in the trial comes from.
    pub seed: u64,
    scale: f64,
    bar: ProgressBar,
}

impl Run {
    /// A run of `tier`, whose counts of the night are multiplied by `scale`.
    pub fn new(tier: Tier, seed: u64, scale: f64, bar: ProgressBar) -> Run {
        Run { tier, seed, scale, bar }
    }

    /// A run for `cargo test`, with the seed of `CASEWARD_TEST_SEED` or one of its own.
    pub(crate) fn of_a_test() -> Run {
        #[expect(clippy::disallowed_methods, reason = "tests have no settings but these")]
        let given = std::env::var("CASEWARD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| fastrand::u64(..1 << 32));
        Run::new(Tier::Pr, seed, 1.0, ProgressBar::hidden())
    }

    /// How many, by the tier; at least one.
    pub fn of(&self, pr: u64, nightly: u64) -> u64 {
        match self.tier {
            Tier::Pr => pr.max(1),
            Tier::Nightly => ((nightly as f64 * self.scale).round() as u64).max(1),
        }
    }

    /// What makes `storm` run the same again.
    pub fn arguments(&self) -> String {
        let much = match self.tier {
            Tier::Pr => "--tier pr ".to_owned(),
            Tier::Nightly if self.scale != 1.0 => format!("--scale {} ", self.scale),
            Tier::Nightly => String::new(),
        };
        format!("{much}--seed {}", self.seed)
    }

    /// A source of chances that gives the same for the same seed. Whoever runs beside others forks one of their own.
    pub fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Says how many steps are to come, for whoever watches.
    pub fn expect(&self, steps: u64) {
        self.bar.set_length(steps);
    }

    /// Says that a step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }
}
