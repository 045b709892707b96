//! Whole records in bulk, past the API, to measure a database that is full. Nothing that serves calls this: no event
//! tells of what it makes, and no entry of the audit log.
use caseward_api::patient::v1 as pb;
use caseward_core::{Ctx, Result, data::Identifier};
use caseward_store::{Basis, Store, Transition, identifier, relation};
use sea_orm::{ActiveValue::Set, IntoActiveModel, entity::prelude::*};
use uuid::Uuid;

use crate::patient;

/// How many rows one statement inserts: SQLite takes 32,766 values, and a patient has 19.
const ROWS: usize = 1000;

/// Makes `people` under the ids that they come with, in one transaction.
pub async fn patients(store: &Store, ctx: &Ctx, people: Vec<(Uuid, pb::Patient)>) -> Result<()> {
    let rows = people.into_iter().map(|(id, from)| {
        patient::Model::draft(ctx, &from).map(|row| patient::Model { id: id.into(), ..row })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    store
        .task(ctx, move |tx| {
            let rows = rows.clone();
            async move {
                for rows in rows.chunks(ROWS) {
                    let patients =
                        rows.iter().cloned().map(|row| row.into_active_model().reset_all());
                    patient::Entity::insert_many(patients).exec_without_returning(&tx.db).await?;
                    let named = rows
                        .iter()
                        .flat_map(|row| row.identifiers.0.iter().map(|named| claim(row, named)));
                    identifier::Entity::insert_many(named).exec_without_returning(&tx.db).await?;
                    let registrar = rows.iter().map(|row| {
                        relation::ActiveModel::from(registrar(row, tx.ctx.subject())).reset_all()
                    });
                    relation::Entity::insert_many(registrar).exec_without_returning(&tx.db).await?;
                }
                for row in &rows {
                    let (entity, name) = (row.id.uuid(), row.id.to_string());
                    tx.log(Transition { entity, name, to: "ACTIVE", ..Default::default() });
                }
                Ok(())
            }
        })
        .await
}

fn claim(row: &patient::Model, named: &Identifier) -> identifier::ActiveModel {
    identifier::ActiveModel {
        organization: Set(row.organization),
        kind: Set(patient::IDENTIFIED.to_owned()),
        system: Set(named.system.clone()),
        value: Set(named.value.clone()),
        resource: Set(row.id.uuid()),
        vouched: Set(true),
    }
}

fn registrar(row: &patient::Model, subject: &str) -> relation::Model {
    relation::Model {
        source: relation::key(row.id.uuid(), Basis::Registrar),
        organization: row.organization,
        subject: subject.to_owned(),
        patient: row.id.uuid(),
        basis: Basis::Registrar,
        starts_at: row.created_at,
        ends_at: Some(row.created_at + patient::REGISTRATION),
        topics: 0,
        revision: row.revision,
        narrowed_at: None,
    }
}
