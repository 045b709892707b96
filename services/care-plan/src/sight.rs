//! How much of a case a caregiver sees: each of its resources belongs to a part of the record that they were granted or
//! were not. Staff on the team and the patient see all of it, but for notes that are not for them.
use caseward_core::{Error, Name, Result};
use caseward_store::{
    Scope,
    relation::{self, Sight, Topic},
};

use crate::{
    case,
    note::{self, NoteName},
    task::{self, TaskName},
};

/// The topics that have something to show below a case; without any of them there is no case.
pub const OF_CASES: [Topic; 4] = [Topic::Schedule, Topic::Plan, Topic::Assessment, Topic::Notes];

/// `rows`, the history of `case`, without what is about a `resource` that the caller does not see.
pub async fn shown<R>(
    scope: &Scope,
    case: &case::Model,
    rows: Vec<R>,
    resource: impl Fn(&R) -> &str,
) -> Result<Vec<R>> {
    let rows = but_hidden_notes(scope, rows, &resource).await?;
    let sight = relation::sight(scope, case.patient.uuid()).await?;
    if sight.is_whole() {
        return Ok(rows);
    }
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        if sees(scope, sight, case, resource(&row)).await? {
            shown.push(row);
        }
    }
    Ok(shown)
}

/// `rows` without what is about a note that the caller does not see: not every one is for all who see the case.
async fn but_hidden_notes<R>(
    scope: &Scope,
    mut rows: Vec<R>,
    resource: impl Fn(&R) -> &str,
) -> Result<Vec<R>> {
    let of = |row: &R| NoteName::parse("resource", resource(row)).ok().map(|(_, note)| note);
    let told: Vec<_> = rows.iter().filter_map(of).collect();
    if !told.is_empty() {
        let seen = note::seen(scope, told).await?;
        rows.retain(|row| of(row).is_none_or(|note| seen.contains(&note)));
    }
    Ok(rows)
}

/// Whether the caller sees what a row about `resource` tells; hidden notes are not among them any more.
async fn sees(scope: &Scope, sight: Sight, case: &case::Model, resource: &str) -> Result<bool> {
    let below = resource.strip_prefix(&format!("{}/", case.id)).unwrap_or_default();
    match below.split('/').next().unwrap_or_default() {
        "" | "accountabilities" | "carePlans" | "evaluations" | "members" | "problems" => {
            Ok(sight.covers(Topic::Plan))
        }
        "assessments" => Ok(sight.covers(Topic::Assessment)),
        "notes" => Ok(true),
        // Some of these are not shown although their part of the record is.
        "tasks" if sight.covers(Topic::Schedule) => {
            is_there(task::get(scope, TaskName::parse("resource", resource)?).await)
        }
        _ => Ok(false),
    }
}

fn is_there<T>(found: Result<T>) -> Result<bool> {
    match found {
        Ok(_) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(other) => Err(other),
    }
}
