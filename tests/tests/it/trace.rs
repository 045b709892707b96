//! What an operator sees of one call: a single trace, from the door to the mail that it led to.
use std::{collections::BTreeSet, time::Duration};

use caseward_api::{
    careplan::v1::{
        Case, CreateCaseRequest, EnrolCaseRequest, StartOutreachRequest,
        case_service_client::CaseServiceClient,
    },
    patient::v1::{
        ActivateConsentRequest, Consent, CreateConsentRequest, CreatePatientRequest, Patient,
        ProposeConsentRequest, consent, patient_service_client::PatientServiceClient,
    },
    types::v1::{ContactPoint, HumanName, contact_point},
};
use caseward_testkit::{Caller, Collector, Smtp, Suite, Telemetry};
use tonic::Request;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e473";
const CALLER: &str = "00f067aa0ba902b7";
const CREATE: &str = "caseward.careplan.v1.CaseService/CreateCase";
const ENROL: &str = "caseward.careplan.v1.CaseService/EnrolCase";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_door_to_a_peer_and_to_the_mail_hours_later() {
    let (collector, smtp) = (Collector::start().await, Smtp::start().await);
    let plan = || {
        Suite::plan()
            .with("CASEWARD__OTLP__ENDPOINT", collector.endpoint())
            .with("CASEWARD__OTLP__SAMPLE_RATIO", "0")
            .with("CASEWARD__NOTIFICATION__SMTP__HOST", "127.0.0.1")
            .with("CASEWARD__NOTIFICATION__SMTP__PORT", smtp.address().port().to_string())
            .with("CASEWARD__NOTIFICATION__SMTP__TLS", "none")
    };
    let mut suites = vec![plan().one().await];
    suites.extend(plan().cluster().await);
    for (n, suite) in suites.iter().enumerate() {
        let sam = suite.caller("sam", &["supervisor"]);
        let patient = reachable(&sam).await;
        let mut cases = sam.client(CaseServiceClient::new);

        let created = format!("{TRACE}{}", 2 * n);
        let case = Some(Case { patient, title: "Heart failure".to_owned(), ..Default::default() });
        let request = CreateCaseRequest { case, ..Default::default() };
        let case = cases.create_case(traced(&created, request)).await.unwrap().into_inner();
        let spans = whole(&collector, &created, |spans| {
            named(spans, CREATE).count() >= 2 && named(spans, "consume ").count() >= 1
        })
        .await;
        hang_together(&spans);
        let way = way_to(&spans, named(&spans, "consume ").next().unwrap());
        let kinds: Vec<Kind> = way.iter().map(|span| span.kind).collect();
        assert_eq!(kinds, [Kind::Consumer, Kind::Producer, Kind::Server, Kind::Server]);

        let enrolled = format!("{TRACE}{}", 2 * n + 1);
        let request =
            StartOutreachRequest { name: case.name, etag: case.etag, ..Default::default() };
        let case = cases.start_outreach(request).await.unwrap().into_inner();
        let request = EnrolCaseRequest {
            name: case.name,
            etag: case.etag,
            consent_statement: "said yes".to_owned(),
            accountable: "ana".to_owned(),
            ..Default::default()
        };
        cases.enrol_case(traced(&enrolled, request)).await.unwrap();
        // It is night where the patient lives; in the morning the mail goes out.
        suite.advance(time::Duration::hours(5)).await;
        smtp.wait_for(n + 1, Duration::from_secs(60)).await;
        let spans =
            whole(&collector, &enrolled, |spans| named(spans, "send email").count() >= 1).await;
        hang_together(&spans);
        let mails: Vec<&Span> = named(&spans, "send email").collect();
        let [mail] = mails[..] else { panic!("one mail, {} spans", mails.len()) };
        let way = way_to(&spans, mail);
        let steps: Vec<(&str, Kind)> =
            way.iter().map(|span| (span.name.as_str(), span.kind)).collect();
        assert_eq!(
            steps[..5],
            [
                ("send email", Kind::Client),
                ("deliver message", Kind::Consumer),
                ("consume caseward.careplan.v1.CaseEnrolled", Kind::Consumer),
                ("publish caseward.careplan.v1.CaseEnrolled", Kind::Producer),
                (ENROL, Kind::Server),
            ]
        );
        assert_eq!(way.last().unwrap().parent, CALLER, "it begins where the caller stands");
        for known in ["smtp", "127.0.0.1"] {
            assert!(mail.attributes.contains(known), "{}", mail.attributes);
        }
        let processes: BTreeSet<&str> = way.iter().map(|span| span.process.as_str()).collect();
        assert_eq!(processes.len(), if suite.is_cluster() { 3 } else { 1 }, "{processes:?}");
    }
    let received = collector.received();
    for private in ["Quiroga", "quiroga@example.org", "Your care team", "Heart failure"] {
        assert!(!received.holds(private), "{private} left with the telemetry");
    }
}

/// A patient in New York who has mail and agreed to it.
async fn reachable(sam: &Caller) -> String {
    let mut patients = sam.client(PatientServiceClient::new);
    let name = HumanName { family: "Quiroga".to_owned(), ..Default::default() };
    let email = ContactPoint {
        system: contact_point::System::Email.into(),
        value: "quiroga@example.org".to_owned(),
        ..Default::default()
    };
    let patient = Patient {
        names: vec![name],
        telecoms: vec![email],
        time_zone: "America/New_York".to_owned(),
        ..Default::default()
    };
    let request = CreatePatientRequest { patient: Some(patient), ..Default::default() };
    let patient = patients.create_patient(request).await.unwrap().into_inner().name;
    let consent = Consent { r#type: consent::Type::Messaging.into(), ..Default::default() };
    let request = CreateConsentRequest {
        parent: patient.clone(),
        consent: Some(consent),
        ..Default::default()
    };
    let Consent { name, etag, .. } = patients.create_consent(request).await.unwrap().into_inner();
    let request = ProposeConsentRequest { name, etag, ..Default::default() };
    let Consent { name, etag, .. } = patients.propose_consent(request).await.unwrap().into_inner();
    let request = ActivateConsentRequest { name, etag, ..Default::default() };
    patients.activate_consent(request).await.unwrap();
    patient
}

/// The request of a caller who traces it.
fn traced<T>(trace: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    let header = format!("00-{trace}-{CALLER}-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", header);
    request
}

/// The spans of `trace`, once there are `enough`.
async fn whole(collector: &Collector, trace: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    // Each process exports in its own time.
    let whole = |telemetry: &Telemetry| {
        let spans = of(telemetry, trace);
        enough(&spans) && astray(&spans).is_none()
    };
    of(&collector.wait_for(whole, Duration::from_secs(60)).await, trace)
}

/// A span that hangs neither on another nor on the caller.
fn astray(spans: &[Span]) -> Option<&Span> {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).chain([CALLER]).collect();
    spans.iter().find(|span| !known.contains(span.parent.as_str()))
}

/// Every span hangs on another or on the caller, who called the door alone.
fn hang_together(spans: &[Span]) {
    if let Some(span) = astray(spans) {
        panic!("{} hangs on nothing", span.name);
    }
    let from_door = spans.iter().filter(|span| span.parent == CALLER).count();
    assert_eq!(from_door, 1, "the door alone is called");
}

/// From `span` up to where the caller stands.
fn way_to<'s>(spans: &'s [Span], span: &'s Span) -> Vec<&'s Span> {
    let above = |span: &&'s Span| spans.iter().find(|other| other.id == span.parent);
    std::iter::successors(Some(span), above).collect()
}

fn named<'s>(spans: &'s [Span], name: &str) -> impl Iterator<Item = &'s Span> {
    spans.iter().filter(move |span| span.name.starts_with(name))
}

struct Span {
    process: String,
    name: String,
    kind: Kind,
    id: String,
    parent: String,
    attributes: String,
}

/// The numbers of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

fn of(telemetry: &Telemetry, trace: &str) -> Vec<Span> {
    let spans = telemetry.spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
    spans
        .map(|(process, span)| Span {
            process: process.clone(),
            name: span.name.clone(),
            kind: match span.kind {
                2 => Kind::Server,
                3 => Kind::Client,
                4 => Kind::Producer,
                5 => Kind::Consumer,
                _ => Kind::Internal,
            },
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: format!("{:?}", span.attributes),
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
