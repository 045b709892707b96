//! The ways to tell people something.
use caseward_api::{notification::v1 as pb, patient::v1 as patient};
use caseward_core::check::{self, Checked};
use serde::{Deserialize, Serialize};

/// A way to tell people something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    Inbox,
    Email,
    Sms,
}

impl Channel {
    /// Whether nobody but the recipient can read what it carries.
    pub(crate) fn is_secured(self) -> bool {
        match self {
            Channel::Inbox => true,
            Channel::Email | Channel::Sms => false,
        }
    }

    /// Whether it makes itself heard, so that quiet hours and caps hold for it.
    pub(crate) fn disturbs(self) -> bool {
        !self.is_secured()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Channel::Inbox => "INBOX",
            Channel::Email => "EMAIL",
            Channel::Sms => "SMS",
        }
    }

    pub(crate) fn checked(number: i32) -> Checked<Channel> {
        check::known::<pb::Channel>(number).and_then(|channel| match channel {
            pb::Channel::Unspecified => Err("is required".to_owned()),
            pb::Channel::Inbox => Ok(Channel::Inbox),
            pb::Channel::Email => Ok(Channel::Email),
            pb::Channel::Sms => Ok(Channel::Sms),
        })
    }

    /// Whether the patient service names it among `channels`.
    pub(crate) fn is_in(self, channels: &[i32]) -> bool {
        let number = match self {
            Channel::Inbox => patient::Channel::Inbox,
            Channel::Email => patient::Channel::Email,
            Channel::Sms => patient::Channel::Sms,
        };
        channels.contains(&i32::from(number))
    }
}

impl From<Channel> for pb::Channel {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Inbox => Self::Inbox,
            Channel::Email => Self::Email,
            Channel::Sms => Self::Sms,
        }
    }
}
