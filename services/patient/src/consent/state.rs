//! The states of a consent, and the steps between them.
use caseward_api::patient::v1::consent::State as Wire;
use caseward_core::{Error, Machine, Result};
use sea_orm::entity::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    #[sea_orm(string_value = "PROPOSED")]
    Proposed,
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    #[sea_orm(string_value = "INACTIVE")]
    Inactive,
    #[sea_orm(string_value = "REJECTED")]
    Rejected,
    #[sea_orm(string_value = "ENTERED_IN_ERROR")]
    EnteredInError,
}

/// What may be done to a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Propose,
    Activate,
    Reject,
    Revoke,
    Expire,
    EnterInError,
}

impl Machine for State {
    type Step = Step;
    const STEPS: &'static [Step] = &[
        Step::Propose,
        Step::Activate,
        Step::Reject,
        Step::Revoke,
        Step::Expire,
        Step::EnterInError,
    ];

    fn after(self, step: Step) -> Option<State> {
        match (self, step) {
            (State::Draft, Step::Propose) => Some(State::Proposed),
            (State::Proposed, Step::Activate) => Some(State::Active),
            (State::Proposed, Step::Reject) => Some(State::Rejected),
            (State::Active, Step::Revoke | Step::Expire) => Some(State::Inactive),
            (State::EnteredInError, Step::EnterInError) => None,
            (_, Step::EnterInError) => Some(State::EnteredInError),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            State::Draft => "DRAFT",
            State::Proposed => "PROPOSED",
            State::Active => "ACTIVE",
            State::Inactive => "INACTIVE",
            State::Rejected => "REJECTED",
            State::EnteredInError => "ENTERED_IN_ERROR",
        }
    }
}

impl State {
    /// Whether any steps lead from here to `to`.
    pub fn reaches(self, to: State) -> bool {
        let next = |step: &Step| self.after(*step);
        self == to || Self::STEPS.iter().filter_map(next).any(|next| next.reaches(to))
    }

    /// The state with this number in the contract.
    pub fn known(number: i32) -> Result<Self> {
        match Wire::try_from(number) {
            Ok(Wire::Draft) => Ok(State::Draft),
            Ok(Wire::Proposed) => Ok(State::Proposed),
            Ok(Wire::Active) => Ok(State::Active),
            Ok(Wire::Inactive) => Ok(State::Inactive),
            Ok(Wire::Rejected) => Ok(State::Rejected),
            Ok(Wire::EnteredInError) => Ok(State::EnteredInError),
            Ok(Wire::Unspecified) | Err(_) => {
                Err(Error::invalid("states", "holds a value that is not known"))
            }
        }
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Wire::Draft,
            State::Proposed => Wire::Proposed,
            State::Active => Wire::Active,
            State::Inactive => Wire::Inactive,
            State::Rejected => Wire::Rejected,
            State::EnteredInError => Wire::EnteredInError,
        }
    }
}
