//! Which role may call which method, as the guard answers: a table that people review.
use std::fmt::Write;

use caseward_testkit::Suite;
use serde_json::json;
use tonic::Code;

use super::{ask::Voice, contract::rpcs, world::ROLES};
use crate::{Run, Trial};

/// What was reviewed.
const GOLDEN: &str = include_str!("../../golden/roles.tsv");

pub async fn matrix(_run: &Run) -> Trial {
    let mut trial = Trial::default();
    let suite = Suite::one().await;
    let table = table(&suite).await;
    trial.tries = ((table.lines().count() - 1) * ROLES.len()) as u64;
    differences(GOLDEN, &table).into_iter().for_each(|line| trial.fail(line));
    if !trial.failures.is_empty() {
        trial.note("review the differences, then `storm P8.b --json` names each new line");
    }
    let flipped = table.replacen("\tyes", "\tno", 1);
    trial.control("one cell that differs is found", differences(&flipped, &table).len() == 2);
    trial
}

/// What the guard of a suite answers: a line for each method, a column for each role.
async fn table(suite: &Suite) -> String {
    let mut table = format!("method\tpermission\t{}\n", ROLES.join("\t"));
    let voices =
        ROLES.map(|role| Voice::new(&suite.transport(), suite.caller("sam", &[role]).token()));
    let mut rpcs: Vec<_> = rpcs().iter().collect();
    rpcs.sort_by_key(|rpc| &rpc.path);
    for rpc in rpcs {
        let _ = write!(table, "{}\t{}", rpc.path, rpc.permission);
        for voice in &voices {
            let answer = voice.ask(&rpc.name, &json!({})).await;
            let may = answer.code != Code::PermissionDenied;
            table.push_str(if may { "\tyes" } else { "\tno" });
        }
        table.push('\n');
    }
    table
}

/// The lines that only one of two tables has.
fn differences(reviewed: &str, now: &str) -> Vec<String> {
    let only = |these: &str, others: &str, mark: char| -> Vec<String> {
        let missing = these.lines().filter(|line| !others.lines().any(|other| other == *line));
        missing.map(|line| format!("{mark} {line}")).collect()
    };
    [only(reviewed, now, '-'), only(now, reviewed, '+')].concat()
}
