//! How much of a case a caregiver sees: each of its resources belongs to a part of the record that they were granted or
//! were not. Staff on the team and the patient see all of it.
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

async fn sees(scope: &Scope, sight: Sight, case: &case::Model, resource: &str) -> Result<bool> {
    let below = resource.strip_prefix(&format!("{}/", case.id)).unwrap_or_default();
    match below.split('/').next().unwrap_or_default() {
        "" | "accountabilities" | "carePlans" | "evaluations" | "members" | "problems" => {
            Ok(sight.covers(Topic::Plan))
        }
        "assessments" => Ok(sight.covers(Topic::Assessment)),
        // Some of these are not shown although their part of the record is.
        "notes" if sight.covers(Topic::Notes) => {
            is_there(note::get(scope, NoteName::parse("resource", resource)?).await)
        }
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
