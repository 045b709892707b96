//! What the service is told.
use std::{net::SocketAddr, path::PathBuf};

use caseward_server::settings::ServiceSettings;
use serde::Deserialize;

/// The section of this service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it listens as a process of its own.
    pub listen: SocketAddr,
    /// `sqlite://…` or `postgres://…`; empty for a file in the data folder.
    pub database: String,
    /// The address of the portal, to which messages link.
    pub portal: String,
    /// The zone of a recipient whose own is not known.
    pub time_zone: String,
    /// When the quiet hours begin, `HH:MM`.
    pub quiet_start: String,
    /// When the quiet hours end, `HH:MM`.
    pub quiet_end: String,
    /// The most that one recipient gets within 24 hours over channels that disturb.
    pub per_day: u64,
    /// The most that one recipient gets within 7 days over channels that disturb.
    pub per_week: u64,
    /// How often a channel is tried.
    pub attempts: usize,
    /// The mail server.
    pub smtp: Smtp,
}

/// The mail server.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Empty: no email is sent.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// A PEM file of the authorities that prove the server; empty for those that everybody knows.
    pub authorities: PathBuf,
    /// Who the mail is from.
    pub from: String,
    /// Empty: no sign-in.
    pub username: String,
    /// Hidden wherever settings are shown.
    pub password: String,
    /// Seconds that one attempt may take.
    pub timeout_seconds: u64,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Not at all.
    None,
    /// Upgraded before anything is said, or not used.
    Starttls,
    /// From the start.
    Tls,
}

impl Settings {
    /// What every service with a database is told.
    pub fn service(&self) -> ServiceSettings {
        ServiceSettings { listen: self.listen, database: self.database.clone() }
    }
}

/// The password stays out of every log.
impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
