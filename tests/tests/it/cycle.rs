//! The first stories: they run on one process with SQLite, and on a cluster with PostgreSQL and NATS.
use std::time::Duration;

use caseward_api::{
    careplan::v1::{self as care, case_service_client::CaseServiceClient},
    notification::v1::{ListInboxItemsRequest, inbox_service_client::InboxServiceClient},
    patient::v1::{self as people, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_testkit::{Caller, suites};
use tonic::Code;
use uuid::Uuid;

async fn patient(caller: &Caller) -> people::Patient {
    let name = HumanName { family: "Marchena".to_owned(), ..Default::default() };
    let patient = people::Patient { names: vec![name], ..Default::default() };
    let request = people::CreatePatientRequest {
        patient: Some(patient),
        request_id: Uuid::now_v7().to_string(),
    };
    caller.client(PatientServiceClient::new).create_patient(request).await.unwrap().into_inner()
}

/// A case of a new patient, made by `sam` and enrolled with `ana` accountable.
pub(crate) async fn enrolled(sam: &Caller, ana: &str) -> care::Case {
    let mut cases = sam.client(CaseServiceClient::new);
    let patient = patient(sam).await.name;
    let case = care::Case { patient, title: "Heart failure".to_owned(), ..Default::default() };
    let request = care::CreateCaseRequest { case: Some(case), request_id: String::new() };
    let care::Case { name, etag, .. } = cases.create_case(request).await.unwrap().into_inner();
    let request = care::StartOutreachRequest { name, etag, ..Default::default() };
    let care::Case { name, etag, .. } = cases.start_outreach(request).await.unwrap().into_inner();
    let request = care::EnrolCaseRequest {
        name,
        etag,
        consent_statement: "said yes".to_owned(),
        accountable: ana.to_owned(),
        ..Default::default()
    };
    cases.enrol_case(request).await.unwrap().into_inner()
}

/// Asks again until the answer is as wanted: what crosses services arrives by event; the bound allows for a loaded machine.
async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    for _ in 0..200 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come about within 20 seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_becomes_accountable_sees_the_patient_and_is_told() {
    for suite in suites().await {
        let (sam, ana) =
            (suite.caller("sam", &["supervisor"]), suite.caller("ana", &["case_manager"]));
        let case = enrolled(&sam, "ana").await;
        let people = ana.client(PatientServiceClient::new);
        let request = people::GetPatientRequest { name: case.patient.clone() };
        eventually(|| {
            let (mut people, request) = (people.clone(), request.clone());
            async move { people.get_patient(request).await.ok() }
        })
        .await;
        let inbox = ana.client(InboxServiceClient::new);
        let items = eventually(|| {
            let mut inbox = inbox.clone();
            let ask =
                ListInboxItemsRequest { parent: "inboxes/me".to_owned(), ..Default::default() };
            async move {
                let items = inbox.list_inbox_items(ask).await.unwrap().into_inner().items;
                (!items.is_empty()).then_some(items)
            }
        })
        .await;
        assert_eq!(items[0].case, case.name);
        let stranger = suite.caller("eve", &["case_manager"]);
        let hidden =
            stranger.client(PatientServiceClient::new).get_patient(request).await.unwrap_err();
        assert_eq!(hidden.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_enrolled_on_the_consent_they_gave_and_on_none_before_or_after() {
    for suite in suites().await {
        let sam = suite.caller("sam", &["supervisor"]);
        let (mut people, mut cases) =
            (sam.client(PatientServiceClient::new), sam.client(CaseServiceClient::new));
        let patient = patient(&sam).await.name;
        let case = care::Case {
            patient: patient.clone(),
            title: "Falls".to_owned(),
            ..Default::default()
        };
        let request = care::CreateCaseRequest { case: Some(case), request_id: String::new() };
        let care::Case { name, etag, .. } = cases.create_case(request).await.unwrap().into_inner();
        let request = care::StartOutreachRequest { name, etag, ..Default::default() };
        let case = cases.start_outreach(request).await.unwrap().into_inner();

        let consent = people::Consent {
            r#type: people::consent::Type::Participation.into(),
            ..Default::default()
        };
        let request = people::CreateConsentRequest {
            parent: patient,
            consent: Some(consent),
            ..Default::default()
        };
        let people::Consent { name, etag, .. } =
            people.create_consent(request).await.unwrap().into_inner();
        let request = people::ProposeConsentRequest { name, etag, ..Default::default() };
        let consent = people.propose_consent(request).await.unwrap().into_inner();
        let enrol = |case: &care::Case| care::EnrolCaseRequest {
            name: case.name.clone(),
            etag: case.etag.clone(),
            consent: consent.name.clone(),
            accountable: "ana".to_owned(),
            ..Default::default()
        };
        let early = cases.enrol_case(enrol(&case)).await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition, "it was laid before them only");

        let (name, etag) = (consent.name.clone(), consent.etag.clone());
        let request = people::ActivateConsentRequest { name, etag, ..Default::default() };
        let people::Consent { name, etag, .. } =
            people.activate_consent(request).await.unwrap().into_inner();
        let enrolled = cases.enrol_case(enrol(&case)).await.unwrap().into_inner();
        assert_eq!(enrolled.state(), care::case::State::Assessing);
        assert_eq!((enrolled.consent.as_str(), enrolled.accountable.as_str()), (&*name, "ana"));

        let request = people::RevokeConsentRequest { name, etag, ..Default::default() };
        people.revoke_consent(request).await.unwrap();
        let case = care::Case {
            patient: enrolled.patient,
            title: "Again".to_owned(),
            ..Default::default()
        };
        let request = care::CreateCaseRequest { case: Some(case), request_id: String::new() };
        let care::Case { name, etag, .. } = cases.create_case(request).await.unwrap().into_inner();
        let request = care::StartOutreachRequest { name, etag, ..Default::default() };
        let case = cases.start_outreach(request).await.unwrap().into_inner();
        let late = cases.enrol_case(enrol(&case)).await.unwrap_err();
        assert_eq!(late.code(), Code::FailedPrecondition, "they took it back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_acts_once_and_is_answered_alike() {
    for suite in suites().await {
        let sam = suite.caller("sam", &["supervisor"]);
        let name = HumanName { family: "Zhao".to_owned(), ..Default::default() };
        let patient = Some(people::Patient { names: vec![name], ..Default::default() });
        let request =
            people::CreatePatientRequest { patient, request_id: Uuid::now_v7().to_string() };
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (mut people, request) = (sam.client(PatientServiceClient::new), request.clone());
            racing.spawn(async move { people.create_patient(request).await.unwrap().into_inner() });
        }
        let answers = racing.join_all().await;
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        let mut other = request;
        other.patient.as_mut().unwrap().gender = people::patient::Gender::Female.into();
        let refused =
            sam.client(PatientServiceClient::new).create_patient(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_service_is_unavailable_and_nothing_acknowledged_is_lost() {
    for mut suite in suites().await {
        let victim = if suite.is_cluster() { "patient" } else { "caseward" };
        let sam = suite.caller("sam", &["supervisor"]);
        let mut kept = vec![];
        for _ in 0..3 {
            kept.push(patient(&sam).await.name);
            suite.member(victim, 0).kill().await;
            suite.member(victim, 0).start().await;
            suite.ready().await;
        }
        let mut people = sam.client(PatientServiceClient::new);
        for name in kept {
            people.get_patient(people::GetPatientRequest { name }).await.unwrap();
        }
    }
}
