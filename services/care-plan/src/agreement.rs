//! What the person or their representative says to a plan.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Error, Result, Time, Violations, check};
use serde::{Deserialize, Serialize};

use crate::{case, kin::Kin};

/// What the person or their representative said to a plan.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    pub party: i32,
    pub related_person: String,
    pub method: i32,
    pub content_hash: String,
    pub not_obtained_reason: String,
    pub at: Time,
    pub recorder: String,
}
caseward_core::confidential!(Agreement);

impl Agreement {
    /// What is recorded of `from`, with every field of it checked.
    pub fn read(ctx: &Ctx, case: &case::Model, from: &pb::Agreement, kin: Kin) -> Result<Self> {
        use pb::agreement::{Method, Party};
        let mut bad = Violations::default();
        let reason = bad.take(
            "agreement.not_obtained_reason",
            check::text(&from.not_obtained_reason, 0..=1000),
        );
        let at = bad
            .take("agreement.agree_time", check::moment(&from.agree_time))
            .flatten()
            .unwrap_or(ctx.now());
        if at > ctx.now() {
            bad.add("agreement.agree_time", "is in the future");
        }
        if from.content_hash.is_empty() {
            bad.add("agreement.content_hash", "is required: the hash of the plan they were shown");
        }
        if from.not_obtained_reason.is_empty() {
            let party = bad.take("agreement.party", check::known::<Party>(from.party));
            bad.take("agreement.method", check::known::<Method>(from.method));
            let of_patient =
                from.related_person.starts_with(&format!("{}/relatedPersons/", case.patient));
            if party == Some(Party::Representative) && !of_patient {
                bad.add(
                    "agreement.related_person",
                    "wants the related person of the patient who may speak for them",
                );
            } else if party == Some(Party::Representative) {
                bad.take("agreement.related_person", kin.known());
            }
            if party == Some(Party::Patient) && !from.related_person.is_empty() {
                bad.add("agreement.related_person", "must be empty where the person agreed");
            }
        } else if from.party != 0 || from.method != 0 || !from.related_person.is_empty() {
            bad.add(
                "agreement.not_obtained_reason",
                "says there is no agreement; leave party, related_person and method",
            );
        }
        bad.finish()?;
        if kin == Kin::Silent {
            let why = "the related person may not speak for the patient; their scope wants a proxy, \
                       a guardianship or parenthood as its legal basis, in force then";
            return Err(Error::precondition("NOT_REPRESENTATIVE", why));
        }
        Ok(Agreement {
            party: from.party,
            related_person: from.related_person.clone(),
            method: from.method,
            content_hash: from.content_hash.clone(),
            not_obtained_reason: reason.unwrap_or_default(),
            at,
            recorder: ctx.subject().to_owned(),
        })
    }
}

// === wire ===

impl From<Agreement> for pb::Agreement {
    fn from(from: Agreement) -> Self {
        let Agreement {
            party,
            related_person,
            method,
            content_hash,
            not_obtained_reason,
            at,
            recorder,
        } = from;
        pb::Agreement {
            party,
            related_person,
            method,
            content_hash,
            not_obtained_reason,
            agree_time: Some(at.into()),
            recorder,
        }
    }
}
