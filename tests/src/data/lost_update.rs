//! No update is lost: of those who write from one reading, one wins.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use caseward_api::{
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_testkit::{Caller, Suite, suites};
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{Run, Trial};

const RECORDS: usize = 8;
const CLIENTS: usize = 64;

/// Clients add one to a count in a record, each from what it read; the counts must add up to the writes that were
/// acknowledged, and so must the revisions.
pub async fn etags(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let attempts = run.of(400, 200_000);
    let suites = suites().await;
    run.expect(attempts * suites.len() as u64);
    for suite in &suites {
        let race = race(suite, attempts, Writer::Honest, run).await;
        trial.tries += attempts;
        for why in race.differences() {
            trial.fail(format!("{}: {why}", suite.shape()));
        }
    }
    let race = race(&suites[0], 200, Writer::Careless, run).await;
    let lost = race.acknowledged.saturating_sub(race.counted);
    trial.control(
        format!(
            "writers who put a fresh etag on an old value lost {lost} of {} updates",
            race.acknowledged
        ),
        !race.differences().is_empty(),
    );
    trial
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Sends the etag of what it read.
    Honest,
    /// Asks for the etag of the moment, and keeps its old value.
    Careless,
}

/// How a race went, over all records.
struct Race {
    acknowledged: u64,
    /// What the records hold.
    counted: u64,
    /// How often the records changed.
    revisions: u64,
    /// Answers that are neither OK nor ABORTED.
    other: Vec<String>,
}

impl Race {
    fn differences(&self) -> Vec<String> {
        let mut all = self.other.clone();
        for (what, is) in [("counts add up to", self.counted), ("records changed", self.revisions)]
        {
            if is != self.acknowledged {
                all.push(format!("{what} {is}, acknowledged were {}", self.acknowledged));
            }
        }
        all
    }
}

async fn race(suite: &Suite, attempts: u64, writer: Writer, run: &Run) -> Race {
    let sam = suite.caller("sam", &["supervisor"]);
    let mut records = vec![];
    for _ in 0..RECORDS {
        records.push(create(&sam).await);
    }
    let left = Arc::new(AtomicU64::new(attempts));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (sam, left, run) = (sam.clone(), left.clone(), run.clone());
        let name = records[client % RECORDS].clone();
        clients.spawn(async move {
            let (mut acknowledged, mut other) = (0, vec![]);
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                match add_one(&sam, &name, writer).await {
                    Ok(()) => acknowledged += 1,
                    Err(status) if status.code() == Code::Aborted => {}
                    Err(status) => other.push(format!("{:?}: {}", status.code(), status.message())),
                }
                run.step();
            }
            (acknowledged, other)
        });
    }
    let mut race = Race { acknowledged: 0, counted: 0, revisions: 0, other: vec![] };
    while let Some(done) = clients.join_next().await {
        let (acknowledged, other) = done.unwrap();
        race.acknowledged += acknowledged;
        race.other.extend(other);
    }
    for name in records {
        let patient = get(&sam, &name).await.unwrap();
        race.counted += count(&patient);
        race.revisions += patient.etag.trim_matches('"').parse::<u64>().unwrap() - 1;
    }
    race
}

async fn add_one(caller: &Caller, name: &str, writer: Writer) -> Result<(), tonic::Status> {
    let mut patient = get(caller, name).await?;
    patient.names[0].family = (count(&patient) + 1).to_string();
    if writer == Writer::Careless {
        patient.etag = get(caller, name).await?.etag;
    }
    let request = pb::UpdatePatientRequest {
        patient: Some(patient),
        update_mask: Some(prost_types::FieldMask { paths: vec!["names".to_owned()] }),
        request_id: Uuid::now_v7().to_string(),
    };
    caller.client(PatientServiceClient::new).update_patient(request).await.map(|_| ())
}

async fn create(caller: &Caller) -> String {
    let name = HumanName { family: "0".to_owned(), ..Default::default() };
    let patient = Some(pb::Patient { names: vec![name], ..Default::default() });
    let request = pb::CreatePatientRequest { patient, request_id: Uuid::now_v7().to_string() };
    caller
        .client(PatientServiceClient::new)
        .create_patient(request)
        .await
        .unwrap()
        .into_inner()
        .name
}

async fn get(caller: &Caller, name: &str) -> Result<pb::Patient, tonic::Status> {
    let request = pb::GetPatientRequest { name: name.to_owned() };
    Ok(caller.client(PatientServiceClient::new).get_patient(request).await?.into_inner())
}

fn count(patient: &pb::Patient) -> u64 {
    patient.names[0].family.parse().unwrap()
}
