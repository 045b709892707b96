//! TLS of a listener: client certificates on demand, files read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, Result};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::tls::{self, CHECK, Version};

/// What a listener shows and demands; PEM files.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose client certificates are accepted; with it, a peer without one is refused.
    pub client_ca: Option<PathBuf>,
    /// Which of those may call, by URI or DNS name; empty is all.
    pub clients: Vec<String>,
    pub oldest: Version,
}

/// Shakes hands with the certificate that is current.
#[derive(Debug)]
pub struct Acceptor {
    tls: Tls,
    current: RwLock<(Files, Arc<ServerConfig>)>,
}

/// The files' contents: compared instead of their times, which a rename or a mounted secret may keep.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Acceptor {
    /// Reads the files; a server does not start with a certificate it cannot use.
    pub async fn load(tls: Tls) -> Result<Self> {
        let files = Files::read(&tls).await?;
        let config = files.config(tls.oldest)?;
        Ok(Self { tls, current: RwLock::new((files, config)) })
    }

    /// Reads the files again; true if they had changed. On error the old ones stay in use.
    pub async fn reload(&self) -> Result<bool> {
        let files = Files::read(&self.tls).await?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == files {
            return Ok(false);
        }
        let config = files.config(self.tls.oldest)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (files, config);
        Ok(true)
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let clients = &self.tls.clients;
        if !clients.is_empty()
            && !leaf(&stream).is_some_and(|leaf| tls::names_one_of(&leaf, clients))
        {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        Ok(stream)
    }

    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + CHECK, CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.reload().await {
                Ok(true) => info!("certificate files read again"),
                Ok(false) => {}
                Err(err) => error!(error = %err, "new certificate files refused, old ones stay"),
            }
        }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    async fn read(tls: &Tls) -> Result<Self> {
        let client_ca = match &tls.client_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self {
            certificate: read(&tls.certificate).await?,
            key: read(&tls.key).await?,
            client_ca,
        })
    }

    fn config(&self, oldest: Version) -> Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(oldest.and_newer())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(tls::roots(pem).context("in client_ca")?);
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).build()?,
                )
            }
        };
        let (chain, key) = tls::identity(&self.certificate, &self.key)?;
        let mut config = builder
            .with_single_cert(chain, key)
            .context("certificate and key do not belong together")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The peer's own certificate, already verified by the handshake.
pub(super) fn leaf(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first().cloned()
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.with_context(|| format!("{} cannot be read", path.display()))
}
