//! A care team sees its patient before the events about it arrive: the service asks care-plan once.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use caseward_api::{
    access::v1::relation_changed::Basis,
    careplan::v1::{
        CheckRelationRequest, Relation, RelationBasis,
        relation_service_server::{RelationService, RelationServiceServer},
    },
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::{HumanName, Period},
};
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, Process, Transport, settings::Layers};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// A care-plan service that knows one nurse, on the team of everybody.
#[derive(Clone, Debug, Default)]
struct Teams {
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl RelationService for Teams {
    async fn check_relation(
        &self,
        req: Request<CheckRelationRequest>,
    ) -> Result<Response<Relation>, Status> {
        self.asked.fetch_add(1, SeqCst);
        let CheckRelationRequest { subject, patient } = req.into_inner();
        let related = subject == "nurse";
        let start = Some(Clock::System.now().into());
        let basis = RelationBasis {
            basis: Basis::Team.into(),
            period: Some(Period { start, end: None }),
            source: Uuid::now_v7().to_string(),
            revision: 1,
        };
        let bases = related.then_some(basis).into_iter().collect();
        Ok(Response::new(Relation { subject, patient, related, bases }))
    }
}

async fn start(data: &str, care_plan: Transport) -> Process {
    let layers = Layers::load(None, &[caseward_patient::DEFAULTS]).unwrap();
    let layers = layers.with("data", data).unwrap();
    let mut process = Process::new(layers.common().unwrap()).await.unwrap();
    process.bind("care_plan", care_plan);
    caseward_patient::start(layers.section("patient").unwrap(), &mut process).await.unwrap();
    process.ready().unwrap();
    process
}

fn ask<T>(process: &Process, subject: &str, message: T) -> Request<T> {
    let (life, now) = (Duration::from_secs(600), Clock::System.now());
    let roles = ["case_manager"];
    let token = process.verifier().mint(subject, &roles, LOCAL_ORGANIZATION, life, now).unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn patient(process: &Process) -> pb::GetPatientRequest {
    let name = HumanName { family: "Byron".to_owned(), ..Default::default() };
    let request = pb::CreatePatientRequest {
        patient: Some(pb::Patient { names: vec![name], ..Default::default() }),
        ..Default::default()
    };
    let mut patients = PatientServiceClient::new(process.peer("patient"));
    let made = patients.create_patient(ask(process, "ana", request)).await.unwrap();
    pb::GetPatientRequest { name: made.into_inner().name }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_the_team_is_known_after_one_question() {
    let data = std::env::temp_dir().join(format!("caseward-{}", Uuid::now_v7()));
    let teams = Teams::default();
    let double = Transport::local(RelationServiceServer::new(teams.clone()));
    let process = start(data.to_str().unwrap(), double).await;
    let mut patients = PatientServiceClient::new(process.peer("patient"));
    let get = patient(&process).await;
    for _ in 0..2 {
        patients.get_patient(ask(&process, "nurse", get.clone())).await.unwrap();
    }
    assert_eq!(teams.asked.load(SeqCst), 1, "what care-plan said is kept");
    let refused = patients.get_patient(ask(&process, "eve", get)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_care_plan_what_is_known_stands() {
    let data = std::env::temp_dir().join(format!("caseward-{}", Uuid::now_v7()));
    let nowhere = Transport::remote("http://127.0.0.1:9".parse().unwrap());
    let process = start(data.to_str().unwrap(), nowhere).await;
    let mut patients = PatientServiceClient::new(process.peer("patient"));
    let get = patient(&process).await;
    patients.get_patient(ask(&process, "ana", get.clone())).await.expect("the registrar sees it");
    let refused = patients.get_patient(ask(&process, "nurse", get)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
