//! Rows on their way into the tables: those of a whole group in one statement, and in statements of few forms, which
//! stay prepared.
use caseward_core::{Error, Result};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, Iterable, Value,
    entity::prelude::*,
    sea_query::{InsertStatement, OnConflict},
};
use tokio::sync::Mutex;

use crate::identifier::{self, Wanted};

/// A statement inserts any number of rows up to this, then powers of two, so that a table has few forms to prepare.
const ANY: usize = 8;

/// How many rows a statement inserts at most. A longer one fills more than the 32 KiB that a packet on the loopback
/// takes, and what is left then waits for a delayed acknowledgement (launchbadge/sqlx#4335).
const MOST: usize = 32;

/// Rows of one table that wait for their statement.
pub(crate) struct Batch {
    table: &'static str,
    insert: InsertStatement,
    rows: Vec<Vec<Value>>,
}
caseward_core::confidential!(Batch);

impl Batch {
    /// These rows, with every column set.
    pub(crate) fn of<E: EntityTrait>(
        rows: impl IntoIterator<Item = E::ActiveModel>,
    ) -> Result<Self> {
        let mut insert = InsertStatement::new();
        insert.into_table(E::default()).columns(E::Column::iter());
        let whole = |row: E::ActiveModel| {
            let values = E::Column::iter().map(|column| row.get(column).into_value());
            values.collect::<Option<Vec<_>>>()
        };
        let rows: Option<Vec<_>> = rows.into_iter().map(whole).collect();
        let rows = rows.ok_or_else(|| Error::internal("a row lacks a column"))?;
        Ok(Batch { table: E::default().table_name(), insert, rows })
    }

    /// What to do about a row that is there. One table knows one answer.
    pub(crate) fn or(mut self, conflict: OnConflict) -> Self {
        self.insert.on_conflict(conflict);
        self
    }

    /// Inserts them.
    pub(crate) async fn insert(mut self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        // In one order everywhere, so that no two groups wait for each other's rows.
        self.rows.sort_by_key(|row| match row.first() {
            Some(Value::Uuid(key)) => *key,
            _ => None,
        });
        let mut rows = self.rows.into_iter();
        while rows.len() > 0 {
            let count = form(rows.len());
            let mut insert = self.insert.clone();
            for row in rows.by_ref().take(count) {
                insert.values_panic(row.into_iter().map(Expr::val));
            }
            db.execute(&insert).await?;
        }
        Ok(())
    }
}

/// `all` in pieces, each for a statement of one of the few forms.
pub(crate) fn pieces<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, rest) = all.split_at_checked(form(all.len()))?;
        all = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// How many of `left` rows the next statement takes.
fn form(left: usize) -> usize {
    if left <= ANY { left } else { (1 << left.ilog2()).min(MOST) }
}

/// A transaction, and the rows that wait in it until something could miss them.
#[derive(Debug)]
pub struct Txn {
    inner: DatabaseTransaction,
    waiting: Option<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<Batch>,
    /// What must be nobody else's, to be looked at when the rows are in.
    wanted: Vec<Wanted>,
    /// A statement failed, or was cut off: nobody knows what is in.
    broken: bool,
}

impl Txn {
    /// A transaction of one piece of work, which learns at once what is refused.
    pub(crate) fn of_one(inner: DatabaseTransaction) -> Self {
        Txn { inner, waiting: None }
    }

    /// A transaction of several. Their rows wait for each other, so a refusal may come after the work; the group is
    /// then undone, and each has a transaction of its own.
    pub(crate) fn of_many(inner: DatabaseTransaction) -> Self {
        Txn { inner, waiting: Some(Mutex::default()) }
    }

    /// Inserts `batch`: now, or with what else there is for its table.
    pub(crate) async fn insert(&self, batch: Batch) -> Result<(), DbErr> {
        let Some(waiting) = &self.waiting else { return batch.insert(&self.inner).await };
        let batches = &mut waiting.lock().await.batches;
        match batches.iter_mut().find(|known| known.table == batch.table) {
            Some(known) => known.rows.extend(batch.rows),
            None => batches.push(batch),
        }
        Ok(())
    }

    /// Whether `wanted` is free as far as is known now: where rows wait, it is looked at when they are in.
    pub(crate) async fn want(&self, wanted: Wanted) -> Result<bool, DbErr> {
        let Some(waiting) = &self.waiting else {
            return identifier::are_free(&self.inner, [wanted]).await;
        };
        waiting.lock().await.wanted.push(wanted);
        Ok(true)
    }

    /// The transaction, with every row in it.
    pub(crate) async fn settled(&self) -> Result<&DatabaseTransaction, DbErr> {
        if let Some(waiting) = &self.waiting {
            let mut waiting = waiting.lock().await;
            if waiting.broken {
                return Err(DbErr::Custom("a statement of this transaction failed".to_owned()));
            }
            if !waiting.batches.is_empty() || !waiting.wanted.is_empty() {
                // Until it is known that all are in, whoever drops this future included.
                waiting.broken = true;
                for batch in std::mem::take(&mut waiting.batches) {
                    batch.insert(&self.inner).await?;
                }
                if !identifier::are_free(&self.inner, std::mem::take(&mut waiting.wanted)).await? {
                    return Err(DbErr::Custom("an identifier is another's".to_owned()));
                }
                waiting.broken = false;
            }
        }
        Ok(&self.inner)
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    /// The transaction, to be ended.
    pub(crate) fn into_inner(self) -> DatabaseTransaction {
        self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_cut_into_few_forms() {
        for all in 0..1000 {
            let (mut left, mut statements) = (all, 0);
            while left > 0 {
                assert!((1..=MOST).contains(&form(left)));
                assert!(form(left) <= ANY || form(left).is_power_of_two());
                left -= form(left);
                statements += 1;
            }
            assert!(statements <= all / MOST + 4, "{all} rows in {statements} statements");
        }
    }
}
