//! Every method that touches patient data leaves its entries on the audit log, whatever it came to: a new RPC is
//! covered the moment it is written.
use std::{collections::BTreeMap, time::Duration};

use caseward_server::policy::Methods;
use caseward_store::audit::{Column, Entity};
use caseward_testkit::Suite;
use sea_orm::{ColumnTrait, Database, DatabaseConnection, EntityTrait, QueryFilter};
use tonic::Code;

use crate::coverage::{call, door};

/// What is on record about `subject`: by method, each phase with its outcome.
async fn record(logs: &[DatabaseConnection], subject: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for log in logs {
        #[expect(clippy::disallowed_methods, reason = "the log is read past every service")]
        let entries = Entity::find().filter(Column::Subject.eq(subject)).all(log).await.unwrap();
        for entry in entries {
            all.entry(entry.method).or_default().push(format!("{} {}", entry.phase, entry.outcome));
        }
    }
    for entries in all.values_mut() {
        entries.sort();
        // A read that takes its time has its beginning on record by itself.
        if let [begin, end] = &entries[..]
            && begin == "BEGIN "
            && let Some(outcome) = end.strip_prefix("END ")
        {
            *entries = vec![format!("WHOLE {outcome}")];
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_about_patients_is_on_record_when_refused_and_when_it_fails() {
    let suite = Suite::one().await;
    let mut logs = vec![];
    for name in ["patient", "care_plan", "directory", "notification"] {
        logs.push(Database::connect(suite.database(name)).await.unwrap());
    }
    let all = [
        "supervisor",
        "integration",
        "directory_editor",
        "operator",
        "auditor",
        "service",
        "case_manager",
    ];
    let (stranger, everybody) =
        (door(&suite.caller("eve", &["nothing_at_all"])), door(&suite.caller("sam", &all)));
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut methods = 0;
    for method in Methods::get().iter() {
        assert_eq!(call(stranger.clone(), method.path).await, Code::PermissionDenied);
        // A stream that was let in goes on for as long as its reader wants.
        let code = match method.streams {
            true => None,
            false => Some(call(everybody.clone(), method.path).await),
        };
        if method.phi {
            methods += 1;
            let code = code.map(|code| caseward_server::telemetry::code_name(code).to_owned());
            if let Some(code) = code {
                expected.insert(method.path.to_owned(), vec![format!("WHOLE {code}")]);
            }
        }
    }
    assert!(methods > 100, "{methods}");

    let refused = record(&logs, "eve").await;
    assert_eq!(refused.len(), methods);
    for (method, entries) in refused {
        assert_eq!(entries, ["WHOLE PERMISSION_DENIED"], "{method}");
    }
    // The end of a read that took its time follows its answer.
    let mut found = record(&logs, "sam").await;
    for _ in 0..200 {
        if found == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = record(&logs, "sam").await;
    }
    assert_eq!(found, expected);
}
