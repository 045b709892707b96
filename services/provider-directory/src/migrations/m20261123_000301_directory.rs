//! The six kinds of records, their identifiers, and what they are found by.
use caseward_store::migrations::{
    bytes, double, flag, index, json, maybe, resource, small, text, uuid,
};
use sea_orm_migration::{prelude::*, sea_orm::DbErr};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            organization(),
            location(),
            practitioner(),
            practitioner_role(),
            healthcare_service(),
            insurance_plan(),
        ] {
            manager.create_table(table).await?;
        }
        for (table, column) in [
            ("location", "managing_organization"),
            ("practitioner_role", "practitioner"),
            ("practitioner_role", "for_organization"),
            ("healthcare_service", "provided_by"),
            ("insurance_plan", "owned_by"),
        ] {
            manager.create_index(index(table, &["organization", column, "id"])).await?;
        }
        for table in [
            "organization",
            "location",
            "practitioner",
            "practitioner_role",
            "healthcare_service",
            "insurance_plan",
        ] {
            manager.create_index(index(table, &["organization", "id"])).await?;
        }
        manager.create_index(index("location", &["organization", "latitude", "longitude"])).await?;
        manager
            .create_index(index("healthcare_service", &["organization", "sort_key", "id"]))
            .await?;

        let mut identifier = Table::create();
        identifier
            .table("identifier")
            .col(uuid("organization"))
            .col(text("kind"))
            .col(text("value"))
            .col(text("system"));
        identifier.col(uuid("record"));
        identifier.primary_key(
            Index::create().col("organization").col("kind").col("value").col("system"),
        );
        manager.create_table(identifier).await?;
        manager.create_index(index("identifier", &["organization", "record"])).await?;

        let mut term = Table::create();
        term.table("term")
            .col(uuid("organization"))
            .col(text("kind"))
            .col(text("field"))
            .col(bytes("value"));
        term.col(uuid("record")).col(maybe(uuid("target")));
        term.primary_key(
            Index::create().col("organization").col("kind").col("field").col("value").col("record"),
        );
        manager.create_table(term).await?;
        manager.create_index(index("term", &["organization", "record"])).await?;
        // Words are many and name no record; the few terms that do are joined by it.
        let mut targets = index("term", &["organization", "kind", "field", "target"]);
        manager.create_index(targets.and_where(Expr::col("target").is_not_null()).to_owned()).await
    }
}

fn organization() -> TableCreateStatement {
    resource("organization", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(json("types"))
            .col(text("display_name"))
            .col(json("aliases"))
            .col(text("description"))
            .col(json("specialties"))
            .col(json("telecoms"))
            .col(json("addresses"))
            .col(maybe(uuid("part_of")))
            .col(json("locations"))
            .col(json("qualifications"))
            .col(maybe(json("position")))
            .col(json("verification"));
    })
}

fn location() -> TableCreateStatement {
    resource("location", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(text("display_name"))
            .col(json("aliases"))
            .col(text("description"))
            .col(json("types"))
            .col(json("telecoms"))
            .col(maybe(json("address")))
            .col(maybe(double("latitude")))
            .col(maybe(double("longitude")))
            .col(maybe(uuid("managing_organization")))
            .col(maybe(uuid("part_of")))
            .col(json("hours"))
            .col(text("hours_exceptions"))
            .col(json("new_patients"))
            .col(json("accessibility"))
            .col(json("verification"));
    })
}

fn practitioner() -> TableCreateStatement {
    resource("practitioner", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(json("names"))
            .col(small("gender"))
            .col(json("telecoms"))
            .col(json("addresses"))
            .col(json("languages"))
            .col(json("specialties"))
            .col(json("qualifications"))
            .col(json("verification"));
    })
}

fn practitioner_role() -> TableCreateStatement {
    resource("practitioner_role", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(maybe(uuid("practitioner")))
            .col(maybe(uuid("for_organization")))
            .col(json("roles"))
            .col(json("specialties"))
            .col(json("locations"))
            .col(json("healthcare_services"))
            .col(json("networks"))
            .col(json("telecoms"))
            .col(json("period"))
            .col(json("hours"))
            .col(json("absences"))
            .col(text("hours_exceptions"))
            .col(json("new_patients"))
            .col(json("qualifications"))
            .col(json("verification"));
    })
}

fn healthcare_service() -> TableCreateStatement {
    resource("healthcare_service", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(maybe(uuid("provided_by")))
            .col(text("display_name"))
            .col(json("categories"))
            .col(json("types"))
            .col(json("specialties"))
            .col(json("locations"))
            .col(text("description"))
            .col(json("programs"))
            .col(json("telecoms"))
            .col(json("coverage_areas"))
            .col(text("eligibility"))
            .col(text("cost"))
            .col(json("languages"))
            .col(json("delivery_methods"))
            .col(json("referral_methods"))
            .col(flag("appointment_required"))
            .col(json("hours"))
            .col(json("absences"))
            .col(text("hours_exceptions"))
            .col(json("new_patients"))
            .col(json("networks"))
            .col(bytes("sort_key"))
            .col(json("verification"));
    })
}

fn insurance_plan() -> TableCreateStatement {
    resource("insurance_plan", |t| {
        t.col(json("identifiers"))
            .col(small("status"))
            .col(text("display_name"))
            .col(json("aliases"))
            .col(json("types"))
            .col(json("plan_types"))
            .col(maybe(uuid("owned_by")))
            .col(maybe(uuid("administered_by")))
            .col(json("coverage_areas"))
            .col(json("networks"))
            .col(json("telecoms"))
            .col(json("period"))
            .col(json("verification"));
    })
}
