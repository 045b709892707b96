//! How many rows each table holds, past the services: what a refused call must not change.
use std::collections::BTreeMap;

use caseward_testkit::Suite;
use sea_orm::{ConnectionTrait, Database, Statement};

use super::sinks;

/// How many counts in a row must agree: a message is drafted, judged and sent in steps, each by whoever has the lease.
const AGREE: usize = 5;

/// The same once what crosses services has arrived.
pub async fn settled(suite: &Suite) -> BTreeMap<String, i64> {
    let (mut before, mut agreed) = (count(suite).await, 1);
    for _ in 0..60 {
        if agreed == AGREE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let now = count(suite).await;
        agreed = if now == before { agreed + 1 } else { 1 };
        before = now;
    }
    before
}

/// The rows of every table of every service but those that grow by themselves: the audit, and what queues up.
async fn count(suite: &Suite) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for service in sinks::SERVICES {
        let db = Database::connect(suite.database(service)).await.expect("the database answers");
        let backend = db.get_database_backend();
        for table in sinks::tables(&db).await {
            if ["audit", "lease", "sqlite_", "seaql_", "timer"]
                .iter()
                .any(|own| table.starts_with(own))
            {
                continue;
            }
            let ask = format!("SELECT count(*) AS rows FROM \"{table}\"");
            let row =
                db.query_one_raw(Statement::from_string(backend, ask)).await.expect("a count");
            let rows: i64 = row.expect("one row").try_get("", "rows").expect("a number");
            counts.insert(format!("{service}.{table}"), rows);
        }
        db.close().await.expect("it closes");
    }
    counts
}
