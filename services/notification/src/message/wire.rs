//! A message as its callers read it.
use caseward_api::notification::v1 as pb;

use super::{Attempt, Model, Recipient};

impl Model {
    /// All but what it says, unless `whole`.
    pub(crate) fn wire(self, whole: bool) -> pb::Message {
        let said = !self.body.is_empty();
        let content = pb::MessageContent { subject: self.subject, body: self.body };
        let channels = self.channels.0.into_iter().map(|channel| pb::Channel::from(channel).into());
        pb::Message {
            name: self.id.to_string(),
            recipient: Recipient::read(&self.recipient).map(Into::into),
            patient: self.patient.map(|id| id.to_string()).unwrap_or_default(),
            case: self.case_id.map(|id| id.to_string()).unwrap_or_default(),
            purpose: self.purpose,
            template: self.template.to_string(),
            language: self.language,
            channels: channels.collect(),
            phi_class: self.phi_class,
            state: pb::message::State::from(self.state).into(),
            suppression: self.suppression,
            attempts: self.attempts.0.into_iter().map(Into::into).collect(),
            cause: self.cause,
            due_time: Some(self.due_at.into()),
            expire_time: Some(self.expires_at.into()),
            content: (whole && said).then_some(content),
            create_time: Some(self.created_at.into()),
            update_time: Some(self.updated_at.into()),
            etag: caseward_store::etag(self.revision),
        }
    }
}

impl From<Model> for pb::Message {
    fn from(row: Model) -> Self {
        row.wire(false)
    }
}

impl From<Attempt> for pb::DeliveryAttempt {
    fn from(attempt: Attempt) -> Self {
        pb::DeliveryAttempt {
            attempt_time: Some(attempt.at.into()),
            channel: pb::Channel::from(attempt.channel).into(),
            outcome: attempt.outcome,
            retryable: attempt.retryable,
            next_attempt_time: attempt.next.map(Into::into),
        }
    }
}
