//! Whoever turns pages while others write sees each record that was there all along exactly once.
use std::{collections::BTreeMap, sync::Arc};

use caseward_testkit::{Suite, suites};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Run, Trial,
    sight::ask::{Voice, text},
};

/// What is there all along.
const RECORDS: usize = 40;
const WRITERS: u64 = 4;
/// How many writes a page allows: fewer than half of them add to a list, so a walk has an end however slow it is.
const WRITES: usize = 2;

/// Lists that are read page by page: one by the moment of creation, one by due times that writers change.
const LISTS: [(&str, &str); 2] = [("ListTasks", "tasks"), ("ListWorklist", "items")];

/// Walkers read a list of tasks to its end, again and again, while writers add tasks, move them within the list, and
/// take them out of it.
pub async fn turned(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let pages = run.of(100, 50_000);
    let suites = suites().await;
    run.expect(pages * suites.len() as u64);
    for suite in &suites {
        let shape = suite.shape();
        let (case, records) = furnish(suite, run).await;
        let pace = Arc::new(Semaphore::new(WRITES));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (voice, case, pace) = (voice(suite, "sam"), case.clone(), pace.clone());
            let mut chances = fastrand::Rng::with_seed(run.seed ^ writer);
            writers.spawn(async move { write(&voice, &case, &mut chances, &pace).await });
        }
        let mut chances = run.random();
        let (mut turned, mut walks) = (0, 0);
        while turned < pages {
            let (list, field) = LISTS[walks % LISTS.len()];
            let mut request = match list {
                "ListTasks" => json!({ "parent": case }),
                _ => json!({ "owner": "ana" }),
            };
            request["pageSize"] = chances.i32(2..=9).into();
            let mut seen = BTreeMap::<String, u64>::new();
            loop {
                let page = voice(suite, "ana").get(list, request.clone()).await;
                for item in page[field].as_array().into_iter().flatten() {
                    let task = item.get("task").unwrap_or(item);
                    *seen.entry(text(task, "name").to_owned()).or_default() += 1;
                }
                turned += 1;
                pace.add_permits(WRITES);
                run.step();
                request["pageToken"] = page["nextPageToken"].clone();
                if text(&page, "nextPageToken").is_empty() {
                    break;
                }
            }
            walks += 1;
            for why in wrong(&records, &seen) {
                trial.fail(format!("{shape}, {list}: {why}"));
            }
        }
        trial.tries += turned;
        // What counts places instead of remembering where it was.
        let mut missed = 0;
        pace.add_permits(Semaphore::MAX_PERMITS / 2);
        for _ in 0..50 {
            missed += wrong(&records, &by_offset(suite, &case).await).len();
            if missed > 0 {
                break;
            }
        }
        pace.close();
        let written: u64 = writers.join_all().await.into_iter().sum();
        trial.control(format!("{shape}: pages by offset miss or double {missed}"), missed > 0);
        trial.note(format!("{shape}: {walks} walks beside {written} writes"));
    }
    trial
}

fn voice(suite: &Suite, who: &str) -> Voice {
    let roles = ["supervisor", "case_manager"];
    Voice::new(&suite.transport(), suite.caller(who, &roles).token())
}

/// A case of ana's with tasks that nobody touches.
async fn furnish(suite: &Suite, run: &Run) -> (String, Vec<String>) {
    let sam = voice(suite, "sam");
    let mut chances = run.random();
    let patient = json!({ "patient": { "names": [{ "family": "Marchena" }] } });
    let patient = sam.get("CreatePatient", patient).await;
    let case = json!({ "case": { "patient": patient["name"], "title": "Heart failure" } });
    let case = sam.get("CreateCase", case).await;
    let step = json!({ "name": case["name"], "etag": case["etag"] });
    let case = sam.get("StartOutreach", step).await;
    let step = json!({ "name": case["name"], "etag": case["etag"], "accountable": "ana", "consentStatement": "said yes" });
    let case = sam.get("EnrolCase", step).await;
    let case = text(&case, "name").to_owned();
    let mut records = vec![];
    for _ in 0..RECORDS {
        let task = sam.get("CreateTask", task(&case, &mut chances)).await;
        records.push(text(&task, "name").to_owned());
    }
    (case, records)
}

/// A task for ana, due at any moment of a month.
fn task(case: &str, chances: &mut fastrand::Rng) -> Value {
    json!({ "parent": case, "task": { "title": "call", "owner": "ana", "dueTime": due(chances) } })
}

fn due(chances: &mut fastrand::Rng) -> String {
    format!("2026-02-{:02}T{:02}:00:00Z", chances.u8(1..=28), chances.u8(0..24))
}

/// Adds, moves and takes away tasks at its pace, until that ends; answers how often.
async fn write(voice: &Voice, case: &str, chances: &mut fastrand::Rng, pace: &Semaphore) -> u64 {
    let (mut written, mut mine) = (0, vec![]);
    while let Ok(permit) = pace.acquire().await {
        permit.forget();
        // A list that grows without end would have no last page.
        let most = if mine.len() < 10 { 3 } else { 2 };
        match chances.u8(0..most) {
            0 if !mine.is_empty() => {
                let task: Value = mine.swap_remove(chances.usize(..mine.len()));
                let cancel = json!({ "name": task["name"], "etag": task["etag"], "reason": "done otherwise" });
                voice.get("CancelTask", cancel).await;
            }
            1 if !mine.is_empty() => {
                let one = chances.usize(..mine.len());
                let moved = json!({ "name": mine[one]["name"], "etag": mine[one]["etag"], "dueTime": due(chances) });
                let moved = json!({ "task": moved, "updateMask": "dueTime" });
                mine[one] = voice.get("UpdateTask", moved).await;
            }
            _ => mine.push(voice.get("CreateTask", task(case, chances)).await),
        }
        written += 1;
    }
    written
}

/// What a walk that counts places sees: the control.
async fn by_offset(suite: &Suite, case: &str) -> BTreeMap<String, u64> {
    const PAGE: usize = 3;
    let mut options = sea_orm::ConnectOptions::new(suite.database("care_plan"));
    options.max_connections(1).sqlx_logging(false);
    let db = sea_orm::Database::connect(options).await.unwrap();
    let mut seen = BTreeMap::new();
    for place in (0..).step_by(PAGE) {
        let ask = format!(
            "SELECT id FROM task WHERE state = 'REQUESTED' ORDER BY due_at, id LIMIT {PAGE} OFFSET {place}"
        );
        let ask = Statement::from_string(db.get_database_backend(), ask);
        let rows = db.query_all_raw(ask).await.unwrap();
        for row in &rows {
            let id: uuid::Uuid = row.try_get_by_index(0).unwrap();
            *seen.entry(format!("{case}/tasks/{id}")).or_default() += 1;
        }
        if rows.len() < PAGE {
            break;
        }
        // As long as a reader takes to turn a page.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    db.close().await.unwrap();
    seen
}

/// The records that were there all along and not seen once.
fn wrong(records: &[String], seen: &BTreeMap<String, u64>) -> Vec<String> {
    let times = |name: &String| seen.get(name).copied().unwrap_or_default();
    let wrong = records.iter().filter(|name| times(name) != 1);
    wrong.map(|name| format!("{name} was seen {} times", times(name))).collect()
}
