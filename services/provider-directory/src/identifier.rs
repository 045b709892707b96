//! Identifiers of records, one row each, so that no two of a kind share one and a load finds what it knows.
use std::collections::{BTreeMap, HashMap};

use caseward_core::{
    Ctx, Error, Kind, Result,
    data::{Identifier, Json},
};
use caseward_store::{Scope, Tx};
use sea_orm::{
    ActiveValue::Set,
    Condition,
    entity::prelude::*,
    sea_query::{Query, SelectStatement},
};

use crate::{record::Record, word::Words};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identifier")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// The collection of the record.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub system: String,
    pub record: Uuid,
    /// What the source that counts by it said last, if one does.
    pub words: Option<Json<Words>>,
}
caseward_core::confidential!(Model);

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// What the sources of one record said last, each under the identifier that it counts by.
pub type Said = BTreeMap<Identifier, Words>;

/// How many values one statement asks for.
const CHUNK: usize = 500;

/// The record of `kind` with one identifier, for use within a scoped query.
pub fn record(ctx: &Ctx, kind: &str, Identifier { system, value }: &Identifier) -> SelectStatement {
    Query::select()
        .column(Column::Record)
        .from(Entity)
        .and_where(Column::Organization.eq(ctx.organization()))
        .and_where(Column::Kind.eq(kind))
        .and_where(Column::System.eq(system))
        .and_where(Column::Value.eq(value))
        .to_owned()
}

/// Which records of `kind` have which of `identifiers`.
pub async fn find(
    scope: &Scope,
    kind: &str,
    identifiers: &[Identifier],
) -> Result<HashMap<Identifier, Uuid>> {
    let mut found = HashMap::new();
    for chunk in identifiers.chunks(CHUNK) {
        let mut systems: Vec<&str> = chunk.iter().map(|each| each.system.as_str()).collect();
        systems.sort_unstable();
        systems.dedup();
        #[expect(clippy::disallowed_methods, reason = "filtered by the caller's organization here")]
        let rows = Entity::find()
            .filter(Column::Organization.eq(scope.ctx.organization()))
            .filter(Column::Kind.eq(kind))
            .filter(Column::Value.is_in(chunk.iter().map(|each| each.value.as_str())))
            .filter(Column::System.is_in(systems))
            .all(&scope.db)
            .await?;
        // The values of one system are asked for in the others too; nobody looks up what that finds beside.
        found.extend(
            rows.into_iter()
                .map(|Model { system, value, record, .. }| (Identifier { system, value }, record)),
        );
    }
    Ok(found)
}

/// What the sources of `records` of `kind` said last, each under the identifier that it counts by.
pub async fn words(scope: &Scope, kind: &str, records: &[Uuid]) -> Result<HashMap<Uuid, Said>> {
    let mut all: HashMap<Uuid, Said> = HashMap::new();
    for chunk in records.chunks(CHUNK) {
        #[expect(clippy::disallowed_methods, reason = "filtered by the caller's organization here")]
        let rows = Entity::find()
            .filter(Column::Organization.eq(scope.ctx.organization()))
            .filter(Column::Kind.eq(kind))
            .filter(Column::Record.is_in(chunk.iter().copied()))
            .filter(Column::Words.is_not_null())
            .all(&scope.db)
            .await?;
        for Model { system, value, record, words, .. } in rows {
            let Some(Json(words)) = words else { continue };
            all.entry(record).or_default().insert(Identifier { system, value }, words);
        }
    }
    Ok(all)
}

/// Notes what a source said.
pub async fn note<E: Record>(
    tx: &Tx,
    Identifier { system, value }: Identifier,
    words: Words,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Words, Expr::value(Json(words)))
        .filter(Column::Organization.eq(tx.ctx.organization()))
        .filter(Column::Kind.eq(E::Kind::COLLECTION))
        .filter(Column::System.eq(system))
        .filter(Column::Value.eq(value))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Gives each record its identifiers, with what was said under them.
pub async fn claim<E: Record>(
    tx: &Tx,
    records: impl IntoIterator<Item = (Uuid, Vec<Identifier>)>,
    said: &HashMap<Uuid, Said>,
) -> Result<()> {
    let rows: Vec<ActiveModel> = records
        .into_iter()
        .flat_map(|(record, all)| all.into_iter().map(move |each| (record, each)))
        .map(|(record, each)| {
            let words = said.get(&record).and_then(|said| said.get(&each)).cloned();
            let Identifier { system, value } = each;
            ActiveModel {
                organization: Set(tx.ctx.organization()),
                kind: Set(E::Kind::COLLECTION.to_owned()),
                value: Set(value),
                system: Set(system),
                record: Set(record),
                words: Set(words.map(Json)),
            }
        })
        .collect();
    for chunk in rows.chunks(CHUNK) {
        let inserted = Entity::insert_many(chunk.to_vec()).exec_without_returning(&tx.db).await;
        match inserted.map_err(Error::from) {
            Err(Error::AlreadyExists(_)) => {
                let what =
                    format!("a record of `{}` with one of these identifiers", E::Kind::COLLECTION);
                return Err(Error::AlreadyExists(what));
            }
            done => done?,
        };
    }
    Ok(())
}

/// Gives a record `after` in the place of the identifiers `before`. What was said under those that stay is kept.
pub async fn replace<E: Record>(
    tx: &Tx,
    record: Uuid,
    before: &[Identifier],
    after: &[Identifier],
) -> Result<()> {
    let gone: Vec<&Identifier> = before.iter().filter(|each| !after.contains(each)).collect();
    if !gone.is_empty() {
        let any = gone.into_iter().fold(Condition::any(), |any, Identifier { system, value }| {
            any.add(Condition::all().add(Column::System.eq(system)).add(Column::Value.eq(value)))
        });
        Entity::delete_many()
            .filter(Column::Organization.eq(tx.ctx.organization()))
            .filter(Column::Kind.eq(E::Kind::COLLECTION))
            .filter(Column::Record.eq(record))
            .filter(any)
            .exec(&tx.db)
            .await?;
    }
    let new = after.iter().filter(|each| !before.contains(each)).cloned().collect();
    claim::<E>(tx, [(record, new)], &HashMap::new()).await
}

/// Adds to `all` what `others` has beyond it.
pub fn join(all: &mut Vec<Identifier>, others: &[Identifier]) {
    all.extend(others.iter().cloned());
    all.sort();
    all.dedup();
}
