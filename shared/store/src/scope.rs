//! What a piece of work holds: a caller, a database handle, and in a transaction all that commits with it.
use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use caseward_core::{Ctx, Result};
use prost::{Message, Name};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait,
    ExecResult, QueryResult, Statement,
};
use uuid::Uuid;

use crate::{
    batch::{Batch, Txn},
    inbox, outbox, replay, transition,
};

/// The data one caller may see.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Who asks.
    pub ctx: Ctx,
    /// Where queries go.
    pub db: Db,
}

/// A scope whose changes commit together. Cheap to clone; no clone may outlive the work it was given to.
#[derive(Clone, Debug)]
pub struct Tx {
    scope: Scope,
    side: Arc<Mutex<Side>>,
}

/// A handle to the database: a pool, or the transaction of the moment.
#[derive(Clone)]
pub enum Db {
    /// Reads that need no transaction.
    Pool(DatabaseConnection),
    /// The transaction in which the work runs.
    Tx(Arc<Txn>),
}

/// The rows that commit beside the work's own.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) outbox: Vec<outbox::ActiveModel>,
    pub(crate) transitions: Vec<transition::ActiveModel>,
    pub(crate) inbox: Vec<inbox::ActiveModel>,
    pub(crate) replay: Vec<replay::ActiveModel>,
    pub(crate) audit: Vec<crate::audit::Entry>,
    /// The patients to whom the work ended a relation of its own caller.
    pub(crate) left: Vec<Uuid>,
}
caseward_core::confidential!(Side);

impl Deref for Tx {
    type Target = Scope;
    fn deref(&self) -> &Scope {
        &self.scope
    }
}

impl Tx {
    pub(crate) fn new(ctx: Ctx, txn: Arc<Txn>) -> Self {
        Tx { scope: Scope { ctx, db: Db::Tx(txn) }, side: Arc::default() }
    }

    /// Queues `event` about the resource named `aggregate`, at its `revision`.
    /// It is published if, and only if, the transaction commits; per aggregate in the order of revisions.
    pub fn emit<E: Message + Name>(&self, aggregate: impl fmt::Display, revision: i64, event: &E) {
        let row = outbox::ActiveModel {
            id: Set(Uuid::now_v7()),
            organization: Set(self.ctx.organization()),
            subject: Set(E::full_name()),
            aggregate: Set(aggregate.to_string()),
            revision: Set(revision),
            payload: Set(event.encode_to_vec()),
            trace: Set(self.ctx.record.trace().to_owned()),
            created_at: Set(self.ctx.now()),
            published_at: Set(None),
        };
        self.side(|side| side.outbox.push(row));
    }

    /// Logs a change of state.
    pub fn log(&self, transition: crate::Transition) {
        let row = transition.row(&self.ctx);
        self.side(|side| side.transitions.push(row));
    }

    /// Inserts `rows`, each with every column set. In a group they may wait for others of their table, so what is
    /// refused comes to light when the group is: each piece of work is then run again, alone, and learns it here.
    pub async fn insert<E: EntityTrait>(
        &self,
        rows: impl IntoIterator<Item = E::ActiveModel>,
    ) -> Result<()> {
        self.batch(Batch::of::<E>(rows)?).await
    }

    pub(crate) async fn batch(&self, batch: Batch) -> Result<()> {
        match &self.db {
            Db::Pool(db) => batch.insert(db).await?,
            Db::Tx(txn) => txn.insert(batch).await?,
        }
        Ok(())
    }

    pub(crate) fn side<T>(&self, with: impl FnOnce(&mut Side) -> T) -> T {
        with(&mut self.side.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Db::Pool(_) => "Db::Pool",
            Db::Tx(_) => "Db::Tx",
        })
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Db {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Db::Pool(db) => db.get_database_backend(),
            Db::Tx(txn) => txn.backend(),
        }
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Db::Pool(db) => db.execute_raw(stmt).await,
            Db::Tx(txn) => txn.settled().await?.execute_raw(stmt).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Db::Pool(db) => db.execute_unprepared(sql).await,
            Db::Tx(txn) => txn.settled().await?.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Db::Pool(db) => db.query_one_raw(stmt).await,
            Db::Tx(txn) => txn.settled().await?.query_one_raw(stmt).await,
        }
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Db::Pool(db) => db.query_all_raw(stmt).await,
            Db::Tx(txn) => txn.settled().await?.query_all_raw(stmt).await,
        }
    }
}
