//! Relations: what this service tells others of them, and what others tell it.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis},
    careplan::v1::RelationBasis,
    patient::v1::{self as pb, caregiver_scope::Topic},
    types::v1::Period,
};
use prost_types::FieldMask;
use time::Duration;
use uuid::Uuid;

use crate::world::{daughter, patient, sees, worlds};

#[tokio::test]
async fn others_are_told_who_may_see_a_patient_and_who_no_more() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut ana).await;
        let request = pb::UpdatePatientRequest {
            patient: Some(pb::Patient { subject: "pat".to_owned(), ..row.clone() }),
            update_mask: Some(FieldMask { paths: vec!["subject".to_owned()] }),
            ..Default::default()
        };
        sue.update_patient(request).await.unwrap();
        let person = daughter(&mut ana, &row.name, "eva").await;
        let scope = pb::CaregiverScope {
            topics: vec![Topic::Plan.into()],
            legal_basis: pb::caregiver_scope::LegalBasis::Guardian.into(),
            ..Default::default()
        };
        let request = pb::GrantCaregiverScopeRequest {
            name: person.name.clone(),
            etag: person.etag,
            scope: Some(scope),
            ..Default::default()
        };
        let person = ana.grant_caregiver_scope(request).await.unwrap().into_inner();
        let request = pb::RevokeCaregiverScopeRequest {
            name: person.name.clone(),
            etag: person.etag,
            ..Default::default()
        };
        ana.revoke_caregiver_scope(request).await.unwrap();

        let told = world.told::<RelationChanged>().await;
        let of = |basis: Basis| -> Vec<_> {
            told.iter().filter(|told| told.basis() == basis).cloned().collect()
        };
        assert!(told.iter().all(|told| told.patient == row.name));
        assert_eq!((&of(Basis::Registrar)[0].subject[..], told.len()), ("ana", 4));
        assert_eq!(of(Basis::Self_)[0].subject, "pat");
        let [granted, revoked] = &of(Basis::Caregiver)[..] else { panic!("{told:?}") };
        assert_eq!((&granted.subject[..], &granted.source), ("eva", &person.name));
        assert_eq!(granted.topics, [i32::from(Topic::Plan)]);
        assert_eq!(granted.period.unwrap().end, None);
        assert!(revoked.period.unwrap().end.is_some());
        assert!(revoked.revision > granted.revision);
    }
}

#[tokio::test]
async fn a_member_of_the_care_team_sees_the_patient_until_the_team_says_otherwise() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let mut bob = world.caller("bob", "care_team");
        assert!(!sees(&mut bob, &row.name).await);
        let source = format!("cases/{}/members/{}", Uuid::now_v7(), Uuid::now_v7());
        let said = |revision, end: Option<caseward_core::Time>| RelationChanged {
            subject: "bob".to_owned(),
            patient: row.name.clone(),
            basis: Basis::Team.into(),
            period: Some(Period {
                start: Some((world.now() - Duration::days(1)).into()),
                end: end.map(Into::into),
            }),
            revision,
            source: source.clone(),
            topics: vec![],
        };
        world.tell(&source, 1, said(1, None)).await;
        assert!(sees(&mut bob, &row.name).await);
        world.tell(&source, 3, said(3, Some(world.now()))).await;
        assert!(!sees(&mut bob, &row.name).await);
        world.tell(&source, 2, said(2, None)).await;
        assert!(!sees(&mut bob, &row.name).await, "what was said before does not come back");
    }
}

#[tokio::test]
async fn whoever_became_related_a_moment_ago_sees_the_patient_before_the_event_came() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let mut bob = world.caller("bob", "care_team");
        assert!(!sees(&mut bob, &row.name).await);
        let nobody = format!("patients/{}", Uuid::now_v7());
        assert!(!sees(&mut bob, &nobody).await);
        let asked = || world.teams.asked.lock().unwrap().len();
        assert_eq!(asked(), 2, "asked once about each, there or not");

        let member = Uuid::now_v7();
        let basis = RelationBasis {
            basis: Basis::Team.into(),
            period: Some(Period { start: Some(world.now().into()), end: None }),
            source: member.to_string(),
            revision: 1,
            topics: vec![],
        };
        world.teams.known.lock().unwrap().push((format!("bob {}", row.name), basis));
        assert!(sees(&mut bob, &row.name).await);
        assert_eq!(asked(), 3);
        assert!(sees(&mut bob, &row.name).await);
        assert_eq!(asked(), 3, "what was learned is kept");

        // The event that ends it is about the same relation, whichever way it was learned.
        world.teams.known.lock().unwrap().clear();
        let source = format!("cases/{}/members/{member}", Uuid::now_v7());
        let ended = RelationChanged {
            subject: "bob".to_owned(),
            patient: row.name.clone(),
            basis: Basis::Team.into(),
            period: Some(Period {
                start: Some((world.now() - Duration::days(1)).into()),
                end: Some(world.now().into()),
            }),
            revision: 2,
            source: source.clone(),
            topics: vec![],
        };
        world.tell(&source, 2, ended).await;
        assert!(!sees(&mut bob, &row.name).await);
    }
}

#[tokio::test]
async fn a_supervisor_who_finds_nothing_asks_nobody() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        assert!(!sees(&mut sue, &format!("patients/{}", Uuid::now_v7())).await);
        assert!(world.teams.asked.lock().unwrap().is_empty());
    }
}
