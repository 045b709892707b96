//! The patient service as a process of its own.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    caseward_server::main(
        caseward_patient::NAME,
        caseward_patient::DEFAULTS,
        caseward_patient::start,
    )
    .await
}
