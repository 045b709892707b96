//! An index of the audit log by patient and by call.
use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, DbErr},
};

use super::{index, number, uuid};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The calls that began and never ended are looked for by the time that an id holds.
        manager.create_index(index("audit", &["record"])).await?;

        let db = manager.get_connection();
        let sqlite = db.get_database_backend() == DbBackend::Sqlite;
        let mut patient = Table::create();
        patient.table(Alias::new("audit_patient")).col(uuid("patient")).col(uuid("record"));
        patient.col(uuid("chain")).col(number("seq"));
        patient.primary_key(Index::create().col("patient").col("record").col("chain").col("seq"));
        if sqlite {
            // The key is the whole row, so that the table is one tree.
            patient.extra("WITHOUT ROWID");
        }
        manager.create_table(patient).await?;

        let (id, each) = if sqlite {
            let list = r#"json_each('["' || replace(patients, ' ', '","') || '"]')"#;
            ("unhex(replace(one.value, '-', ''))", list)
        } else {
            ("one.value::uuid", "unnest(string_to_array(patients, ' ')) AS one(value)")
        };
        let each = if sqlite { format!("{each} AS one") } else { each.to_owned() };
        let fill = format!(
            "INSERT INTO audit_patient (patient, record, chain, seq) \
             SELECT DISTINCT {id}, record, chain, seq FROM audit, {each} WHERE patients <> ''"
        );
        db.execute_unprepared(&fill).await.map(|_| ())
    }
}
