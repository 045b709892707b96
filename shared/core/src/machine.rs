//! State machines: one exhaustive match, and refusals that say what is allowed.
use std::fmt::Display;

use crate::{Error, Result};

/// The states of a resource, and the steps between them.
pub trait Machine: Copy + PartialEq + Sized + 'static {
    /// What may be done to the resource.
    type Step: Copy + 'static;
    /// Every step.
    const STEPS: &'static [Self::Step];

    /// The state after `step`, where there is such a step from here.
    fn after(self, step: Self::Step) -> Option<Self>;

    /// The name of the state as in the contract, without `STATE_`.
    fn label(self) -> &'static str;

    /// The states that one step leads to from here.
    fn allowed(self) -> Vec<&'static str> {
        let mut allowed: Vec<&str> = vec![];
        for state in Self::STEPS.iter().filter_map(|step| self.after(*step)) {
            if !allowed.contains(&state.label()) {
                allowed.push(state.label());
            }
        }
        allowed
    }

    /// Takes `step`, or refuses it for the resource called `name`.
    fn take(self, step: Self::Step, name: impl Display) -> Result<Self> {
        self.after(step).ok_or_else(|| self.refusal(name))
    }

    /// Why a step from here was refused.
    fn refusal(self, name: impl Display) -> Error {
        Error::State { name: name.to_string(), state: self.label(), allowed: self.allowed() }
    }
}
