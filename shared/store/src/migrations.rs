//! The tables of this crate, in every service's database, and the helpers that all migrations use.
use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbErr},
};

mod m20261123_000001_store;
mod m20261125_000002_audit;
mod m20261125_000003_topics;
mod m20261129_000004_unvouched;
mod m20261201_000005_narrowed;

pub use m20261129_000004_unvouched::Migration as Unvouched;

/// The migrations of this crate; a service's own follow them.
pub fn all() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m20261123_000001_store::Migration),
        Box::new(m20261125_000002_audit::Migration),
        Box::new(m20261125_000003_topics::Migration),
        Box::new(m20261201_000005_narrowed::Migration),
    ]
}

/// A table of resources: `id`, `organization`, what `columns` adds, `created_at`, `updated_at`, `revision`.
pub fn resource(
    table: &'static str,
    columns: impl FnOnce(&mut TableCreateStatement),
) -> TableCreateStatement {
    let mut create = Table::create();
    create.table(Alias::new(table)).col(key("id")).col(uuid("organization"));
    columns(&mut create);
    create.col(time("created_at")).col(time("updated_at")).col(number("revision"));
    create
}

/// An index on `columns`, whose first column should be `organization`.
pub fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut create = Index::create();
    create.name(format!("ix_{table}_{}", columns.join("_"))).table(Alias::new(table));
    for column in columns {
        create.col(Alias::new(*column));
    }
    create
}

/// A unique index on `columns`.
pub fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut create = index(table, columns);
    create.unique();
    create
}

/// Lets a resource have an identifier that nobody vouches for, whoever else has it; those that are there are vouched for.
pub async fn vouch(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // SQLite cannot give a table another key.
    let mut identifier = Table::create();
    identifier.table("identifier_next").col(uuid("organization")).col(text("kind"));
    identifier.col(text("system")).col(text("value")).col(uuid("resource"));
    // A replica of the version before vouches for what it writes.
    identifier.col(flag("vouched").default(true));
    let mut key = Index::create();
    for column in ["organization", "kind", "system", "value", "resource"] {
        key.col(column);
    }
    manager.create_table(identifier.primary_key(&mut key).to_owned()).await?;
    let columns = "organization, kind, system, value, resource";
    let db = manager.get_connection();
    for step in [
        &format!("INSERT INTO identifier_next ({columns}) SELECT {columns} FROM identifier"),
        "DROP TABLE identifier",
        "ALTER TABLE identifier_next RENAME TO identifier",
        "CREATE UNIQUE INDEX ux_identifier_vouched ON identifier (organization, kind, system, value) \
         WHERE vouched",
    ] {
        db.execute_unprepared(step).await?;
    }
    manager.create_index(index("identifier", &["organization", "kind", "resource"])).await
}

/// A UUID that is the primary key.
pub fn key(name: &'static str) -> ColumnDef {
    let mut column = uuid(name);
    column.primary_key();
    column
}

/// A UUID.
pub fn uuid(name: &'static str) -> ColumnDef {
    column(name, |c| c.uuid())
}

/// Text of any length; its bound is the service's to check.
pub fn text(name: &'static str) -> ColumnDef {
    column(name, |c| c.text())
}

/// A whole number of 64 bits.
pub fn number(name: &'static str) -> ColumnDef {
    column(name, |c| c.big_integer())
}

/// A whole number of 32 bits.
pub fn small(name: &'static str) -> ColumnDef {
    column(name, |c| c.integer())
}

/// A number with a fraction.
pub fn double(name: &'static str) -> ColumnDef {
    column(name, |c| c.double())
}

/// True or false.
pub fn flag(name: &'static str) -> ColumnDef {
    column(name, |c| c.boolean())
}

/// A moment, as `caseward_core::Time` keeps it.
pub fn time(name: &'static str) -> ColumnDef {
    number(name)
}

/// A typed value as JSON.
pub fn json(name: &'static str) -> ColumnDef {
    column(name, |c| c.json_binary())
}

/// Bytes.
pub fn bytes(name: &'static str) -> ColumnDef {
    column(name, |c| c.blob())
}

/// The same column, where it may be absent.
pub fn maybe(column: ColumnDef) -> ColumnDef {
    let mut column = column;
    column.null();
    column
}

fn column(name: &'static str, kind: impl FnOnce(&mut ColumnDef) -> &mut ColumnDef) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    kind(&mut column).not_null();
    column
}
