//! A request that is sent twice acts once.
use std::time::Duration;

use caseward_api::{
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::HumanName,
};
use caseward_testkit::{Caller, History, Proxy, Suite, Toxic, Way, history, suites};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

use super::load::{create, stored};
use crate::{Run, Trial};

const CLIENTS: usize = 5;

/// Each key is sent by several clients at once to two replicas, some with a kill between.
pub async fn race(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let keys = run.of(40, 10_000);
    let suites = Suite::plan().replicas("patient", 2).suites().await;
    run.expect(keys * suites.len() as u64);
    for mut suite in suites {
        let (shape, mut chances) = (suite.shape(), run.random());
        let (name, replicas) = if suite.is_cluster() { ("patient", 2) } else { ("caseward", 1) };
        let sam = suite.caller("sam", &["supervisor"]);
        let callers: Vec<Caller> =
            (0..CLIENTS).map(|n| sam.at(&suite.replica(name, n % replicas))).collect();
        let history = History::create(&suite.data().join("history"), run.seed).unwrap();
        let mut kills = 0;
        for _ in 0..keys {
            let key = Uuid::from_u128(chances.u128(..)).to_string();
            let mut racing = JoinSet::new();
            for (n, caller) in callers.iter().cloned().enumerate() {
                let (history, key) = (history.clone(), key.clone());
                racing.spawn(async move {
                    // A client that does not know asks again, as the contract tells it to.
                    for _ in 0..20 {
                        if !create(&caller, &history, &format!("client {n}"), &key, &key).await {
                            return;
                        }
                    }
                });
            }
            if chances.u8(..100) < 20 {
                tokio::time::sleep(Duration::from_micros(chances.u64(0..20_000))).await;
                let victim = chances.usize(..replicas);
                suite.member(name, victim).kill().await;
                suite.member(name, victim).start().await;
                suite.ready().await;
                kills += 1;
            }
            racing.join_all().await;
            trial.tries += CLIENTS as u64;
            run.step();
        }
        let intents = history.intents().unwrap();
        let found = stored(&suite.database("patient")).await;
        for why in history::judge(&intents, &found) {
            trial.fail(format!("{shape}: {why}"));
        }
        let answered = intents.values().filter(|intent| intent.told.len() > 1).count();
        trial.note(format!(
            "{shape}: {kills} kills, {answered} keys answered more than once, all alike"
        ));
        trial.control(
            format!("{shape}: the same sent without a request id"),
            doubles_without_an_id(&suite, &sam).await,
        );
    }
    trial
}

/// Sends the same twice with nothing that ties the two; whether the judge sees it.
async fn doubles_without_an_id(suite: &Suite, sam: &Caller) -> bool {
    let history = History::create(&suite.data().join("control"), 0).unwrap();
    let key = Uuid::now_v7().to_string();
    for _ in 0..2 {
        create(sam, &history, "control", &key, "").await;
    }
    let mut found = stored(&suite.database("patient")).await;
    found.retain(|found, _| *found == key);
    history::judge(&history.intents().unwrap(), &found).len() == 2
}

/// Answers are taken away after the change was made, and the request is sent again.
pub async fn lost_answers(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let writes = run.of(60, 20_000);
    let suites = suites().await;
    run.expect(writes * suites.len() as u64);
    for suite in &suites {
        let shape = suite.shape();
        let history = History::create(&suite.data().join("history"), run.seed).unwrap();
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS as u64 {
            let mine = writes / CLIENTS as u64 + u64::from(n < writes % CLIENTS as u64);
            let proxy = Proxy::start(suite.address()).await.unwrap();
            let caller = suite.caller("sam", &["supervisor"]).at(&suite.by_way_of(&proxy));
            let (history, run) = (history.clone(), run.clone());
            let mut chances = fastrand::Rng::with_seed(run.seed ^ n);
            clients.spawn(async move {
                let client = format!("client {n}");
                for _ in 0..mine {
                    let key = Uuid::from_u128(chances.u128(..)).to_string();
                    if chances.u8(..100) < 30 {
                        proxy.set(Way::Back, Toxic::Limit(0));
                        create(&caller, &history, &client, &key, &key).await;
                        proxy.heal();
                    }
                    while create(&caller, &history, &client, &key, &key).await {}
                    run.step();
                }
                proxy.limited()
            });
        }
        let lost: u64 = clients.join_all().await.into_iter().sum();
        trial.tries += writes;
        let intents = history.intents().unwrap();
        let found = stored(&suite.database("patient")).await;
        for why in history::judge(&intents, &found) {
            trial.fail(format!("{shape}: {why}"));
        }
        let unacknowledged = intents.values().filter(|intent| intent.told.is_empty()).count();
        trial.check(unacknowledged == 0, || {
            format!("{shape}: {unacknowledged} were never answered")
        });
        trial.note(format!("{shape}: {lost} answers taken away"));

        let proxy = Proxy::start(suite.address()).await.unwrap();
        let caller = suite.caller("sam", &["supervisor"]).at(&suite.by_way_of(&proxy));
        let history = History::create(&suite.data().join("control"), run.seed).unwrap();
        for n in 0..20 {
            let key = Uuid::from_u128(n).to_string();
            proxy.set(Way::Back, Toxic::Limit(0));
            create(&caller, &history, "control", &key, &Uuid::now_v7().to_string()).await;
            proxy.heal();
            while create(&caller, &history, "control", &key, &Uuid::now_v7().to_string()).await {}
        }
        let mut controlled = stored(&suite.database("patient")).await;
        controlled.retain(|key, _| !found.contains_key(key));
        let doubled = history::judge(&history.intents().unwrap(), &controlled).len();
        trial.control(
            format!("{shape}: retries under another id doubled {doubled} of 20"),
            doubled > 0,
        );
    }
    trial
}

/// An id is used again with another body, by another caller, in another tenant, for another method, and after its time.
pub async fn misuse(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let each = run.of(15, 1000);
    let suites = suites().await;
    run.expect(each * suites.len() as u64);
    for suite in &suites {
        let shape = suite.shape();
        let sam = suite.caller("sam", &["supervisor"]);
        let pia = suite.caller("pia", &["supervisor"]);
        let other = suite.caller_of(Uuid::now_v7(), "sam", &["supervisor"]);
        let mut first = vec![];
        for n in 0..each {
            let key = Uuid::now_v7().to_string();
            let patient = ask(&sam, "Adler", &key).await.unwrap();
            let mut wrong = vec![];
            refused(&mut wrong, "another body", ask(&sam, "Bauer", &key).await.map(|_| ()));
            refused(&mut wrong, "another method", update(&sam, &patient, &key).await);
            for (who, caller) in [("another caller", &pia), ("another tenant", &other)] {
                match ask(caller, "Adler", &key).await {
                    Ok(theirs) if theirs.name != patient.name => {}
                    Ok(_) => wrong.push(format!("{who} was given the answer of the first")),
                    Err(status) => wrong.push(format!("{who} was refused: {:?}", status.code())),
                }
            }
            match ask(&sam, "Adler", &key).await {
                Ok(again) if again == patient => {}
                again => wrong
                    .push(format!("the first caller was answered otherwise: {:?}", again.err())),
            }
            wrong.into_iter().for_each(|why| trial.fail(format!("{shape}, {n}: {why}")));
            trial.tries += 4;
            first.push((key, patient));
            run.step();
        }
        suite.advance(time::Duration::hours(25)).await;
        for (key, patient) in &first {
            trial.tried();
            // Remembered or forgotten, it is never the answer of somebody else.
            match ask(&sam, "Adler", key).await {
                Ok(late) => trial.check(
                    late == *patient || first.iter().all(|(_, known)| known.name != late.name),
                    || format!("{shape}: after 25 hours another's answer was given"),
                ),
                Err(status) => trial.fail(format!("{shape}: after 25 hours {:?}", status.code())),
            }
        }
        let mut seen = vec![];
        refused(
            &mut seen,
            "a fresh id",
            ask(&sam, "Cohen", &Uuid::now_v7().to_string()).await.map(|_| ()),
        );
        trial.control(format!("{shape}: a request that nothing speaks against"), seen.len() == 1);
    }
    trial
}

fn refused(wrong: &mut Vec<String>, what: &str, answer: Result<(), Status>) {
    match answer {
        Err(status) if status.code() == Code::InvalidArgument => {}
        Err(status) => wrong.push(format!("{what} was answered with {:?}", status.code())),
        Ok(()) => wrong.push(format!("{what} was done")),
    }
}

async fn ask(caller: &Caller, family: &str, key: &str) -> Result<pb::Patient, Status> {
    let name = HumanName { family: family.to_owned(), ..Default::default() };
    let patient = Some(pb::Patient { names: vec![name], ..Default::default() });
    let request = pb::CreatePatientRequest { patient, request_id: key.to_owned() };
    Ok(caller.client(PatientServiceClient::new).create_patient(request).await?.into_inner())
}

async fn update(caller: &Caller, patient: &pb::Patient, key: &str) -> Result<(), Status> {
    let update_mask = Some(prost_types::FieldMask { paths: vec!["names".to_owned()] });
    let patient = Some(patient.clone());
    let request = pb::UpdatePatientRequest { patient, update_mask, request_id: key.to_owned() };
    caller.client(PatientServiceClient::new).update_patient(request).await.map(|_| ())
}
