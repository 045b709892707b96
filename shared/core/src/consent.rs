//! Who agrees to what, and who may say so for somebody else: asked alike by every service.
use caseward_api::{
    patient::v1::{CaregiverScope, Consent, RelatedPerson, caregiver_scope::LegalBasis, consent},
    types::v1::Period,
};

use crate::{Time, data};

/// Whether `consent` is in force at `now`.
pub fn is_in_force(consent: &Consent, now: Time) -> bool {
    consent.state() == consent::State::Active && holds(&consent.period, now)
}

/// Whether `consent` lets the person take part in case management at `now`.
pub fn lets_take_part(consent: &Consent, now: Time) -> bool {
    consent.r#type() == consent::Type::Participation
        && consent.decision() == consent::Decision::Permit
        && is_in_force(consent, now)
}

/// Whether law or a proxy lets somebody speak for the patient at `at`. What the patient allows them to see is no such
/// thing.
pub fn speaks(person: &RelatedPerson, at: Time) -> bool {
    let Some(scope) = &person.scope else { return false };
    let basis = matches!(
        scope.legal_basis(),
        LegalBasis::HealthCareProxy | LegalBasis::Guardian | LegalBasis::Parent
    );
    basis && is_granted(scope, at) && holds(&person.period, at)
}

/// Whether what somebody may see of the patient is theirs to see at `at`.
pub fn is_granted(scope: &CaregiverScope, at: Time) -> bool {
    scope.revoke_time.is_none() && holds(&scope.period, at)
}

/// Whether `at` lies within a period as the wire has it; in one that is malformed nothing does.
pub fn holds(period: &Option<Period>, at: Time) -> bool {
    data::period(period).is_ok_and(|period| period.holds(at))
}
