//! Settings: documented defaults in the binary, then a file, then the environment.
use std::{
    fs::DirBuilder,
    net::{IpAddr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use caseward_core::{Clock, Time};
use config::{Config, Environment, File, FileFormat};
use http::Uri;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{accept, policy::Roles, telemetry, tls::Tls, token::Auth};

/// The defaults that every process shares, which are also their documentation.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The sections that belong to one service each. A process reads its own and leaves the others alone,
/// so that one set of variables serves a whole cluster.
const SECTIONS: [&str; 5] = ["gateway", "patient", "care_plan", "directory", "notification"];

/// The services that keep an audit log, by their sections.
pub(crate) fn logs() -> impl Iterator<Item = &'static str> {
    SECTIONS.into_iter().filter(|section| *section != "gateway")
}

/// Makes the data folder, where it is not there yet, for its owner alone: the databases and the keys in it are nobody
/// else's to read. One that is there stays as its owner wants it.
pub fn make_private(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("making the data folder {}", folder.display()))
}

/// Everything that was set, before it is read.
#[derive(Clone, Debug)]
pub struct Layers(Config);

impl Layers {
    /// Lays `file` and the environment over the defaults of the process and of its `services`.
    pub fn load(file: Option<&Path>, services: &[&str]) -> anyhow::Result<Layers> {
        let mut layers = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        for defaults in services {
            layers = layers.add_source(File::from_str(defaults, FileFormat::Toml));
        }
        if let Some(path) = file {
            layers = layers.add_source(File::from(path).required(true));
        }
        let environment = Environment::with_prefix("CASEWARD")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("tls.clients")
            .with_list_parse_key("gateway.cors_origins");
        Ok(Layers(layers.add_source(environment).build()?))
    }

    /// The same with `key` set to `value`, over all else: for flags of the command line and for tests.
    pub fn with(self, key: &str, value: impl Into<config::Value>) -> anyhow::Result<Layers> {
        let layers = Config::builder().add_source(self.0).set_override(key, value)?;
        Ok(Layers(layers.build()?))
    }

    /// What every process shares. Keys nobody knows are refused by name.
    pub fn common(&self) -> anyhow::Result<Common> {
        let mut all: serde_json::Map<String, serde_json::Value> =
            self.0.clone().try_deserialize()?;
        for section in SECTIONS {
            all.remove(section);
        }
        let layers = Config::builder().add_source(Config::try_from(&all)?).build()?;
        layers.try_deserialize().context("in the settings")
    }

    /// The settings of one service.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        self.0.get(name).with_context(|| format!("in the settings of `{name}`"))
    }

    /// Everything in effect, secrets hidden.
    pub fn effective(&self) -> anyhow::Result<serde_json::Value> {
        let mut all: serde_json::Value = self.0.clone().try_deserialize()?;
        hide(&mut all);
        Ok(all)
    }
}

/// Passwords in addresses, and whatever is called a secret.
fn hide(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                if ["password", "secret"].iter().any(|word| key.contains(word)) && member != "" {
                    *member = "********".into();
                }
                hide(member);
            }
        }
        serde_json::Value::Array(members) => members.iter_mut().for_each(hide),
        serde_json::Value::String(text) => {
            if let Some((scheme, rest)) = text.split_once("://")
                && let Some((credentials, place)) = rest.rsplit_once('@')
            {
                let user = credentials.split(':').next().unwrap_or_default();
                *text = format!("{scheme}://{user}:********@{place}");
            }
        }
        _ => {}
    }
}

/// What every process shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Where a process on one machine keeps its data.
    pub data: PathBuf,
    /// `local` or a `nats://` address.
    pub bus: String,
    /// Seconds that a stopping process waits.
    pub drain_seconds: u64,
    /// Seconds before that, in which it says that it is about to stop and still takes calls.
    pub notice_seconds: u64,
    /// How what leaves the machine is encrypted.
    pub tls: Tls,
    /// What the listener grants its connections.
    pub listener: accept::Limits,
    /// Where an orchestrator asks after this process.
    pub probes: Probes,
    /// Who callers are.
    pub auth: Auth,
    /// Who this process is, where no caller waits.
    pub identity: Identity,
    /// How databases are used.
    pub store: Store,
    /// Where the audit log's heads go.
    pub audit: Audit,
    /// What time it is.
    pub clock: ClockSettings,
    /// Where telemetry goes.
    pub otlp: Otlp,
    /// What the console shows.
    pub log: Log,
    /// How much at once.
    pub limits: Limits,
    /// Where other services are.
    pub peers: Peers,
    /// What each role may do.
    pub roles: Roles,
}

/// Where an orchestrator asks after this process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// An address for `/healthz` and `/readyz` alone, without TLS; empty for none.
    pub listen: String,
}

/// Who this process is, where no caller waits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// A file with the token of the service itself; with the local issuer it mints its own.
    pub token_file: PathBuf,
}

/// How databases are used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Connections that read.
    pub readers: u32,
    /// Transactions at a time.
    pub writers: u32,
    /// Changes that share a transaction at most.
    pub group: usize,
    /// Whether to migrate at start.
    pub migrate: bool,
}

/// Where the audit log's heads go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file to which they are appended; empty for one in the data folder.
    pub heads: PathBuf,
    /// The key that signs them; empty for one in the data folder.
    pub key: PathBuf,
    /// Seconds between two exports.
    pub interval_seconds: u64,
}

/// What time it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSettings {
    /// RFC 3339, or empty for the machine's clock.
    pub simulated_start: String,
}

/// Where telemetry goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// An OTLP/gRPC address, or empty.
    pub endpoint: String,
    /// The share of calls that is traced.
    pub sample_ratio: f64,
    /// Who proves an `https://` collector.
    pub ca: PathBuf,
    /// What is shown to a collector that demands a certificate.
    pub certificate: PathBuf,
    /// The key of that chain.
    pub key: PathBuf,
}

/// What the console shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: telemetry::Format,
    /// `error`, `warn` or `info`.
    pub level: telemetry::Level,
}

/// How much at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls in flight in one process.
    pub in_flight: usize,
    /// Streams open in one process.
    pub open_streams: usize,
}

/// Where other services are: addresses, several separated by commas; empty for those in this process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// The patient service.
    pub patient: String,
    /// The care-plan service.
    pub care_plan: String,
    /// The provider directory.
    pub directory: String,
    /// The notification service.
    pub notification: String,
}

/// What every service with a database is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// Where it listens as a process of its own.
    pub listen: SocketAddr,
    /// `sqlite://…` or `postgres://…`; empty for a file in the data folder.
    pub database: String,
}

impl Common {
    /// What is told of this process, and to whom.
    pub fn telemetry(&self) -> telemetry::Settings {
        let endpoint = Some(self.otlp.endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
        telemetry::Settings {
            endpoint,
            sample_ratio: self.otlp.sample_ratio,
            tls: telemetry::Tls {
                ca: self.otlp.ca.clone(),
                certificate: self.otlp.certificate.clone(),
                key: self.otlp.key.clone(),
            },
            log_format: self.log.format,
            level: self.log.level,
        }
    }

    /// How long a stopping process waits for calls in flight.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// The file to which heads of the audit log are appended.
    pub fn audit_heads(&self) -> PathBuf {
        self.beside_data(&self.audit.heads, "audit-heads.jsonl")
    }

    /// The key that signs them. The public keys are beside it, in the file that ends in `.pub`.
    pub fn audit_key(&self) -> PathBuf {
        self.beside_data(&self.audit.key, "audit.key")
    }

    /// How long entries of the audit log may wait until their chain's head is exported.
    pub fn audit_interval(&self) -> Duration {
        Duration::from_secs(self.audit.interval_seconds.max(1))
    }

    fn beside_data(&self, set: &Path, default: &str) -> PathBuf {
        if set.as_os_str().is_empty() { self.data.join(default) } else { set.to_owned() }
    }

    /// The clock of the deployment.
    pub fn clock(&self) -> anyhow::Result<Clock> {
        match self.clock.simulated_start.as_str() {
            "" => Ok(Clock::System),
            start => Time::parse(start)
                .map(Clock::simulated)
                .context("clock.simulated_start wants RFC 3339"),
        }
    }

    /// The database of `service`: as set, or a file in the data folder.
    pub fn database(&self, service: &str, url: &str) -> anyhow::Result<caseward_store::Settings> {
        let url = match url {
            "" => {
                make_private(&self.data)?;
                format!("sqlite://{}", self.data.join(format!("{service}.db")).display())
            }
            url => url.to_owned(),
        };
        let Store { readers, writers, group, migrate } = self.store;
        Ok(caseward_store::Settings { url, readers, writers, group, migrate })
    }

    /// What is told before the doors close.
    pub fn notice(&self) -> Duration {
        Duration::from_secs(self.notice_seconds)
    }

    /// Refuses what is safe on loopback only, where `listen` is not.
    pub fn check(&self, listen: SocketAddr) -> anyhow::Result<()> {
        self.tls.check()?;
        if !is_loopback(listen.ip()) {
            ensure!(
                self.auth.issuer != "local",
                "the local issuer is for loopback only; set auth.issuer"
            );
            let simulated = !self.clock.simulated_start.is_empty();
            ensure!(
                !simulated,
                "a simulated clock is for loopback only; unset clock.simulated_start"
            );
            ensure!(
                self.tls.listener().is_some() || self.tls.elsewhere,
                "{listen} is not loopback, so it wants TLS: set tls.certificate and tls.key, or tls.elsewhere where \
                 a mesh or a proxy beside this process encrypts"
            );
        }
        Ok(())
    }

    /// The addresses of the service that `name`s a section, if it is elsewhere.
    pub fn peer(&self, name: &str) -> anyhow::Result<Option<Vec<Uri>>> {
        let addresses = match name {
            "patient" => &self.peers.patient,
            "care_plan" => &self.peers.care_plan,
            "directory" => &self.peers.directory,
            "notification" => &self.peers.notification,
            _ => return Ok(None),
        };
        if addresses.is_empty() {
            return Ok(None);
        }
        let said = format!("peers.{name}");
        let addresses = addresses.split(',').map(|address| self.origin(&said, address));
        addresses.collect::<anyhow::Result<_>>().map(Some)
    }

    /// The address of somebody to call, as `said` has it: plain text stays on this machine.
    pub fn origin(&self, said: &str, address: &str) -> anyhow::Result<Uri> {
        let uri: Uri = address.trim().parse().with_context(|| format!("in {said}"))?;
        let Some(host) = uri.host() else { bail!("{said} wants an address") };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost" || host.parse().is_ok_and(is_loopback);
        ensure!(
            here || self.tls.elsewhere || uri.scheme_str() == Some("https"),
            "{said} is on another machine, so it wants https://, or tls.elsewhere where a mesh or a proxy beside this \
             process encrypts"
        );
        Ok(uri)
    }
}

/// Whether only this machine reaches what listens there.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
