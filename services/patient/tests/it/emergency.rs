//! Emergency access: who may open a record that is not theirs, for how long, and who learns of it.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis},
    patient::v1::{self as pb, emergency_access::State, review_emergency_access_request::Verdict},
};
use time::Duration;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::world::{Caller, World, code, fields, patient, sees, sign_in, worlds};

type Reply = Result<Response<pb::EmergencyAccess>, Status>;

async fn request(caller: &mut Caller, patient: &str, reason: &str) -> Reply {
    let (parent, reason) = (patient.to_owned(), reason.to_owned());
    let request = pb::RequestEmergencyAccessRequest { parent, reason, ..Default::default() };
    caller.request_emergency_access(request).await
}

async fn get(caller: &mut Caller, name: &str) -> pb::EmergencyAccess {
    let name = name.to_owned();
    let reply = caller.get_emergency_access(pb::GetEmergencyAccessRequest { name }).await;
    reply.unwrap().into_inner()
}

async fn end(caller: &mut Caller, access: &pb::EmergencyAccess) -> Reply {
    let (name, etag) = (access.name.clone(), access.etag.clone());
    let request = pb::EndEmergencyAccessRequest { name, etag, ..Default::default() };
    caller.end_emergency_access(request).await
}

async fn review(
    caller: &mut Caller,
    access: &pb::EmergencyAccess,
    verdict: Verdict,
    comment: &str,
) -> Reply {
    let request = pb::ReviewEmergencyAccessRequest {
        name: access.name.clone(),
        etag: access.etag.clone(),
        verdict: verdict.into(),
        comment: comment.to_owned(),
        ..Default::default()
    };
    caller.review_emergency_access(request).await
}

/// The queue of those that wait for review.
async fn queue(caller: &mut Caller) -> Vec<String> {
    let request = pb::ListEmergencyAccessesRequest {
        parent: "patients/-".to_owned(),
        states: vec![State::Expired.into(), State::Ended.into()],
        ..Default::default()
    };
    let reply = caller.list_emergency_accesses(request).await.unwrap().into_inner();
    reply.emergency_accesses.into_iter().map(|access| access.name).collect()
}

#[tokio::test]
async fn whoever_declares_an_emergency_sees_the_record_for_an_hour_and_no_longer() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let mut bob = world.caller("bob", "care_team");
        assert!(!sees(&mut bob, &row.name).await);
        let access = request(&mut bob, &row.name, "Found on the floor").await.unwrap().into_inner();
        assert_eq!((access.state(), &access.subject[..]), (State::Active, "bob"));
        assert_eq!((access.renewals, &access.renews[..]), (0, ""));
        assert!(sees(&mut bob, &row.name).await);
        assert!(!sees(&mut world.caller("eve", "care_team"), &row.name).await);

        world.advance(Duration::minutes(59)).await;
        assert!(sees(&mut bob, &row.name).await);
        world.advance(Duration::minutes(1)).await;
        assert!(!sees(&mut bob, &row.name).await);
        let expired = get(&mut bob, &access.name).await;
        assert_eq!((expired.state(), expired.end_time), (State::Expired, access.expire_time));
        assert_ne!(expired.etag, access.etag, "the timer has fired");
        assert_eq!(code(end(&mut bob, &expired).await), Code::FailedPrecondition);
        assert!(!sees(&mut bob, &row.name).await);
    }
}

#[tokio::test]
async fn an_access_ends_by_the_clock_where_its_timer_is_late() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let mut bob = world.caller("bob", "care_team");
        let access = request(&mut bob, &row.name, "Found on the floor").await.unwrap().into_inner();
        world.advance_past_timers(Duration::hours(1)).await;
        assert!(!sees(&mut bob, &row.name).await);
        let late = get(&mut bob, &access.name).await;
        assert_eq!((late.state(), late.end_time), (State::Expired, access.expire_time));
        assert_eq!(late.etag, access.etag, "no timer has fired");
        assert_eq!(code(end(&mut bob, &late).await), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn every_service_is_told_at_once_of_the_access_and_of_its_end() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let mut bob = world.caller("bob", "case_manager");
        let access =
            request(&mut bob, &row.name, "No answer at the door").await.unwrap().into_inner();
        let granted = world.told::<pb::EmergencyAccessGranted>().await;
        assert_eq!((&granted[0].emergency_access, &granted[0].subject[..]), (&access.name, "bob"));
        let emergencies = async |world: &World| -> Vec<RelationChanged> {
            let told = world.told::<RelationChanged>().await;
            told.into_iter().filter(|told| told.basis() == Basis::Emergency).collect()
        };
        let [opened] = &emergencies(&world).await[..] else { panic!("one relation began") };
        assert_eq!((&opened.subject[..], &opened.source), ("bob", &access.name));
        assert_eq!(opened.period.unwrap().end, access.expire_time);

        let ended = end(&mut bob, &access).await.unwrap().into_inner();
        assert_eq!(ended.state(), State::Ended);
        assert!(!sees(&mut bob, &row.name).await);
        let [_, closed] = &emergencies(&world).await[..] else { panic!("one relation ended") };
        assert_eq!(closed.period.unwrap().end, ended.end_time);
        assert!(closed.revision > opened.revision);
        assert_eq!(world.told::<pb::EmergencyAccessEnded>().await[0].state(), State::Ended);
    }
}

#[tokio::test]
async fn a_supervisor_reviews_each_access_but_not_their_own() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        let mut bob = world.caller("bob", "case_manager");
        let mut both = world.caller_as("bob", &["case_manager", "supervisor"]);
        let access = request(&mut bob, &row.name, "A fall").await.unwrap().into_inner();
        assert_eq!(queue(&mut sue).await, [""; 0]);
        let early = review(&mut sue, &access, Verdict::Justified, "").await;
        assert_eq!(code(early), Code::FailedPrecondition);

        world.advance_past_timers(Duration::hours(1)).await;
        assert_eq!(queue(&mut sue).await, std::slice::from_ref(&access.name));
        assert_eq!(
            code(review(&mut bob, &access, Verdict::Justified, "").await),
            Code::PermissionDenied
        );
        let own = review(&mut both, &access, Verdict::Justified, "").await;
        assert_eq!(code(own), Code::FailedPrecondition);
        let silent = review(&mut sue, &access, Verdict::Unjustified, "").await;
        assert_eq!(fields(silent), ["comment"]);
        let open = review(&mut sue, &access, Verdict::Unspecified, "").await;
        assert_eq!(fields(open), ["verdict"]);
        let stale = pb::EmergencyAccess { etag: "\"7\"".to_owned(), ..access.clone() };
        assert_eq!(code(review(&mut sue, &stale, Verdict::Justified, "").await), Code::Aborted);

        // The timer is late; the review ends the access first.
        let reviewed = review(&mut sue, &access, Verdict::Unjustified, "Curiosity").await;
        let reviewed = reviewed.unwrap().into_inner();
        assert_eq!((reviewed.state(), &reviewed.reviewer[..]), (State::Unjustified, "sue"));
        assert_eq!(
            (&reviewed.review_comment[..], reviewed.end_time),
            ("Curiosity", access.expire_time)
        );
        assert_eq!(queue(&mut sue).await, [""; 0]);
        let ended = world.told::<pb::EmergencyAccessEnded>().await;
        assert_eq!(ended[0].state(), State::Expired);
        let told = world.told::<pb::EmergencyAccessReviewed>().await;
        assert_eq!(told[0].state(), State::Unjustified);
        let again = review(&mut sue, &reviewed, Verdict::Justified, "").await;
        assert_eq!(code(again), Code::FailedPrecondition);
        assert_eq!(code(request(&mut bob, &row.name, "Again").await), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn renewals_are_a_chain_that_a_supervisor_must_look_at() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        let mut bob = world.caller("bob", "case_manager");
        let mut last = request(&mut bob, &row.name, "A fall").await.unwrap().into_inner();
        for renewals in 1..=3 {
            world.advance(Duration::minutes(if renewals == 2 { 90 } else { 30 })).await;
            let next = request(&mut bob, &row.name, "Still there").await.unwrap().into_inner();
            assert_eq!((next.renewals, &next.renews), (renewals, &last.name));
            assert_ne!(get(&mut bob, &last.name).await.state(), State::Active);
            last = next;
        }
        assert_eq!(code(request(&mut bob, &row.name, "Still").await), Code::FailedPrecondition);
        assert!(sees(&mut bob, &row.name).await, "a renewal that is refused ends nothing");
        let ended = end(&mut bob, &last).await.unwrap().into_inner();
        review(&mut sue, &ended, Verdict::Justified, "").await.unwrap();
        let fresh = request(&mut bob, &row.name, "Another fall").await.unwrap().into_inner();
        assert_eq!((fresh.renewals, &fresh.renews[..]), (0, ""));
        assert_eq!(queue(&mut sue).await.len(), 3);
    }
}

#[tokio::test]
async fn an_unjustified_access_bars_the_next_one_for_a_day_whatever_was_asked_for_since() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        let (mut bob, mut eve) =
            (world.caller("bob", "case_manager"), world.caller("eve", "case_manager"));
        let first = request(&mut bob, &row.name, "A fall").await.unwrap().into_inner();
        world.advance(Duration::minutes(30)).await;
        let second = request(&mut bob, &row.name, "Still there").await.unwrap().into_inner();
        assert_eq!(second.renews, first.name);
        let first = get(&mut sue, &first.name).await;
        review(&mut sue, &first, Verdict::Unjustified, "Curiosity").await.unwrap();
        assert_eq!(code(request(&mut bob, &row.name, "Still").await), Code::FailedPrecondition);
        assert!(
            sees(&mut bob, &row.name).await,
            "what is open is ended by its hour, or by somebody"
        );
        end(&mut sue, &second).await.unwrap();
        assert!(!sees(&mut bob, &row.name).await);
        request(&mut eve, &row.name, "A fall").await.unwrap();

        // What counts is when it was found, not when it ended.
        world.advance(Duration::hours(23)).await;
        assert_eq!(code(request(&mut bob, &row.name, "Again").await), Code::FailedPrecondition);
        let second = get(&mut sue, &second.name).await;
        review(&mut sue, &second, Verdict::Unjustified, "Curiosity").await.unwrap();
        world.advance(Duration::hours(23)).await;
        assert_eq!(code(request(&mut bob, &row.name, "Again").await), Code::FailedPrecondition);
        world.advance(Duration::hours(1)).await;
        let fresh = request(&mut bob, &row.name, "A stroke").await.unwrap().into_inner();
        assert_eq!((fresh.renewals, &fresh.renews[..]), (0, ""));
    }
}

#[tokio::test]
async fn two_requests_at_once_make_one_access() {
    for world in worlds().await {
        let row = patient(&mut world.caller("sue", "supervisor")).await;
        let all = (0..6).map(|_| {
            let (mut bob, name) = (world.caller("bob", "case_manager"), row.name.clone());
            async move { request(&mut bob, &name, "A fall").await }
        });
        let replies = futures_util::future::join_all(all).await;
        assert!(replies.iter().any(Result::is_ok));
        let list = pb::ListEmergencyAccessesRequest {
            parent: row.name.clone(),
            states: vec![State::Active.into()],
            ..Default::default()
        };
        let active = world.caller("sue", "supervisor").list_emergency_accesses(list).await;
        assert_eq!(active.unwrap().into_inner().emergency_accesses.len(), 1);
    }
}

#[tokio::test]
async fn an_emergency_opens_no_search_and_tells_nothing_of_others() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let (row, other) = (patient(&mut sue).await, patient(&mut sue).await);
        let mut bob = world.caller("bob", "case_manager");
        let unknown = format!("patients/{}", Uuid::now_v7());
        assert_eq!(code(request(&mut bob, &unknown, "A fall").await), Code::NotFound);
        assert_eq!(fields(request(&mut bob, "patients/-", "A fall").await), ["parent"]);
        assert_eq!(fields(request(&mut bob, &row.name, "").await), ["reason"]);
        assert_eq!(fields(request(&mut bob, &row.name, &"x".repeat(1001)).await), ["reason"]);
        for role in ["patient", "caregiver", "integration", "auditor", "supervisor", "operator"] {
            let refused = request(&mut world.caller("mia", role), &row.name, "A fall").await;
            assert_eq!(code(refused), Code::PermissionDenied, "{role}");
        }
        let access = request(&mut bob, &row.name, "A fall").await.unwrap().into_inner();
        assert!(!sees(&mut bob, &other.name).await);
        let listed =
            bob.list_patients(pb::ListPatientsRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.patients.len(), 1);
        let mut eve = world.caller("eve", "case_manager");
        let name = access.name.clone();
        let hidden = eve.get_emergency_access(pb::GetEmergencyAccessRequest { name }).await;
        assert_eq!(code(hidden), Code::NotFound);
        assert_eq!(code(end(&mut eve, &access).await), Code::NotFound);
    }
}

#[tokio::test]
async fn the_patient_sees_who_declared_an_emergency_and_what_they_did_in_it() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        sign_in(&mut sue, &row, "pat").await;
        let mut bob = world.caller("bob", "case_manager");
        let access = request(&mut bob, &row.name, "A fall").await.unwrap().into_inner();
        assert!(sees(&mut bob, &row.name).await);
        world.advance(Duration::minutes(61)).await;

        let mut pat = world.caller("pat", "patient");
        assert_eq!(get(&mut pat, &access.name).await.reason, "A fall");
        assert_eq!(code(end(&mut pat, &access).await), Code::PermissionDenied);
        let request = pb::ListAccessesRequest { parent: row.name.clone(), ..Default::default() };
        // The end of a read is put on record after its answer.
        let seen = world.until(async || {
            let listed = pat.clone().list_accesses(request.clone()).await.unwrap().into_inner();
            let seen: Vec<_> = listed
                .accesses
                .into_iter()
                .filter(|seen| seen.basis == "ETREAT" || seen.method == "timer")
                .map(|seen| (seen.actor, seen.method.rsplit('/').next().unwrap().to_owned()))
                .collect();
            (seen.len() >= 3).then_some(seen)
        });
        let seen = seen.await;
        let seen: Vec<_> = seen.iter().map(|(actor, method)| (&actor[..], &method[..])).collect();
        let (stop, rest) = seen.split_first().unwrap();
        assert!(stop.0.starts_with("service:"), "the stop is on record: {seen:?}");
        assert_eq!(rest, [("bob", "GetPatient"), ("bob", "RequestEmergencyAccess")]);
    }
}
