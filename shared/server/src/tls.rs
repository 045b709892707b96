//! TLS by settings: what listeners show and demand, and how peers are proven.
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::accept;

/// The section `tls`. Paths are of PEM files; an empty one is not set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain that this process's listener shows, leaf first.
    pub certificate: PathBuf,
    /// The key of that chain.
    pub key: PathBuf,
    /// Whose client certificates the listener accepts; with it, a caller without one is refused.
    pub client_ca: PathBuf,
    /// Who of those may call; empty is everybody. A list without members does not survive the layers.
    #[serde(default)]
    pub clients: Vec<String>,
    /// The oldest version spoken.
    pub oldest: Version,
    /// Whether a mesh or a proxy beside this process encrypts what leaves the machine.
    pub elsewhere: bool,
    /// How this process calls others.
    pub peers: Peers,
}

/// How this process calls others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// Who proves `https://` peers.
    pub ca: PathBuf,
    /// What is shown to peers that demand a certificate.
    pub certificate: PathBuf,
    /// The key of that chain.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Version {
    /// For clients that cannot do better.
    #[serde(rename = "1.2")]
    Tls12,
    /// What everything of ours speaks.
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

impl Tls {
    /// What the listener needs, if it is to speak TLS.
    pub fn listener(&self) -> Option<accept::Tls> {
        is_set(&self.certificate).then(|| accept::Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: is_set(&self.client_ca).then(|| self.client_ca.clone()),
            clients: self.clients.clone(),
            oldest: self.oldest,
        })
    }

    /// Refuses halves of what belongs together.
    pub fn check(&self) -> Result<()> {
        let pair = |one: &Path, other: &Path| is_set(one) == is_set(other);
        ensure!(pair(&self.certificate, &self.key), "tls.certificate and tls.key go together");
        ensure!(
            pair(&self.peers.certificate, &self.peers.key),
            "tls.peers.certificate and tls.peers.key go together"
        );
        ensure!(
            !is_set(&self.client_ca) || is_set(&self.certificate),
            "tls.client_ca wants tls.certificate and tls.key"
        );
        ensure!(
            self.clients.is_empty() || is_set(&self.client_ca),
            "tls.clients wants tls.client_ca, which proves who they are"
        );
        Ok(())
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

impl Version {
    pub(crate) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Version::Tls12 => &ALL,
            Version::Tls13 => &ALL[..1],
        }
    }
}

/// How long changed files may lie unread.
pub(crate) const CHECK: Duration = Duration::from_secs(10);

/// Shakes hands with peers by what the files hold now.
#[derive(Debug)]
pub struct Connector {
    peers: Peers,
    current: RwLock<(Instant, Arc<ClientConfig>)>,
}

impl Connector {
    /// Reads the files; a process does not start with what it could not call anybody with.
    pub fn load(peers: Peers) -> Result<Self> {
        ensure!(is_set(&peers.ca), "an https peer wants tls.peers.ca");
        let config = config(&peers)?;
        Ok(Connector { peers, current: RwLock::new((Instant::now(), config)) })
    }

    /// For one more connection. Connections are few, so the files are read when one is made.
    pub(crate) fn current(&self) -> TlsConnector {
        let (read, config) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if read.elapsed() < CHECK {
            return config.into();
        }
        let fresh = config_or(&self.peers, config);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            (Instant::now(), fresh.clone());
        fresh.into()
    }
}

fn config_or(peers: &Peers, old: Arc<ClientConfig>) -> Arc<ClientConfig> {
    config(peers).unwrap_or_else(|error| {
        tracing::error!(error = %error, "new certificate files refused, old ones stay");
        old
    })
}

fn config(peers: &Peers) -> Result<Arc<ClientConfig>> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(Version::Tls13.and_newer())?
        .with_root_certificates(roots(&read(&peers.ca)?).context("in tls.peers.ca")?);
    let mut config = if is_set(&peers.certificate) {
        let (chain, key) = identity(&read(&peers.certificate)?, &read(&peers.key)?)?;
        builder
            .with_client_auth_cert(chain, key)
            .context("tls.peers.certificate and its key do not belong together")?
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The authorities in a PEM file.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).context("not a certificate authority")?;
    }
    ensure!(!roots.is_empty(), "no PEM certificate");
    Ok(roots)
}

pub(crate) fn identity(
    chain: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(chain).context("certificate is no PEM certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).context("key is no PEM private key")?;
    Ok((chain, key))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// Whether a verified client certificate names one of `clients`: by its one URI (a SPIFFE id), or by a DNS name.
pub(crate) fn names_one_of(certificate: &CertificateDer<'_>, clients: &[String]) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let mut uris = certificate.valid_uri_names();
    match (uris.next(), uris.next()) {
        (Some(id), None) => clients.iter().any(|client| client == id),
        // With two, it would depend on the reader who it is.
        (Some(_), Some(_)) => false,
        (None, _) => {
            certificate.valid_dns_names().any(|name| clients.iter().any(|client| client == name))
        }
    }
}
