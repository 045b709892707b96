//! What every table of resources does alike: find, list, insert, compare and set.
use caseward_core::{Confidential, Ctx, Error, Page, Result, Time, weight};
use sea_orm::{IntoActiveModel, QueryOrder, QuerySelect, entity::prelude::*};

use crate::{Scope, Tx};

/// A table whose rows are resources.
pub trait Resource:
    EntityTrait<Model: IntoActiveModel<Self::ActiveModel> + Confidential + Sync>
{
    /// The primary key, a UUID version 7.
    const ID: Self::Column;
    /// The column that compare-and-set compares.
    const REVISION: Self::Column;

    /// The rows `ctx` may see. Every query starts here.
    fn of(ctx: &Ctx) -> Select<Self>;
    /// The id of a row.
    fn id(row: &Self::Model) -> Uuid;
    /// The resource name of a row.
    fn name(row: &Self::Model) -> String;
    /// The patient a row is about, if it is about one.
    fn patient(row: &Self::Model) -> Option<Uuid>;
    /// The revision and the time of the last change.
    fn version(row: &mut Self::Model) -> (&mut i64, &mut Time);
}

/// The etag of a revision (AIP-154).
pub fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// Refuses a caller who read an older revision, or did not say which.
pub fn expect(name: impl std::fmt::Display, revision: i64, given: &str) -> Result<()> {
    match given {
        "" => Err(Error::invalid(
            "etag",
            "is required; read the resource and send the etag it came with",
        )),
        given if given == etag(revision) => Ok(()),
        _ => Err(Error::Stale(name.to_string())),
    }
}

/// The one row of `select`, or NOT_FOUND for `name`, whether it is absent or not for this caller.
pub async fn get<E: Resource>(
    scope: &Scope,
    select: Select<E>,
    name: impl std::fmt::Display,
) -> Result<E::Model> {
    let row = select.one(&scope.db).await?.ok_or_else(|| Error::NotFound(name.to_string()))?;
    saw::<E>(&scope.ctx, &row);
    Ok(row)
}

/// How many rows are read at once: a page of a hundred and the row that tells of the next.
const STEP: u64 = 101;

/// One page of `select` in the order of creation, and the token of the next.
pub async fn page<E: Resource>(
    scope: &Scope,
    select: Select<E>,
    page: &Page,
) -> Result<(Vec<E::Model>, String)> {
    let (mut rows, mut whole, mut last) = (Vec::new(), 0, page.after_id());
    // In steps, so that of large rows no more are in memory than a page takes, and a step.
    loop {
        let step = STEP.min(page.limit() - rows.len() as u64);
        let mut select = select.clone().order_by_asc(E::ID).limit(step);
        if let Some(last) = last {
            select = select.filter(E::ID.gt(last));
        }
        let read = select.all(&scope.db).await?;
        let more = read.len() as u64 == step;
        rows.extend(read);
        if !more || rows.len() as u64 == page.limit() {
            break;
        }
        whole += rows.iter().rev().take(step as usize).map(weight).sum::<usize>();
        if Page::is_heavy(whole) {
            break;
        }
        last = rows.last().map(E::id);
    }
    let next = page.close(&mut rows, weight, |row| E::id(row).as_bytes().to_vec());
    for row in &rows {
        saw::<E>(&scope.ctx, row);
    }
    Ok((rows, next))
}

/// Every row of `select`, for sets that a rule bounds.
pub async fn list<E: Resource>(scope: &Scope, select: Select<E>) -> Result<Vec<E::Model>> {
    let rows = select.order_by_asc(E::ID).all(&scope.db).await?;
    for row in &rows {
        saw::<E>(&scope.ctx, row);
    }
    Ok(rows)
}

/// Inserts `row` as it is.
pub async fn insert<E: Resource>(tx: &Tx, row: E::Model) -> Result<E::Model> {
    saw::<E>(&tx.ctx, &row);
    let active = row.clone().into_active_model().reset_all();
    match tx.insert::<E>([active]).await {
        Err(Error::AlreadyExists(_)) => Err(Error::AlreadyExists(E::name(&row))),
        done => done.map(|()| row),
    }
}

/// Writes `row` at its next revision, unless somebody else did since it was read: that is ABORTED.
/// The filter makes "read, check, write" one step on every database.
pub async fn update<E: Resource>(tx: &Tx, mut row: E::Model) -> Result<E::Model> {
    saw::<E>(&tx.ctx, &row);
    let (revision, updated_at) = E::version(&mut row);
    let read = *revision;
    *revision += 1;
    *updated_at = tx.ctx.now();
    let done = E::update_many()
        .set(row.clone().into_active_model().reset_all())
        .filter(E::ID.eq(E::id(&row)))
        .filter(E::REVISION.eq(read))
        .exec(&tx.db)
        .await?;
    if done.rows_affected == 0 {
        return Err(Error::Stale(E::name(&row)));
    }
    Ok(row)
}

fn saw<E: Resource>(ctx: &Ctx, row: &E::Model) {
    if let Some(patient) = E::patient(row) {
        ctx.record.saw(patient);
    }
}
