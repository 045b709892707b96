//! The schema of this service, one module per step: expand first, contract in a later release.
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261123_000401_notification;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = caseward_store::migrations::all();
        all.push(Box::new(m20261123_000401_notification::Migration));
        all
    }
}
