//! The schema of this service, one module per step: expand first, contract in a later release.
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261123_000401_notification;
mod m20261129_000402_about;
mod m20261201_000403_withdrawn;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = caseward_store::migrations::all();
        all.extend([
            Box::new(m20261123_000401_notification::Migration) as Box<dyn MigrationTrait>,
            Box::new(m20261129_000402_about::Migration),
            Box::new(m20261201_000403_withdrawn::Migration),
        ]);
        all
    }
}
