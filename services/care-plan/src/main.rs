//! The care-plan service as a process of its own.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    caseward_server::main(
        caseward_care_plan::NAME,
        caseward_care_plan::DEFAULTS,
        caseward_care_plan::start,
    )
    .await
}
