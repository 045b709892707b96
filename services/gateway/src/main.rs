//! The front door as a process of its own.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    caseward_server::main(
        caseward_gateway::NAME,
        caseward_gateway::DEFAULTS,
        caseward_gateway::start,
    )
    .await
}
