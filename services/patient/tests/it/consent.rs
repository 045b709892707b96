//! Consents: every state and verb, what is told, and what time ends.
use caseward_api::patient::v1::{
    self as pb,
    consent::{State, Type},
};
use time::Duration;
use tonic::{Code, Response, Status};

use crate::world::{Caller, code, daughter, fields, patient, worlds};

const VERBS: [&str; 5] = ["propose", "activate", "reject", "revoke", "mark"];

async fn draft(caller: &mut Caller, patient: &str, consent: pb::Consent) -> pb::Consent {
    create(caller, patient, consent).await.unwrap().into_inner()
}

async fn create(
    caller: &mut Caller,
    patient: &str,
    consent: pb::Consent,
) -> Result<Response<pb::Consent>, Status> {
    let request = pb::CreateConsentRequest {
        parent: patient.to_owned(),
        consent: Some(consent),
        ..Default::default()
    };
    caller.create_consent(request).await
}

fn release() -> pb::Consent {
    pb::Consent { r#type: Type::Release.into(), ..Default::default() }
}

async fn step(
    caller: &mut Caller,
    verb: &str,
    consent: &pb::Consent,
) -> Result<Response<pb::Consent>, Status> {
    let (name, etag) = (consent.name.clone(), consent.etag.clone());
    let reason = "as discussed".to_owned();
    match verb {
        "propose" => {
            let request = pb::ProposeConsentRequest { name, etag, ..Default::default() };
            caller.propose_consent(request).await
        }
        "activate" => {
            let request = pb::ActivateConsentRequest { name, etag, ..Default::default() };
            caller.activate_consent(request).await
        }
        "reject" => {
            let request = pb::RejectConsentRequest { name, etag, reason, ..Default::default() };
            caller.reject_consent(request).await
        }
        "revoke" => {
            let request = pb::RevokeConsentRequest { name, etag, reason, ..Default::default() };
            caller.revoke_consent(request).await
        }
        _ => {
            let request =
                pb::MarkConsentEnteredInErrorRequest { name, etag, reason, ..Default::default() };
            caller.mark_consent_entered_in_error(request).await
        }
    }
}

/// The verbs that lead to a state, the state, and where each verb leads from there.
type Way = (&'static [&'static str], State, [Option<State>; 5]);

/// The way to each state, and where each verb leads from there.
const TABLE: [Way; 6] = [
    (&[], State::Draft, [Some(State::Proposed), None, None, None, Some(State::EnteredInError)]),
    (
        &["propose"],
        State::Proposed,
        [None, Some(State::Active), Some(State::Rejected), None, Some(State::EnteredInError)],
    ),
    (
        &["propose", "activate"],
        State::Active,
        [None, None, None, Some(State::Inactive), Some(State::EnteredInError)],
    ),
    (
        &["propose", "activate", "revoke"],
        State::Inactive,
        [None, None, None, None, Some(State::EnteredInError)],
    ),
    (
        &["propose", "reject"],
        State::Rejected,
        [None, None, None, None, Some(State::EnteredInError)],
    ),
    (&["mark"], State::EnteredInError, [None; 5]),
];

#[tokio::test]
async fn a_consent_moves_by_the_verbs_of_its_state_and_by_no_other() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        for (way, state, leads) in TABLE {
            for (verb, expected) in VERBS.into_iter().zip(leads) {
                let mut consent = draft(&mut ana, &patient.name, release()).await;
                for verb in way {
                    consent = step(&mut ana, verb, &consent).await.unwrap().into_inner();
                }
                assert_eq!(consent.state(), state);
                match (step(&mut ana, verb, &consent).await, expected) {
                    (Ok(moved), Some(expected)) => {
                        assert_eq!(moved.into_inner().state(), expected, "{verb} {state:?}");
                    }
                    (Err(refusal), None) => {
                        assert_eq!(refusal.code(), Code::FailedPrecondition, "{verb} {state:?}");
                    }
                    (other, _) => panic!("{verb} of {state:?}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn every_service_is_told_when_a_consent_is_given_and_when_it_is_taken_back() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        let mut consent = draft(&mut ana, &patient.name, release()).await;
        for verb in ["propose", "activate", "revoke"] {
            consent = step(&mut ana, verb, &consent).await.unwrap().into_inner();
        }
        let given = world.told::<pb::ConsentActivated>().await;
        assert_eq!((given.len(), &given[0].consent), (1, &consent.name));
        let taken = world.told::<pb::ConsentRevoked>().await;
        assert_eq!((taken.len(), taken[0].effective_time), (1, consent.revoke_time));
        assert_eq!((taken[0].r#type(), &taken[0].patient), (Type::Release, &patient.name));
    }
}

#[tokio::test]
async fn only_a_draft_is_rewritten_and_only_as_it_was_last_seen() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        let seen = draft(&mut ana, &patient.name, release()).await;
        let mut wanted = seen.clone();
        wanted.evidence = "form 12, cabinet 3".to_owned();
        let mut request = pb::UpdateConsentRequest { consent: Some(wanted), ..Default::default() };
        let written = ana.update_consent(request.clone()).await.unwrap().into_inner();
        assert_eq!(written.evidence, "form 12, cabinet 3");
        assert_eq!(code(ana.update_consent(request.clone()).await), Code::Aborted);
        assert_eq!(code(step(&mut ana, "propose", &seen).await), Code::Aborted);
        request.consent = Some(step(&mut ana, "propose", &written).await.unwrap().into_inner());
        assert_eq!(code(ana.update_consent(request).await), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn a_consent_ends_with_its_period_and_not_before() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let patient = patient(&mut sue).await;
        let period = caseward_api::types::v1::Period {
            start: None,
            end: Some((world.now() + Duration::days(10)).into()),
        };
        let consent = pb::Consent { period: Some(period), ..release() };
        let consent = draft(&mut sue, &patient.name, consent).await;
        let consent = step(&mut sue, "propose", &consent).await.unwrap().into_inner();
        let consent = step(&mut sue, "activate", &consent).await.unwrap().into_inner();
        assert!(consent.activate_time.is_some());
        for (days, state) in [(9, State::Active), (2, State::Inactive)] {
            world.advance(Duration::days(days)).await;
            let request = pb::GetConsentRequest { name: consent.name.clone() };
            assert_eq!(sue.get_consent(request).await.unwrap().into_inner().state(), state);
        }
        let told = world.told::<pb::ConsentExpired>().await;
        assert_eq!(told.iter().map(|told| &told.consent).collect::<Vec<_>>(), [&consent.name]);
    }
}

#[tokio::test]
async fn a_bad_consent_is_told_all_that_is_wrong() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (mine, other) = (patient(&mut ana).await, patient(&mut ana).await);
        let bad = pb::Consent {
            grantor: "patients/nobody".to_owned(),
            recipients: vec![String::new()],
            channels: vec![pb::Channel::Sms.into()],
            evidence: "x".repeat(1001),
            ..Default::default()
        };
        let named = fields(create(&mut ana, &mine.name, bad).await);
        for field in ["type", "grantor", "recipients[0]", "channels", "evidence"] {
            let field = format!("consent.{field}");
            assert!(named.contains(&field), "{field} in {named:?}");
        }
        // A grantor is close to this patient, not to another.
        let person = daughter(&mut ana, &other.name, "").await;
        let stranger = person.name.replace(&other.name, &mine.name);
        let bad = pb::Consent { grantor: stranger, ..release() };
        assert_eq!(fields(create(&mut ana, &mine.name, bad).await), ["consent.grantor"]);
    }
}

#[tokio::test]
async fn a_patient_reads_their_consents_and_writes_none_and_a_colleague_sees_none() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        let consent = draft(&mut ana, &patient.name, release()).await;
        let request = pb::GetConsentRequest { name: consent.name.clone() };
        let mut bob = world.caller("bob", "case_manager");
        assert_eq!(code(bob.get_consent(request.clone()).await), Code::NotFound);
        assert_eq!(code(step(&mut bob, "propose", &consent).await), Code::NotFound);

        let mut sue = world.caller("sue", "supervisor");
        let named = pb::Patient { subject: "pat".to_owned(), ..patient };
        let request_update = pb::UpdatePatientRequest {
            patient: Some(named),
            update_mask: Some(prost_types::FieldMask { paths: vec!["subject".to_owned()] }),
            ..Default::default()
        };
        sue.update_patient(request_update).await.unwrap();
        let mut pat = world.caller("pat", "patient");
        assert_eq!(pat.get_consent(request).await.unwrap().into_inner(), consent);
        assert_eq!(code(step(&mut pat, "propose", &consent).await), Code::PermissionDenied);

        // What a colleague wrote is theirs to strike, or a supervisor's.
        let mut cem = world.caller("cem", "case_manager");
        assert_eq!(code(step(&mut cem, "mark", &consent).await), Code::NotFound);
        step(&mut sue, "mark", &consent).await.unwrap();
    }
}
