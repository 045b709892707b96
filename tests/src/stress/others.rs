//! Callers who do nothing wrong, and how they fare meanwhile.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_api::{
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_server::Transport;
use caseward_testkit::{Caller, Suite};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::Status;

/// How many there are.
const CALLERS: usize = 4;

/// Between two calls of one of them.
const PAUSE: Duration = Duration::from_millis(5);

/// One that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Callers at work until they are told to stop.
pub struct Others {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Fare>,
}

/// How they fared.
#[derive(Debug, Default)]
pub struct Fare {
    pub took: Vec<Duration>,
    pub failed: Vec<String>,
}

impl Others {
    /// Callers who read one patient over and over, each time at what `door` gives: what is there once is kept.
    pub async fn start(
        suite: &Suite,
        door: impl Fn() -> Transport + Clone + Send + 'static,
    ) -> Others {
        let sam = suite.caller("sam", &["supervisor"]);
        let name = patient(&sam, "Others").await.expect("a patient is made");
        let (stop, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..CALLERS {
            let (stop, sam, name, door) = (stop.clone(), sam.clone(), name.clone(), door.clone());
            callers.spawn(async move {
                let mut fare = Fare::default();
                while !stop.load(Relaxed) {
                    let mut client = sam.at(&door()).client(PatientServiceClient::new);
                    let request = pb::GetPatientRequest { name: name.clone() };
                    let began = Instant::now();
                    match timeout(PATIENCE, client.get_patient(request)).await {
                        Ok(Ok(_)) => fare.took.push(began.elapsed()),
                        Ok(Err(status)) => fare.failed.push(status.to_string()),
                        Err(_) => fare.failed.push(format!("no answer within {PATIENCE:?}")),
                    }
                    sleep(PAUSE).await;
                }
                fare
            });
        }
        Others { stop, callers }
    }

    /// Callers who stay on one connection each.
    pub async fn at(suite: &Suite, door: Transport) -> Others {
        Others::start(suite, move || door.clone()).await
    }

    pub async fn stop(mut self) -> Fare {
        self.stop.store(true, Relaxed);
        let mut all = Fare::default();
        while let Some(fare) = self.callers.join_next().await {
            let fare = fare.expect("a caller does not panic");
            all.took.extend(fare.took);
            all.failed.extend(fare.failed);
        }
        all.took.sort();
        all
    }

    /// How they fare for so long.
    pub async fn fare(suite: &Suite, door: Transport, time: Duration) -> Fare {
        let others = Others::at(suite, door).await;
        sleep(time).await;
        others.stop().await
    }
}

impl Fare {
    /// What one call in a hundred took longer than.
    pub fn p99(&self) -> Duration {
        p99(&self.took).unwrap_or(PATIENCE)
    }
}

/// What one of a hundred took longer than, of times in order.
pub fn p99(took: &[Duration]) -> Option<Duration> {
    took.get(took.len().saturating_sub(1) * 99 / 100).copied()
}

/// Makes a patient; answers the name.
pub async fn patient(by: &Caller, family: &str) -> Result<String, Status> {
    let name = HumanName { family: family.to_owned(), ..Default::default() };
    let patient = Some(pb::Patient { names: vec![name], ..Default::default() });
    let request = pb::CreatePatientRequest { patient, ..Default::default() };
    let made = by.client(PatientServiceClient::new).create_patient(request).await?;
    Ok(made.into_inner().name)
}
