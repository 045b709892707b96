//! Disclosures: what left about a patient is on record for good, and accounted for in one call.
use caseward_api::patient::v1::{
    self as pb,
    disclosure::{Basis, State},
};
use time::Duration;
use tonic::Code;

use crate::world::{Caller, code, fields, patient, sign_in, worlds};

fn disclosure(at: caseward_core::Time, to: &str, basis: Basis) -> pb::Disclosure {
    pb::Disclosure {
        disclose_time: Some(at.into()),
        recipient_name: to.to_owned(),
        recipient_address: "1 Main Street, Springfield".to_owned(),
        description: "Report of a communicable disease".to_owned(),
        purpose: "The county wants it within a day".to_owned(),
        basis: basis.into(),
        ..Default::default()
    }
}

async fn create(
    caller: &mut Caller,
    patient: &str,
    disclosure: pb::Disclosure,
) -> Result<tonic::Response<pb::Disclosure>, tonic::Status> {
    let (parent, disclosure) = (patient.to_owned(), Some(disclosure));
    let request = pb::CreateDisclosureRequest { parent, disclosure, ..Default::default() };
    caller.create_disclosure(request).await
}

async fn list(caller: &mut Caller, request: pb::ListDisclosuresRequest) -> Vec<String> {
    let reply = caller.list_disclosures(request).await.unwrap().into_inner();
    reply.disclosures.into_iter().map(|disclosure| disclosure.recipient_name).collect()
}

fn accounting(patient: &str) -> pb::ListDisclosuresRequest {
    pb::ListDisclosuresRequest { parent: patient.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn an_accounting_tells_of_six_years_in_their_order_without_what_is_exempt() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        sign_in(&mut sue, &row, "pat").await;
        let now = world.now();
        let exempt = pb::Disclosure {
            accounting_exempt: true,
            ..disclosure(now - Duration::days(20), "clinic", Basis::Treatment)
        };
        let told = [
            disclosure(now - Duration::days(10), "county", Basis::PublicHealth),
            disclosure(now - Duration::days(7 * 365), "court", Basis::Judicial),
            exempt,
            disclosure(now - Duration::days(6 * 365 - 1), "police", Basis::LawEnforcement),
            disclosure(now - Duration::days(5), "by mistake", Basis::Other),
        ];
        let mut last = pb::Disclosure::default();
        for disclosure in told {
            last = create(&mut sue, &row.name, disclosure).await.unwrap().into_inner();
        }
        let mistake = pb::MarkDisclosureEnteredInErrorRequest {
            name: last.name.clone(),
            etag: last.etag.clone(),
            reason: "It was never sent".to_owned(),
            ..Default::default()
        };
        let marked = sue.mark_disclosure_entered_in_error(mistake).await.unwrap().into_inner();
        assert_eq!(
            (marked.state(), &marked.state_reason[..]),
            (State::EnteredInError, "It was never sent")
        );

        let mut pat = world.caller("pat", "patient");
        assert_eq!(list(&mut pat, accounting(&row.name)).await, ["police", "county"]);
        let whole = pb::ListDisclosuresRequest { include_all: true, ..accounting(&row.name) };
        assert_eq!(code(pat.list_disclosures(whole.clone()).await), Code::PermissionDenied);
        let mut auditor = world.caller("aud", "auditor");
        let all = list(&mut auditor, whole.clone()).await;
        assert_eq!(all, ["police", "clinic", "county", "by mistake"]);
        let older = pb::ListDisclosuresRequest {
            from: Some((now - Duration::days(10 * 365)).into()),
            until: Some((now - Duration::days(15)).into()),
            ..whole
        };
        assert_eq!(list(&mut auditor, older).await, ["court", "police", "clinic"]);

        let mut page = pb::ListDisclosuresRequest { page_size: 1, ..accounting(&row.name) };
        let mut paged = vec![];
        loop {
            let reply = pat.list_disclosures(page.clone()).await.unwrap().into_inner();
            paged.extend(reply.disclosures.into_iter().map(|disclosure| disclosure.recipient_name));
            page.page_token = reply.next_page_token;
            if page.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, ["police", "county"]);
    }
}

#[tokio::test]
async fn a_disclosure_that_does_not_read_is_refused_with_every_fault() {
    for world in worlds().await {
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut sue).await;
        let empty = create(&mut sue, &row.name, pb::Disclosure::default()).await;
        let wanted = ["disclose_time", "recipient_name", "description", "purpose", "basis"];
        assert_eq!(fields(empty), wanted.map(|field| format!("disclosure.{field}")));
        let bad = pb::Disclosure {
            accounting_exempt: true,
            payload_hash: "ABC".to_owned(),
            recipient_address: "x".repeat(501),
            ..disclosure(world.now() + Duration::hours(1), "county", Basis::PublicHealth)
        };
        let wanted = ["disclose_time", "recipient_address", "accounting_exempt", "payload_hash"];
        let refused = fields(create(&mut sue, &row.name, bad).await);
        assert_eq!(refused, wanted.map(|field| format!("disclosure.{field}")));
        let hashed = pb::Disclosure {
            payload_hash: "0a".repeat(32),
            ..disclosure(world.now(), "county", Basis::PublicHealth)
        };
        let kept = create(&mut sue, &row.name, hashed).await.unwrap().into_inner();
        assert_eq!((kept.payload_hash, &kept.author[..]), ("0a".repeat(32), "sue"));
    }
}

#[tokio::test]
async fn a_disclosure_is_history_that_its_author_or_a_supervisor_may_take_back_once() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let row = patient(&mut ana).await;
        let at = disclosure(world.now(), "county", Basis::PublicHealth);
        let kept = create(&mut ana, &row.name, at).await.unwrap().into_inner();
        let mut bob = world.caller("bob", "case_manager");
        let name = kept.name.clone();
        let hidden = bob.get_disclosure(pb::GetDisclosureRequest { name }).await;
        assert_eq!(code(hidden), Code::NotFound);
        let mark = |etag: &str, reason: &str| pb::MarkDisclosureEnteredInErrorRequest {
            name: kept.name.clone(),
            etag: etag.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            code(ana.mark_disclosure_entered_in_error(mark("\"9\"", "x")).await),
            Code::Aborted
        );
        assert_eq!(
            fields(ana.mark_disclosure_entered_in_error(mark(&kept.etag, "")).await),
            ["reason"]
        );
        let marked = ana.mark_disclosure_entered_in_error(mark(&kept.etag, "Twice")).await;
        let marked = marked.unwrap().into_inner();
        let again = ana.mark_disclosure_entered_in_error(mark(&marked.etag, "Twice")).await;
        assert_eq!(code(again), Code::FailedPrecondition);
        assert_eq!(world.told::<pb::DisclosureRecorded>().await.len(), 1);
        assert_eq!(world.told::<pb::DisclosureEnteredInError>().await.len(), 1);
        let mut eva = world.caller("eva", "caregiver");
        assert_eq!(code(eva.list_disclosures(accounting(&row.name)).await), Code::PermissionDenied);
    }
}
