//! `caseward token`: mint a token of the local issuer.
use anyhow::{Context, ensure};
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, settings::Layers, token::Verifier};
use clap::Args as Arguments;

#[derive(Debug, Arguments)]
pub struct Args {
    /// What the bearer is, such as `case_manager`; may be given more than once.
    #[arg(long, required = true)]
    role: Vec<String>,
    /// Who the bearer is. The role's name where not given.
    #[arg(long)]
    subject: Option<String>,
    /// How long the token is good for, such as `15m` or `1h`.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: std::time::Duration,
}

pub async fn run(layers: &Layers, args: Args) -> anyhow::Result<()> {
    let common = layers.common()?;
    ensure!(
        common.auth.issuer == "local",
        "tokens come from {}; only the local issuer can mint here",
        common.auth.issuer
    );
    for role in &args.role {
        ensure!(common.roles.knows(role), "there is no role `{role}`; see `caseward config`");
    }
    let verifier = Verifier::open(&common.auth, &common.data)?;
    let subject = args.subject.unwrap_or_else(|| args.role[0].clone());
    println!(
        "{}",
        verifier.mint(&subject, &args.role, LOCAL_ORGANIZATION, args.ttl, Clock::System.now())?
    );
    Ok(())
}

fn duration(text: &str) -> anyhow::Result<std::time::Duration> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let n: u64 = digits.parse().context("wants a number and one of s, m, h")?;
    let seconds = match unit {
        "s" | "" => n,
        "m" => n * 60,
        "h" => n * 3600,
        _ => anyhow::bail!("wants a number and one of s, m, h"),
    };
    ensure!(seconds > 0, "wants more than zero");
    Ok(std::time::Duration::from_secs(seconds))
}
