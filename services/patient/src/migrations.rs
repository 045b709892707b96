//! The schema of this service, one module per step: expand first, contract in a later release.
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261123_000101_patient;
mod m20261125_000102_accountability;
mod m20261125_000103_vouched;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = caseward_store::migrations::all();
        all.extend([
            Box::new(m20261123_000101_patient::Migration) as Box<dyn MigrationTrait>,
            Box::new(m20261125_000102_accountability::Migration),
            Box::new(m20261125_000103_vouched::Migration),
            Box::new(caseward_store::migrations::Unvouched),
        ]);
        all
    }
}
