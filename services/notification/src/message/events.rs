//! What others hear of a message: where it stands, never what it says.
use caseward_api::notification::v1::{self as pb, delivery_attempt::Outcome};
use caseward_store::Tx;

use super::{Model, State};

/// Tells of the state that `row` is in. What only we need to know (checked, queued) is not told.
pub(crate) fn emit(tx: &Tx, row: &Model) {
    let message = row.id.to_string();
    let patient = row.patient.map(|id| id.to_string()).unwrap_or_default();
    let case = row.case_id.map(|id| id.to_string()).unwrap_or_default();
    let revision = row.revision;
    let channel = row.channel.unwrap_or_default();
    let last = row.attempts.0.last();
    let outcome = last.map_or(Outcome::Unspecified.into(), |attempt| attempt.outcome);
    match row.state {
        State::Drafted => {
            tx.emit(row.id, revision, &pb::MessageCreated { message, patient, case, revision })
        }
        State::Scheduled => {
            let send_time = Some(row.due_at.into());
            tx.emit(
                row.id,
                revision,
                &pb::MessageScheduled { message, patient, case, revision, send_time },
            );
        }
        State::Sent => {
            tx.emit(
                row.id,
                revision,
                &pb::MessageSent { message, patient, case, revision, channel },
            );
        }
        State::Delivered => {
            tx.emit(
                row.id,
                revision,
                &pb::MessageDelivered { message, patient, case, revision, channel },
            );
        }
        State::Read => {
            let read_time = Some(row.updated_at.into());
            tx.emit(
                row.id,
                revision,
                &pb::MessageRead { message, patient, case, revision, read_time },
            );
        }
        State::Suppressed => {
            let suppression = row.suppression;
            tx.emit(
                row.id,
                revision,
                &pb::MessageSuppressed { message, patient, case, revision, suppression },
            );
        }
        State::SoftFailed => {
            let channel = last.map_or(channel, |attempt| pb::Channel::from(attempt.channel).into());
            let event =
                pb::MessageSoftFailed { message, patient, case, revision, channel, outcome };
            tx.emit(row.id, revision, &event);
        }
        State::HardFailed => {
            let purpose = row.purpose.clone();
            let event =
                pb::MessageHardFailed { message, patient, case, revision, outcome, purpose };
            tx.emit(row.id, revision, &event);
        }
        State::Cancelled => {
            tx.emit(row.id, revision, &pb::MessageCancelled { message, patient, case, revision });
        }
        State::Expired => {
            tx.emit(row.id, revision, &pb::MessageExpired { message, patient, case, revision });
        }
        State::Checked | State::Queued | State::Replied => {}
    }
}
