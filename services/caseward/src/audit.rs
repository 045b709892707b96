//! `caseward audit`: look after the audit log.
use std::path::PathBuf;

use anyhow::{Context, bail};
use caseward_server::settings::Layers;
use caseward_store::audit::{self, Heads, Keys, Verdict};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Link every entry of every service's log anew, and hold it against the exported heads; ends with 1 where one
    /// does not fit.
    Verify {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// A file of exported heads, of every process that wrote any; by default the one of the settings.
        #[arg(long, value_name = "FILE")]
        heads: Vec<PathBuf>,
        /// The public keys whose statements count, one a line; by default the file beside the key of the settings.
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
        /// Link the entries only: a log that was cut, rebuilt or restored does not show.
        #[arg(long, conflicts_with_all = ["heads", "keys"])]
        without_heads: bool,
    },
}

pub async fn run(layers: &Layers, command: Command) -> anyhow::Result<()> {
    let Command::Verify { json, heads, keys, without_heads } = command;
    let common = layers.common()?;
    // Before the log, so that every head that was exported is in it.
    let said = if without_heads {
        Default::default()
    } else {
        let files = if heads.is_empty() { vec![common.audit_heads()] } else { heads };
        let keys = keys.unwrap_or_else(|| common.audit_key().with_extension("pub"));
        Keys::read(&keys)
            .and_then(|keys| Heads::read(&files, &keys))
            .context("the exported heads; name them with --heads and --keys, or leave them out with --without-heads")?
    };
    let mut verdicts: Vec<(&str, Verdict)> = vec![];
    for (name, store) in caseward::stores(layers, false).await? {
        let none = Heads::default();
        let mut verdict = audit::verify(&store, said.get(name).unwrap_or(&none)).await?;
        if !without_heads && !said.contains_key(name) && verdict.entries > 0 {
            verdict.others.push("nothing was exported of this log".to_owned());
        }
        verdicts.push((name, verdict));
    }
    let good = verdicts.iter().all(|(_, verdict)| verdict.is_good());
    if json {
        let services: serde_json::Map<_, _> = verdicts
            .iter()
            .map(|(name, verdict)| Ok(((*name).to_owned(), serde_json::to_value(verdict)?)))
            .collect::<anyhow::Result<_>>()?;
        println!("{}", serde_json::json!({"ok": good, "services": services}));
    } else {
        for (name, verdict) in &verdicts {
            print(name, verdict);
        }
    }
    if !good {
        bail!("the audit log is not as it was written");
    }
    Ok(())
}

fn print(name: &str, verdict: &Verdict) {
    let Verdict { entries, chains, statements, unexported, faults, others } = verdict;
    println!(
        "{name}: {entries} entries in {chains} chains, held against {statements} statements; \
         {unexported} entries not yet exported, {} faults",
        faults.len() + others.len()
    );
    for fault in faults {
        println!("  chain {} entry {}: {}", fault.chain, fault.seq, fault.reason);
    }
    for other in others {
        println!("  {other}");
    }
}
