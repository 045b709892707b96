//! `caseward serve`: start everything, open the door, wait for the end.
use caseward::Suite;
use caseward_server::{settings::Layers, telemetry};

pub async fn run(layers: &Layers) -> anyhow::Result<()> {
    let common = layers.common()?;
    let telemetry = telemetry::start(&common.telemetry(), "caseward")?;
    let suite = Suite::start(layers).await?;
    suite.listen(layers).await?;
    suite.process.life.run(common.drain()).await?;
    telemetry.stop().await;
    Ok(())
}
