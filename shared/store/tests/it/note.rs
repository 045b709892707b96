//! A resource that is only there to be stored: a note about a patient, with a title nobody else may use.
use caseward_api::Mutation;
use caseward_core::{Ctx, Error, Id, Kind, Result, Time};
use caseward_store::{Resource, Store, Tx, expect, get, insert, migrations, relation, update};
use sea_orm::entity::prelude::*;
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager, async_trait};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "note")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Id<Note>,
    pub(crate) organization: Uuid,
    pub(crate) patient: Uuid,
    pub(crate) title: String,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) revision: i64,
}
caseward_core::confidential!(Model);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note;
impl Kind for Note {
    const COLLECTION: &'static str = "notes";
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Resource for Entity {
    const ID: Column = Column::Id;
    const REVISION: Column = Column::Revision;

    #[expect(clippy::disallowed_methods, reason = "this is where every query starts")]
    fn of(ctx: &Ctx) -> Select<Self> {
        Self::find()
            .filter(Column::Organization.eq(ctx.organization()))
            .filter(relation::visible(ctx, Column::Patient))
    }
    fn id(row: &Model) -> Uuid {
        row.id.uuid()
    }
    fn name(row: &Model) -> String {
        row.id.to_string()
    }
    fn patient(row: &Model) -> Option<Uuid> {
        Some(row.patient)
    }
    fn version(row: &mut Model) -> (&mut i64, &mut Time) {
        (&mut row.revision, &mut row.updated_at)
    }
}

/// The request of every write: the title, and where there is a name, the note to change.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Write {
    #[prost(string, tag = "1")]
    pub(crate) title: String,
    #[prost(string, tag = "2")]
    pub(crate) request_id: String,
}

impl Mutation for Write {
    fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// The answer of every write.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) title: String,
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
}

impl From<Model> for Answer {
    fn from(row: Model) -> Self {
        Answer { name: row.id.to_string(), title: row.title, revision: row.revision }
    }
}

impl Answer {
    pub(crate) fn id(&self) -> Id<Note> {
        self.name.parse().unwrap()
    }
}

/// A request that is sent once.
pub(crate) fn once(title: &str) -> Write {
    Write { title: title.to_owned(), request_id: String::new() }
}

/// A request under a new id.
pub(crate) fn fresh(title: &str) -> Write {
    Write { title: title.to_owned(), request_id: Uuid::now_v7().to_string() }
}

pub(crate) async fn create(tx: Tx, patient: Uuid, title: String) -> Result<Model> {
    let now = tx.ctx.now();
    let row = Model {
        id: Id::generate(),
        organization: tx.ctx.organization(),
        patient,
        title,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    insert::<Entity>(&tx, row).await
}

pub(crate) async fn rename(tx: Tx, id: Id<Note>, title: String, etag: String) -> Result<Model> {
    let mut row = get(&tx, Entity::of(&tx.ctx).filter(Column::Id.eq(id)), id).await?;
    expect(id, row.revision, &etag)?;
    row.title = title;
    update::<Entity>(&tx, row).await
}

/// Makes its title longer by one, whatever it is.
pub(crate) async fn append(tx: Tx, id: Id<Note>) -> Result<Model> {
    let mut row = get(&tx, Entity::of(&tx.ctx).filter(Column::Id.eq(id)), id).await?;
    row.title.push('+');
    update::<Entity>(&tx, row).await
}

/// Sends `request` in the name of ana, to be done by `work`.
pub(crate) async fn send<F, Fut>(store: &Store, request: Write, work: F) -> Result<Answer>
where
    F: Fn(Tx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Model>> + Send + 'static,
{
    store.write(&crate::call("ana"), &request, work).await
}

/// Sends `request` as a create about no patient in particular.
pub(crate) async fn write(store: &Store, ctx: &Ctx, request: &Write) -> Result<Answer> {
    write_about(store, ctx, Uuid::nil(), request).await
}

pub(crate) async fn write_about(
    store: &Store,
    ctx: &Ctx,
    patient: Uuid,
    request: &Write,
) -> Result<Answer> {
    let title = request.title.clone();
    store.write(ctx, request, move |tx| create(tx, patient, title.clone())).await
}

/// The titles that `ctx` may see, in the order of creation.
pub(crate) async fn titles(store: &Store, ctx: &Ctx) -> Vec<String> {
    let rows = caseward_store::list(&store.read(ctx), Entity::of(ctx)).await.unwrap();
    rows.into_iter().map(|row| row.title).collect()
}

/// What a rule of the test refuses with.
pub(crate) fn refusal() -> Error {
    Error::precondition("OF_THE_TEST", "refused by the test")
}

#[derive(Debug)]
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = migrations::all();
        all.push(Box::new(Table));
        all
    }
}

struct Table;

impl sea_orm_migration::MigrationName for Table {
    fn name(&self) -> &str {
        "m20261123_000002_note"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Table {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = migrations::resource("note", |table| {
            table.col(migrations::uuid("patient")).col(migrations::text("title"));
        });
        manager.create_table(table).await?;
        manager.create_index(migrations::unique("note", &["organization", "title"])).await
    }
}
