//! Replies kept by request id, so that a request sent twice acts once (AIP-155).
use aws_lc_rs::digest::{SHA256, digest};
use caseward_core::{Ctx, Error, Result, Time};
use sea_orm::{ActiveValue::Set, entity::prelude::*};

use crate::{
    relation,
    scope::{Scope, Tx},
};

/// The reply of one request.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replay")]
pub struct Model {
    /// The tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization: Uuid,
    /// Who asked: nobody gets the reply of another.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    /// The id the caller gave the request.
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: Uuid,
    /// SHA-256 over the method and the request.
    pub digest: Vec<u8>,
    /// The reply.
    pub reply: Vec<u8>,
    /// Whose data it holds: ids of patients, separated by spaces. One whom the request itself had the caller leave is
    /// there once more, behind a minus.
    pub patients: String,
    /// When it was given.
    pub created_at: Time,
}
caseward_core::confidential!(Model);

/// The table stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// A request that may be sent again.
#[derive(Clone)]
pub(crate) struct Key {
    id: Uuid,
    digest: Vec<u8>,
}
caseward_core::confidential!(Key);

impl Key {
    pub(crate) fn new(id: Uuid, method: &str, body: &[u8]) -> Self {
        let mut whole = method.as_bytes().to_vec();
        whole.push(0);
        whole.extend(body);
        Key { id, digest: digest(&SHA256, &whole).as_ref().to_vec() }
    }

    /// The reply that was given to this request before. To give it again is to show what it holds again, which nobody is
    /// shown who has been let go since, or who sees less than then.
    pub(crate) async fn earlier(&self, scope: &Scope) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.row(&scope.ctx, &scope.db).await? else { return Ok(None) };
        if row.digest != self.digest {
            return Err(Error::invalid("request_id", "was used for another request"));
        }
        let words = || row.patients.split(' ');
        let patients = ids(words());
        let left = ids(words().filter_map(|word| word.strip_prefix('-')));
        let lost = relation::lost(scope, &patients, row.created_at).await?;
        if lost.iter().any(|patient| !left.contains(patient)) {
            return Err(Error::NotFound("what the request is about".to_owned()));
        }
        patients.into_iter().for_each(|patient| scope.ctx.record.saw(patient));
        Ok(Some(row.reply))
    }

    /// Whether a reply is kept under this key.
    pub(crate) async fn is_kept(&self, ctx: &Ctx, db: &impl ConnectionTrait) -> Result<bool> {
        Ok(self.row(ctx, db).await?.is_some())
    }

    async fn row(&self, ctx: &Ctx, db: &impl ConnectionTrait) -> Result<Option<Model>> {
        let key = (ctx.organization(), ctx.subject().to_owned(), self.id);
        Ok(Entity::find_by_id(key).one(db).await?)
    }

    /// Keeps the reply. Where two replicas race, the primary key lets one commit; the other runs again.
    pub(crate) fn keep(&self, tx: &Tx, reply: Vec<u8>) {
        let mut patients = tx.ctx.record.patients_text();
        for patient in tx.side(|side| std::mem::take(&mut side.left)) {
            patients.push_str(&format!(" -{patient}"));
        }
        let row = ActiveModel {
            organization: Set(tx.ctx.organization()),
            subject: Set(tx.ctx.subject().to_owned()),
            request_id: Set(self.id),
            digest: Set(self.digest.clone()),
            reply: Set(reply),
            patients: Set(patients),
            created_at: Set(tx.ctx.now()),
        };
        tx.side(|side| side.replay.push(row));
    }
}

fn ids<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Uuid> {
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Forgets replies given before `before`.
pub(crate) async fn purge(db: &crate::Db, before: Time) -> Result<u64> {
    let done = Entity::delete_many().filter(Column::CreatedAt.lt(before)).exec(db).await?;
    Ok(done.rows_affected)
}
