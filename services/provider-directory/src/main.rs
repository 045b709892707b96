//! The provider directory as a process of its own.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    caseward_server::main(
        caseward_directory::NAME,
        caseward_directory::DEFAULTS,
        caseward_directory::start,
    )
    .await
}
