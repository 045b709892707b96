//! Who is on the care team sees the patient, from the moment they join to the moment they leave.
use caseward_api::{careplan::v1 as pb, patient::v1::RelatedPerson, types::v1::Period};
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::{concept, patient, worlds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_sees_the_case_while_the_membership_lasts() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "care_team");
        let mut patients = world.caller("service:patient", "service");
        let case = ana.enrolled().await;
        let get = pb::GetCaseRequest { name: case.name.clone() };
        let check =
            pb::CheckRelationRequest { subject: "ben".to_owned(), patient: case.patient.clone() };
        assert_eq!(ben.cases.get_case(get.clone()).await.unwrap_err().code(), Code::NotFound);
        let before = patients.relations.check_relation(check.clone()).await.unwrap().into_inner();
        assert!(!before.related && before.bases.is_empty());

        let member =
            pb::Member { person: "ben".to_owned(), role: concept("Nurse"), ..Default::default() };
        let request = pb::AddMemberRequest {
            parent: case.name.clone(),
            member: Some(member),
            ..Default::default()
        };
        let member = ana.cases.add_member(request).await.unwrap().into_inner();
        ben.cases.get_case(get.clone()).await.expect("a member sees the case");
        let during = patients.relations.check_relation(check.clone()).await.unwrap().into_inner();
        assert!(during.related);
        assert!(member.name.ends_with(&during.bases[0].source), "the basis names the member");

        let request = pb::EndMemberRequest {
            name: member.name,
            etag: member.etag,
            reason: "moved".to_owned(),
            ..Default::default()
        };
        let early = (world.now() - Duration::seconds(1)).into();
        let early = pb::EndMemberRequest { end_time: Some(early), ..request.clone() };
        let refused = ana.cases.end_member(early).await.unwrap_err();
        assert!(refused.message().contains("before the membership"), "{}", refused.message());
        ana.cases.end_member(request).await.unwrap();
        assert_eq!(ben.cases.get_case(get).await.unwrap_err().code(), Code::NotFound);
        let after = patients.relations.check_relation(check).await.unwrap().into_inner();
        assert!(!after.related);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_the_family_is_one_whom_the_patient_service_knows_to_be_of_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let daughter = world.knows(&case.patient, RelatedPerson::default());
        let of_another = world.knows(&patient(), RelatedPerson::default());
        let nobody = format!("{}/relatedPersons/{}", case.patient, uuid::Uuid::now_v7());
        let add = |name: &str| pb::AddMemberRequest {
            parent: case.name.clone(),
            member: Some(pb::Member {
                related_person: name.to_owned(),
                role: concept("Daughter"),
                ..Default::default()
            }),
            ..Default::default()
        };
        for name in [of_another, nobody] {
            let refused = ana.cases.add_member(add(&name)).await.unwrap_err();
            let named = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(named[0].field, "member.related_person");
        }
        let member = ana.cases.add_member(add(&daughter)).await.unwrap().into_inner();
        assert_eq!(member.related_person, daughter);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_services_ask_who_is_related_to_whom() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.case().await;
        let check = pb::CheckRelationRequest { subject: "ana".to_owned(), patient: case.patient };
        let refused = ana.relations.check_relation(check).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_accountable_cannot_leave_the_team() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let list = pb::ListMembersRequest { parent: case.name.clone(), ..Default::default() };
        let members = ana.cases.list_members(list).await.unwrap().into_inner().members;
        let manager = members
            .into_iter()
            .find(|one| one.role.as_ref().is_some_and(|role| role.text == "Case manager"))
            .expect("the accountable person is a member");
        assert_eq!(manager.person, "ana");
        let request =
            pb::EndMemberRequest { name: manager.name, etag: manager.etag, ..Default::default() };
        let refused = ana.cases.end_member(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("hand the case over"), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_that_has_not_begun_is_taken_back_and_never_begins() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut ben = world.caller("ben", "care_team");
        let case = ana.enrolled().await;
        let start = Some((world.now() + Duration::days(3)).into());
        let member = pb::Member {
            person: "ben".to_owned(),
            role: concept("Nurse"),
            period: Some(Period { start, end: None }),
            ..Default::default()
        };
        let request = pb::AddMemberRequest {
            parent: case.name.clone(),
            member: Some(member),
            ..Default::default()
        };
        let member = ana.cases.add_member(request).await.unwrap().into_inner();
        let end = pb::EndMemberRequest {
            name: member.name,
            etag: member.etag,
            reason: "another Ben".to_owned(),
            ..Default::default()
        };
        let ended = ana.cases.end_member(end.clone()).await.unwrap().into_inner();
        let again = pb::EndMemberRequest { etag: ended.etag, ..end };
        let again = ana.cases.end_member(again).await.unwrap_err();
        assert_eq!(again.get_details_error_info().unwrap().reason, "MEMBER_ENDED");
        world.advance(Duration::days(4)).await;
        let get = pb::GetCaseRequest { name: case.name };
        assert_eq!(ben.cases.get_case(get).await.unwrap_err().code(), Code::NotFound);
    }
}
