//! Whole cases in bulk, past the API, to measure a database that is full. Nothing that serves calls this: no event
//! tells of what it makes, and no entry of the audit log.
use std::time::Duration;

use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Result};
use caseward_store::{Basis, Store, relation};
use sea_orm::{IntoActiveModel, entity::prelude::*};
use uuid::Uuid;

use crate::{
    case::{self, PatientId},
    task,
};

/// How many rows one statement inserts: SQLite takes 32,766 values, and a case has 27.
const ROWS: usize = 1000;

/// A case that one person carries, with one task of theirs in it.
#[derive(Clone, Debug)]
pub struct Carried {
    pub case: Uuid,
    pub patient: Uuid,
    /// The subject of the case manager.
    pub owner: String,
    /// Until the task is due.
    pub due_in: Duration,
}

/// Makes cases under the ids that they come with, in one transaction.
pub async fn cases(store: &Store, ctx: &Ctx, cases: Vec<Carried>) -> Result<()> {
    let rows = cases.iter().map(|carried| rows(ctx, carried)).collect::<Result<Vec<_>>>()?;
    store
        .task(ctx, move |tx| {
            let rows = rows.clone();
            async move {
                for rows in rows.chunks(ROWS) {
                    let cases =
                        rows.iter().map(|(case, ..)| case.clone().into_active_model().reset_all());
                    case::Entity::insert_many(cases).exec_without_returning(&tx.db).await?;
                    let tasks = rows
                        .iter()
                        .map(|(_, task, _)| task.clone().into_active_model().reset_all());
                    task::Entity::insert_many(tasks).exec_without_returning(&tx.db).await?;
                    let team =
                        rows.iter().map(|(.., team)| team.clone().into_active_model().reset_all());
                    relation::Entity::insert_many(team).exec_without_returning(&tx.db).await?;
                }
                Ok(())
            }
        })
        .await
}

fn rows(ctx: &Ctx, carried: &Carried) -> Result<(case::Model, task::Model, relation::Model)> {
    let Carried { case, patient, owner, due_in } = carried.clone();
    let from = pb::Case {
        patient: PatientId::from(patient).to_string(),
        title: "Transition from hospital to home".to_owned(),
        reason: "Two admissions within 30 days".to_owned(),
        ..Default::default()
    };
    let case = case::Model {
        id: case.into(),
        state: case::State::Active,
        accountable: Some(owner.clone()),
        risk_rank: (patient.as_u128() % 4) as i32,
        ..case::Model::draft(ctx, &from)?
    };
    let from = pb::Task {
        title: "Call within two days".to_owned(),
        owner: owner.clone(),
        ..Default::default()
    };
    let task = task::Model {
        state: task::State::Accepted,
        due_at: Some(ctx.now() + time::Duration::try_from(due_in).unwrap_or_default()),
        ..task::Model::draft(ctx, &case, &from)?
    };
    let team = relation::Model {
        source: relation::key(case.id.uuid(), Basis::Team),
        organization: case.organization,
        subject: owner,
        patient,
        basis: Basis::Team,
        starts_at: case.created_at,
        ends_at: None,
        topics: 0,
        revision: case.revision,
        narrowed_at: None,
    };
    Ok((case, task, team))
}
