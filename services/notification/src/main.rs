//! The notification service as a process of its own.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    caseward_server::main(
        caseward_notification::NAME,
        caseward_notification::DEFAULTS,
        caseward_notification::start,
    )
    .await
}
