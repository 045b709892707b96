//! The states of a message and the steps between them.
use caseward_api::notification::v1::message::State as Wire;
use sea_orm::entity::prelude::*;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    #[sea_orm(string_value = "DRAFTED")]
    Drafted,
    #[sea_orm(string_value = "CHECKED")]
    Checked,
    #[sea_orm(string_value = "SCHEDULED")]
    Scheduled,
    #[sea_orm(string_value = "QUEUED")]
    Queued,
    #[sea_orm(string_value = "SENT")]
    Sent,
    #[sea_orm(string_value = "DELIVERED")]
    Delivered,
    #[sea_orm(string_value = "READ")]
    Read,
    #[sea_orm(string_value = "REPLIED")]
    Replied,
    #[sea_orm(string_value = "SUPPRESSED")]
    Suppressed,
    #[sea_orm(string_value = "SOFT_FAILED")]
    SoftFailed,
    #[sea_orm(string_value = "HARD_FAILED")]
    HardFailed,
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
    #[sea_orm(string_value = "EXPIRED")]
    Expired,
}

impl State {
    /// The states before a channel took the message.
    pub(crate) const WAITING: [State; 5] =
        [State::Drafted, State::Checked, State::Scheduled, State::Queued, State::SoftFailed];

    /// The states after a channel took the message.
    pub(crate) const TAKEN: [State; 4] =
        [State::Sent, State::Delivered, State::Read, State::Replied];

    /// The states that a message can enter from this one.
    ///
    /// What was allowed when a message was scheduled may be forbidden when its time comes, so every state before
    /// the sending leads to suppression.
    pub(crate) fn next(self) -> &'static [State] {
        use State::*;
        match self {
            Drafted => &[Checked, Cancelled, Expired],
            Checked => &[Scheduled, Queued, Suppressed, Cancelled, Expired],
            Scheduled => &[Queued, Suppressed, Cancelled, Expired],
            Queued => &[Sent, SoftFailed, HardFailed, Scheduled, Suppressed, Cancelled, Expired],
            Sent => &[Delivered, Read, Replied, SoftFailed, HardFailed],
            SoftFailed => &[Queued, Scheduled, HardFailed, Suppressed, Cancelled, Expired],
            Delivered => &[Read, Replied],
            Read => &[Replied],
            Replied | Suppressed | HardFailed | Cancelled | Expired => &[],
        }
    }

    /// Whether the channels are still to be tried.
    pub(crate) fn is_waiting(self) -> bool {
        Self::WAITING.contains(&self)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Drafted => "DRAFTED",
            State::Checked => "CHECKED",
            State::Scheduled => "SCHEDULED",
            State::Queued => "QUEUED",
            State::Sent => "SENT",
            State::Delivered => "DELIVERED",
            State::Read => "READ",
            State::Replied => "REPLIED",
            State::Suppressed => "SUPPRESSED",
            State::SoftFailed => "SOFT_FAILED",
            State::HardFailed => "HARD_FAILED",
            State::Cancelled => "CANCELLED",
            State::Expired => "EXPIRED",
        }
    }

    /// The state that the wire names; absent where it names none.
    pub(crate) fn of(wire: Wire) -> Option<State> {
        Some(match wire {
            Wire::Unspecified => return None,
            Wire::Drafted => State::Drafted,
            Wire::Checked => State::Checked,
            Wire::Scheduled => State::Scheduled,
            Wire::Queued => State::Queued,
            Wire::Sent => State::Sent,
            Wire::Delivered => State::Delivered,
            Wire::Read => State::Read,
            Wire::Replied => State::Replied,
            Wire::Suppressed => State::Suppressed,
            Wire::SoftFailed => State::SoftFailed,
            Wire::HardFailed => State::HardFailed,
            Wire::Cancelled => State::Cancelled,
            Wire::Expired => State::Expired,
        })
    }
}

impl From<State> for Wire {
    fn from(state: State) -> Self {
        match state {
            State::Drafted => Wire::Drafted,
            State::Checked => Wire::Checked,
            State::Scheduled => Wire::Scheduled,
            State::Queued => Wire::Queued,
            State::Sent => Wire::Sent,
            State::Delivered => Wire::Delivered,
            State::Read => Wire::Read,
            State::Replied => Wire::Replied,
            State::Suppressed => Wire::Suppressed,
            State::SoftFailed => Wire::SoftFailed,
            State::HardFailed => Wire::HardFailed,
            State::Cancelled => Wire::Cancelled,
            State::Expired => Wire::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn a_message_that_nobody_sent_yet_can_be_cancelled_and_expire() {
        for state in State::WAITING {
            assert!(state.next().contains(&State::Cancelled), "{state:?}");
            assert!(state.next().contains(&State::Expired), "{state:?}");
        }
    }

    #[test]
    fn what_a_channel_took_is_never_sent_again_unless_it_came_back() {
        for state in State::iter().filter(|state| !state.is_waiting()) {
            assert!(!state.next().contains(&State::Queued), "{state:?}");
        }
    }

    #[test]
    fn the_wire_knows_every_state() {
        for state in State::iter() {
            assert_eq!(State::of(state.into()), Some(state));
            assert_eq!(Wire::from(state).as_str_name(), format!("STATE_{}", state.name()));
        }
    }
}
