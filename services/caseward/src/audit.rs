//! `caseward audit`: look after the audit log.
use anyhow::bail;
use caseward_server::settings::Layers;
use caseward_store::audit::{self, Verdict};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Link every entry of every service's log anew; ends with 1 where one does not fit.
    Verify {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(layers: &Layers, command: Command) -> anyhow::Result<()> {
    let Command::Verify { json } = command;
    let mut verdicts: Vec<(&str, Verdict)> = vec![];
    for (name, store) in caseward::stores(layers, false).await? {
        verdicts.push((name, audit::verify(&store).await?));
    }
    let faults: usize = verdicts.iter().map(|(_, verdict)| verdict.faults.len()).sum();
    if json {
        let services: serde_json::Map<_, _> = verdicts
            .iter()
            .map(|(name, verdict)| Ok(((*name).to_owned(), serde_json::to_value(verdict)?)))
            .collect::<anyhow::Result<_>>()?;
        println!("{}", serde_json::json!({"ok": faults == 0, "services": services}));
    } else {
        for (name, Verdict { entries, chains, faults }) in &verdicts {
            println!("{name}: {entries} entries in {chains} chains, {} faults", faults.len());
            for fault in faults {
                println!("  chain {} entry {}: {}", fault.chain, fault.seq, fault.reason);
            }
        }
    }
    if faults > 0 {
        bail!("the audit log was changed: {faults} chains are broken");
    }
    Ok(())
}
