//! Clients that create patients, write down what they were told, and are judged by what is there.
use std::{
    collections::BTreeMap,
    path::Path,
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
use caseward_testkit::{Caller, History, Outcome, Suite, history};
use prost::Message;
use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use tokio::task::JoinSet;
use tonic::Request;
use uuid::Uuid;

const CLIENTS: usize = 16;

/// A client gives up on a call after this time, and on a next one too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clients at work until they are told to stop.
pub struct Load {
    history: History,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts the clients, each on a connection of its own. Half of what has an unknown outcome is sent again.
    pub fn start(suite: &Suite, folder: &Path, seed: u64) -> Load {
        Load::with(suite, folder, seed, CLIENTS, Duration::ZERO)
    }

    /// Starts a few clients that rest between calls, beside callers who are what is tried.
    pub fn beside(suite: &Suite, folder: &Path, seed: u64) -> Load {
        Load::with(suite, folder, seed, 4, Duration::from_millis(40))
    }

    /// Starts no client: others write into the history.
    pub fn none(suite: &Suite, folder: &Path, seed: u64) -> Load {
        Load::with(suite, folder, seed, 0, Duration::ZERO)
    }

    fn with(suite: &Suite, folder: &Path, seed: u64, clients: usize, rest: Duration) -> Load {
        let history = History::create(&folder.join("history"), seed).unwrap();
        let (stop, count) = (Arc::new(AtomicBool::new(false)), clients);
        let mut clients = JoinSet::new();
        for n in 0..count {
            let caller = suite.caller("sam", &["supervisor"]).at(&suite.transport());
            let (history, stop) = (history.clone(), stop.clone());
            let mut chances = fastrand::Rng::with_seed(seed ^ n as u64);
            clients.spawn(async move {
                let client = format!("client {n}");
                while !stop.load(Relaxed) {
                    let key = Uuid::from_u128(chances.u128(..)).to_string();
                    while create(&caller, &history, &client, &key, &key).await
                        && chances.bool()
                        && !stop.load(Relaxed)
                    {}
                    tokio::time::sleep(rest).await;
                }
            });
        }
        Load { history, stop, clients }
    }

    /// Where the clients write down what they do, for others who do the same.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Stops the clients; gives what they wrote down.
    pub async fn stop(mut self) -> History {
        self.stop.store(true, Relaxed);
        while let Some(done) = self.clients.join_next().await {
            done.unwrap();
        }
        self.history
    }

    /// Stops the clients, and judges what they were told by what the API shows and what the database holds.
    pub async fn judge(self, suite: &Suite) -> Judgement {
        let intents = self.stop().await.intents().unwrap();
        let shown = shown(&suite.caller("sam", &["supervisor"])).await;
        let stored = stored(&suite.database("patient")).await;
        let mut wrong: Vec<String> = history::judge(&intents, &stored);
        wrong
            .extend(history::judge(&intents, &shown).iter().map(|why| format!("by the API {why}")));
        let acknowledged = intents.values().filter(|intent| !intent.told.is_empty()).count();
        let unknown = intents.values().map(|intent| intent.unknown).sum();
        Judgement { intents, stored, wrong, acknowledged: acknowledged as u64, unknown }
    }
}

/// What a load came to.
pub struct Judgement {
    pub intents: BTreeMap<String, history::Intent>,
    pub stored: BTreeMap<String, u64>,
    pub wrong: Vec<String>,
    pub acknowledged: u64,
    pub unknown: u64,
}

impl Judgement {
    /// Whether the judge would see an acknowledged record that is gone, and one that is there twice.
    pub fn sees_loss_and_doubling(&self) -> bool {
        let told = self.intents.iter().find(|(_, intent)| !intent.told.is_empty());
        let Some((key, _)) = told else { return false };
        [0, 2].iter().all(|times| {
            let mut stored = self.stored.clone();
            stored.insert(key.clone(), *times);
            history::judge(&self.intents, &stored).len() > self.wrong.len()
        })
    }
}

/// Creates one patient who is known by `key`, under `request_id`; whether the outcome is unknown. An answer is told
/// byte for byte.
pub async fn create(
    caller: &Caller,
    history: &History,
    client: &str,
    key: &str,
    request_id: &str,
) -> bool {
    let name = HumanName { family: key.to_owned(), ..Default::default() };
    let patient = Some(pb::Patient { names: vec![name], ..Default::default() });
    let mut request =
        Request::new(pb::CreatePatientRequest { patient, request_id: request_id.to_owned() });
    request.set_timeout(PATIENCE);
    let call = history.begin(client, "CreatePatient", key);
    let mut client = caller.client(PatientServiceClient::new);
    let late = |_| Err(tonic::Status::deadline_exceeded("no answer"));
    let answer = tokio::time::timeout(PATIENCE, client.create_patient(request)).await;
    let answer = answer.unwrap_or_else(late);
    // By its bytes: a message prints nothing that answers could differ in.
    let outcome = Outcome::of(&answer, |reply| format!("{:02x?}", reply.get_ref().encode_to_vec()));
    call.end(&outcome);
    if matches!(outcome, Outcome::Unknown(_)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    matches!(outcome, Outcome::Unknown(_))
}

/// How often the API shows each key.
pub async fn shown(caller: &Caller) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let mut request = pb::ListPatientsRequest { page_size: 1000, ..Default::default() };
    loop {
        let sent = caller.client(PatientServiceClient::new).list_patients(request.clone()).await;
        let page = sent.unwrap().into_inner();
        for patient in page.patients {
            *all.entry(patient.names[0].family.clone()).or_default() += 1;
        }
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// How often the database holds each key.
pub async fn stored(url: &str) -> BTreeMap<String, u64> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.unwrap();
    let mut all = BTreeMap::new();
    for row in db.query_all_raw(statement(&db, "SELECT names FROM patient")).await.unwrap() {
        let names: serde_json::Value = row.try_get_by_index(0).unwrap();
        let key = names[0]["family"].as_str().unwrap_or_default();
        // The family names of others are no keys.
        if Uuid::try_parse(key).is_ok() {
            *all.entry(key.to_owned()).or_default() += 1;
        }
    }
    db.close().await.unwrap();
    all
}

fn statement(db: &sea_orm::DatabaseConnection, sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(db.get_database_backend(), sql)
}
