//! Where the parts under measurement keep their data: a folder of their own, or databases of their own on a server.
use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, settings::Layers, token::Verifier};
use serde::Serialize;
use uuid::Uuid;

use super::part::Part;

/// Which database is under the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Base {
    Sqlite,
    Postgres,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Sqlite => "SQLite",
            Base::Postgres => "PostgreSQL",
        })
    }
}

/// Where parts keep their data. What it made on a server goes away with it.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    verifier: Verifier,
    server: Option<String>,
    databases: Vec<String>,
}

/// The settings that say where the services are.
pub(super) const PEERS: [&str; 4] =
    ["peers.patient", "peers.care_plan", "peers.directory", "peers.notification"];

/// The services with a database, by their sections.
const SECTIONS: [(&str, &str); 4] = [
    ("patient", "patient.database"),
    ("care_plan", "care_plan.database"),
    ("directory", "directory.database"),
    ("notification", "notification.database"),
];

impl Home {
    /// A fresh home in `folder`, and where `server` is given, on that PostgreSQL server.
    pub(super) fn new(
        layers: &Layers,
        folder: &Path,
        server: Option<&str>,
    ) -> anyhow::Result<Home> {
        std::fs::create_dir_all(folder).context("making a folder for the bench")?;
        let mut settings = vec![("data", folder.to_string_lossy().into_owned())];
        // A part alone may know its peers and never calls them; another says where they are.
        settings.extend(PEERS.map(|peer| (peer, "http://127.0.0.1:1".to_owned())));
        let auth = layers.common()?.auth;
        let verifier = Verifier::open(&auth, folder)?;
        let mut databases = vec![];
        if let Some(server) = server {
            let name = Uuid::now_v7().simple();
            for (service, key) in SECTIONS {
                let database = format!("caseward_bench_{service}_{name}");
                sql(server, &format!("CREATE DATABASE {database}"))?;
                settings.push((key, on(server, &database)));
                databases.push(database);
            }
        }
        let folder = folder.to_owned();
        Ok(Home { folder, settings, verifier, server: server.map(str::to_owned), databases })
    }

    /// The data folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A token of the local issuer for this home.
    pub(super) fn token(&self, subject: &str, role: &str) -> anyhow::Result<String> {
        let life = Duration::from_secs(3600);
        self.verifier.mint(subject, &[role], LOCAL_ORGANIZATION, life, Clock::System.now())
    }

    /// The database of the patient service, where it is on a server.
    pub(super) fn patients(&self) -> Option<String> {
        Some(on(self.server.as_deref()?, self.databases.first()?))
    }

    /// Puts `patients` in, in bulk.
    pub(super) async fn fill(&self, patients: u64) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.args(["bench", "fill", "--patients", &patients.to_string()]);
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let status = command.kill_on_drop(true).status().await?;
        ensure!(status.success(), "filling the databases failed");
        Ok(())
    }

    /// Starts a part that lives here; `more` settings lie over those of the home.
    pub(super) async fn start(
        &self,
        kind: &str,
        more: &[(&'static str, String)],
    ) -> anyhow::Result<Part> {
        Part::start(kind, &[&self.settings[..], more].concat(), None).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(server) = &self.server else { return };
        for database in &self.databases {
            // What cannot be dropped bears the bench's name, for somebody to find.
            let _ = sql(server, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
        }
    }
}

/// The address of `database` on `server`, which names one as well.
fn on(server: &str, database: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, ""), |(a, o)| (a, o));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let host = address[authority..].find('/').map_or(address, |at| &address[..authority + at]);
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    format!("{host}/{database}{options}")
}

fn sql(server: &str, statement: &str) -> anyhow::Result<()> {
    let done = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--command",
            statement,
            server,
        ])
        .output()
        .context("PostgreSQL is measured with `psql` and `pgbench` on PATH")?;
    ensure!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_takes_the_place_of_the_one_in_the_address() {
        for (server, expected) in [
            ("postgres://u@h:1", "postgres://u@h:1/x"),
            ("postgres://u@h:1/", "postgres://u@h:1/x"),
            ("postgres://u:p@h/postgres?sslmode=disable", "postgres://u:p@h/x?sslmode=disable"),
        ] {
            assert_eq!(on(server, "x"), expected);
        }
    }
}
