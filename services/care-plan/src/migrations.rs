//! The schema of this service, one module per step: expand first, contract in a later release.
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261123_000201_cases;
mod m20261123_000202_plans;
mod m20261123_000203_tasks;
mod m20261123_000204_assessments;
mod m20261125_000205_confirmations;
mod m20261125_000206_vouched;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = caseward_store::migrations::all();
        all.extend([
            Box::new(m20261123_000201_cases::Migration) as Box<dyn MigrationTrait>,
            Box::new(m20261123_000202_plans::Migration),
            Box::new(m20261123_000203_tasks::Migration),
            Box::new(m20261123_000204_assessments::Migration),
            Box::new(m20261125_000205_confirmations::Migration),
            Box::new(m20261125_000206_vouched::Migration),
            Box::new(caseward_store::migrations::Unvouched),
        ]);
        all
    }
}
