//! What an operator sees of one call: a single trace, from the door to whoever was told of it.
use std::{collections::BTreeSet, time::Duration};

use caseward_api::careplan::v1::{Case, CreateCaseRequest, case_service_client::CaseServiceClient};
use caseward_api::patient::v1::{
    CreatePatientRequest, Patient, patient_service_client::PatientServiceClient,
};
use caseward_api::types::v1::HumanName;
use caseward_testkit::{Collector, Suite, Telemetry};
use tonic::Request;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const SERVED: &str = "caseward.careplan.v1.CaseService/CreateCase";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_door_to_a_peer_and_to_those_who_hear_the_event() {
    let collector = Collector::start().await;
    let plan = || {
        let plan = Suite::plan().with("CASEWARD__OTLP__ENDPOINT", collector.endpoint());
        plan.with("CASEWARD__OTLP__SAMPLE_RATIO", "0")
    };
    let mut suites = vec![plan().one().await];
    suites.extend(plan().cluster().await);
    for (n, suite) in suites.iter().enumerate() {
        let trace = format!("{}{n}", &TRACE[..31]);
        let sam = suite.caller("sam", &["supervisor"]);
        let name = HumanName { family: "Quiroga".to_owned(), ..Default::default() };
        let patient = Some(Patient { names: vec![name], ..Default::default() });
        let request = CreatePatientRequest { patient, ..Default::default() };
        let patient = sam.client(PatientServiceClient::new).create_patient(request).await.unwrap();
        let patient = patient.into_inner().name;
        let case = Some(Case { patient, title: "Heart failure".to_owned(), ..Default::default() });
        let mut request = Request::new(CreateCaseRequest { case, ..Default::default() });
        let header = format!("00-{trace}-{CALLER}-01").parse().unwrap();
        request.metadata_mut().insert("traceparent", header);
        sam.client(CaseServiceClient::new).create_case(request).await.unwrap();

        let whole = |telemetry: &Telemetry| {
            let spans = of(telemetry, &trace);
            let count =
                |name: &str| spans.iter().filter(|span| span.name.starts_with(name)).count();
            count(SERVED) >= 2 && count("consume ") >= 1
        };
        let received = collector.wait_for(whole, Duration::from_secs(60)).await;
        let spans = of(&received, &trace);
        let known: BTreeSet<&str> =
            spans.iter().map(|span| span.id.as_str()).chain([CALLER]).collect();
        for span in &spans {
            assert!(known.contains(span.parent.as_str()), "{} hangs on nothing", span.name);
        }
        let from_door = spans.iter().filter(|span| span.parent == CALLER).collect::<Vec<_>>();
        assert_eq!(from_door.len(), 1, "the door alone is called");
        let served = spans.iter().find(|span| span.parent == from_door[0].id).unwrap();
        assert_eq!(served.name, SERVED);
        let heard = spans.iter().find(|span| span.name.starts_with("consume ")).unwrap();
        assert_eq!(heard.parent, served.id, "what was heard hangs on what was done");
        let processes: BTreeSet<&str> = spans.iter().map(|span| span.process.as_str()).collect();
        assert!(!suite.is_cluster() || processes.len() >= 3, "{processes:?}");
        assert!(!received.holds("Quiroga"), "a patient's name left with the telemetry");
    }
}

struct Span {
    process: String,
    name: String,
    id: String,
    parent: String,
}

fn of(telemetry: &Telemetry, trace: &str) -> Vec<Span> {
    let spans = telemetry.spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
    spans
        .map(|(process, span)| Span {
            process: process.clone(),
            name: span.name.clone(),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
