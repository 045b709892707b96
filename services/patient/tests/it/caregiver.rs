//! Caregivers: a scope lets them see a patient, and only it does.
use caseward_api::patient::v1::{
    self as pb,
    caregiver_scope::{LegalBasis, Topic},
};
use time::Duration;
use tonic::Code;

use crate::world::{Caller, code, daughter, fields, patient, sees, worlds};

fn scope() -> pb::CaregiverScope {
    pb::CaregiverScope {
        topics: vec![Topic::Schedule.into(), Topic::Medication.into()],
        channels: vec![pb::Channel::Email.into()],
        legal_basis: LegalBasis::PatientPermission.into(),
        ..Default::default()
    }
}

async fn grant(
    caller: &mut Caller,
    person: &pb::RelatedPerson,
    scope: pb::CaregiverScope,
) -> Result<tonic::Response<pb::RelatedPerson>, tonic::Status> {
    let request = pb::GrantCaregiverScopeRequest {
        name: person.name.clone(),
        etag: person.etag.clone(),
        scope: Some(scope),
        ..Default::default()
    };
    caller.grant_caregiver_scope(request).await
}

async fn revoke(
    caller: &mut Caller,
    person: &pb::RelatedPerson,
) -> Result<tonic::Response<pb::RelatedPerson>, tonic::Status> {
    let request = pb::RevokeCaregiverScopeRequest {
        name: person.name.clone(),
        etag: person.etag.clone(),
        reason: "the patient asked".to_owned(),
        ..Default::default()
    };
    caller.revoke_caregiver_scope(request).await
}

#[tokio::test]
async fn a_scope_gives_sight_of_a_patient_and_its_end_takes_it_at_the_same_instant() {
    for world in worlds().await {
        let (mut ana, mut eva) =
            (world.caller("ana", "case_manager"), world.caller("eva", "caregiver"));
        let patient = patient(&mut ana).await;
        let person = daughter(&mut ana, &patient.name, "eva").await;
        assert!(!sees(&mut eva, &patient.name).await, "being a daughter is not enough");

        let person = grant(&mut ana, &person, scope()).await.unwrap().into_inner();
        assert_eq!(person.scope.as_ref().unwrap().grantor, "ana");
        assert!(sees(&mut eva, &patient.name).await);

        // The clock stands still: what counts is the order, not the time.
        let person = revoke(&mut ana, &person).await.unwrap().into_inner();
        assert_eq!(person.scope.as_ref().unwrap().revoke_reason, "the patient asked");
        assert!(!sees(&mut eva, &patient.name).await);
        assert_eq!(code(revoke(&mut ana, &person).await), Code::FailedPrecondition);

        let person = grant(&mut ana, &person, scope()).await.unwrap().into_inner();
        assert!(person.scope.unwrap().revoke_time.is_none());
        assert!(sees(&mut eva, &patient.name).await, "what was taken can be given again");
    }
}

#[tokio::test]
async fn a_scope_holds_from_its_start_until_its_end() {
    for world in worlds().await {
        let (mut sue, mut eva) =
            (world.caller("sue", "supervisor"), world.caller("eva", "caregiver"));
        let patient = patient(&mut sue).await;
        let person = daughter(&mut sue, &patient.name, "eva").await;
        let period = caseward_api::types::v1::Period {
            start: Some((world.now() + Duration::days(1)).into()),
            end: Some((world.now() + Duration::days(3)).into()),
        };
        let scope = pb::CaregiverScope { period: Some(period), ..scope() };
        grant(&mut sue, &person, scope).await.unwrap();
        assert!(!sees(&mut eva, &patient.name).await);
        world.advance(Duration::days(2)).await;
        assert!(sees(&mut eva, &patient.name).await);
        world.advance(Duration::days(2)).await;
        assert!(!sees(&mut eva, &patient.name).await);
    }
}

#[tokio::test]
async fn whoever_is_not_close_to_the_patient_any_more_sees_nothing_whatever_their_scope_says() {
    for world in worlds().await {
        let (mut ana, mut eva) =
            (world.caller("ana", "case_manager"), world.caller("eva", "caregiver"));
        let patient = patient(&mut ana).await;
        let person = daughter(&mut ana, &patient.name, "eva").await;
        let mut person = grant(&mut ana, &person, scope()).await.unwrap().into_inner();
        let tomorrow = world.now() + Duration::days(1);
        for (end, seen) in [(world.now(), false), (tomorrow, true)] {
            person.period = Some(caseward_api::types::v1::Period {
                start: Some((world.now() - Duration::days(900)).into()),
                end: Some(end.into()),
            });
            let request = pb::UpdateRelatedPersonRequest {
                related_person: Some(person.clone()),
                ..Default::default()
            };
            person = ana.update_related_person(request).await.unwrap().into_inner();
            assert_eq!(sees(&mut eva, &patient.name).await, seen);
        }
        world.advance(Duration::days(2)).await;
        assert!(!sees(&mut eva, &patient.name).await);
        // A scope that is given then gives nothing.
        grant(&mut ana, &person, scope()).await.unwrap();
        assert!(!sees(&mut eva, &patient.name).await);
    }
}

#[tokio::test]
async fn a_caregiver_sees_themselves_but_nothing_that_no_topic_covers() {
    for world in worlds().await {
        let (mut ana, mut eva) =
            (world.caller("ana", "case_manager"), world.caller("eva", "caregiver"));
        let patient = patient(&mut ana).await;
        let person = daughter(&mut ana, &patient.name, "eva").await;
        let other = daughter(&mut ana, &patient.name, "").await;
        let coverage = pb::Coverage { payer_display: "Medicaid".to_owned(), ..Default::default() };
        let request = pb::CreateCoverageRequest {
            parent: patient.name.clone(),
            coverage: Some(coverage),
            ..Default::default()
        };
        let coverage = ana.create_coverage(request).await.unwrap().into_inner();
        grant(&mut ana, &person, scope()).await.unwrap();

        let request =
            pb::ListRelatedPersonsRequest { parent: patient.name.clone(), ..Default::default() };
        let seen = eva.list_related_persons(request).await.unwrap().into_inner().related_persons;
        assert_eq!(seen.iter().map(|seen| &seen.name).collect::<Vec<_>>(), [&person.name]);
        let request = pb::GetRelatedPersonRequest { name: other.name };
        assert_eq!(code(eva.get_related_person(request).await), Code::NotFound);

        let request = pb::GetCoverageRequest { name: coverage.name };
        assert_eq!(code(eva.get_coverage(request.clone()).await), Code::NotFound);
        ana.get_coverage(request).await.unwrap();
        let request =
            pb::ListCoveragesRequest { parent: patient.name.clone(), ..Default::default() };
        assert!(eva.list_coverages(request).await.unwrap().into_inner().coverages.is_empty());
        let request = pb::GetPreferenceRequest { name: format!("{}/preference", patient.name) };
        assert_eq!(code(eva.get_preference(request).await), Code::NotFound);
        let request =
            pb::ListConsentsRequest { parent: patient.name.clone(), ..Default::default() };
        assert_eq!(code(eva.list_consents(request).await), Code::PermissionDenied);
        assert_eq!(code(grant(&mut eva, &person, scope()).await), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_scope_follows_whoever_signs_in_as_the_person() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (mut eva, mut zoe) =
            (world.caller("eva", "caregiver"), world.caller("zoe", "caregiver"));
        let patient = patient(&mut ana).await;
        let person = daughter(&mut ana, &patient.name, "eva").await;
        let mut person = grant(&mut ana, &person, scope()).await.unwrap().into_inner();
        for (subject, seen) in [("zoe", (false, true)), ("", (false, false))] {
            person.subject = subject.to_owned();
            let request = pb::UpdateRelatedPersonRequest {
                related_person: Some(person.clone()),
                ..Default::default()
            };
            person = ana.update_related_person(request).await.unwrap().into_inner();
            let sight = (sees(&mut eva, &patient.name).await, sees(&mut zoe, &patient.name).await);
            assert_eq!(sight, seen, "{subject}");
        }
    }
}

#[tokio::test]
async fn nobody_lets_themselves_see_a_patient_and_a_bad_scope_is_told_all_that_is_wrong() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let patient = patient(&mut ana).await;
        let person = daughter(&mut ana, &patient.name, "ana").await;
        assert_eq!(code(grant(&mut ana, &person, scope()).await), Code::FailedPrecondition);
        let bad = pb::CaregiverScope {
            topics: vec![],
            channels: vec![1, 1],
            evidence: "x".repeat(1001),
            ..Default::default()
        };
        let named = fields(grant(&mut ana, &person, bad).await);
        for field in ["scope.topics", "scope.channels", "scope.legal_basis", "scope.evidence"] {
            assert!(named.iter().any(|named| named == field), "{field} in {named:?}");
        }
    }
}
