//! The command line of Caseward.
mod audit;
mod bench;
mod demo;
mod door;
mod import;
mod samples;
mod serve;
mod token;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The back end that case managers stand on: patients, care plans, providers, messages.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// A settings file (TOML), laid over the defaults. The environment (CASEWARD__SECTION__KEY) lies over both.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the whole suite from this process (the default).
    Serve,
    /// Play one person's case from identification to closure on a fresh data folder, then serve on.
    Demo(demo::Args),
    /// Mint a token of the local issuer and print it.
    Token(token::Args),
    /// Load files into a running suite, or else into the data folder.
    Import(import::Args),
    /// Measure, side by side: a bare echo, and calls direct and through the gateway.
    Bench(bench::Args),
    /// Print the settings in effect, secrets hidden.
    Config,
    /// Bring every database up to date, and end.
    Migrate,
    /// Look after the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What went wrong in one line, as a person or a script reads it; where in our code helps neither.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let layers = caseward::settings(cli.config.as_deref())?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&layers).await,
        Command::Demo(args) => demo::run(layers, args).await,
        Command::Token(args) => token::run(&layers, args).await,
        Command::Import(args) => import::run(&layers, args).await,
        Command::Bench(args) => bench::run(layers, args).await,
        Command::Config => {
            println!("{}", serde_json::to_string_pretty(&layers.effective()?)?);
            Ok(())
        }
        Command::Migrate => {
            for (name, _) in caseward::stores(&layers, true).await? {
                println!("{name}: up to date");
            }
            Ok(())
        }
        Command::Audit(command) => audit::run(&layers, command).await,
    }
}
