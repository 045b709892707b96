//! TLS: versions, client certificates, renewal without a restart.

use std::path::Path;
use std::sync::Arc;

use caseward_server::accept::{Acceptor, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CHECK, PATIENCE, Server, wide};
use crate::wire::{Event, PREFACE, Wire, call};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

struct Leaf {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// A client that trusts this authority.
    fn client(
        &self,
        identity: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![leaf.certificate.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn write(folder: &Path, leaf: &Leaf) {
    std::fs::write(folder.join("tls.pem"), &leaf.pem).unwrap();
    std::fs::write(folder.join("tls.key"), leaf.key.serialize_pem()).unwrap();
}

/// A TLS server's files, with client certificates of `clients` demanded if given.
async fn acceptor(folder: &Path, leaf: &Leaf, clients: Option<&Authority>) -> Arc<Acceptor> {
    write(folder, leaf);
    let client_ca = clients.map(|authority| {
        let path = folder.join("clients.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        path
    });
    let tls = Tls { certificate: folder.join("tls.pem"), key: folder.join("tls.key"), client_ca };
    Arc::new(Acceptor::load(tls).await.unwrap())
}

async fn connect(server: &Server, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    client.connect("localhost".try_into().unwrap(), stream).await
}

/// True when a call over `stream` is answered.
async fn answers(mut stream: TlsStream<TcpStream>) -> bool {
    if stream.write_all(&[PREFACE, &call(1, CHECK)].concat()).await.is_err() {
        return false;
    }
    let mut wire = Wire(stream);
    loop {
        match wire.next().await {
            Event::Data => return true,
            Event::Closed => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_call_is_answered_over_tls_13_and_not_over_12() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let tls = acceptor(folder.path(), &authority.leaf(), None).await;
    let server = Server::start_with(wide(), Some(tls)).await;
    let modern = connect(&server, &authority.client(None, &[&version::TLS13])).await.unwrap();
    assert_eq!(modern.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    assert!(answers(modern).await);
    assert!(connect(&server, &authority.client(None, &[&version::TLS12])).await.is_err());
}

#[tokio::test]
async fn a_listener_with_client_ca_serves_only_its_certificates() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let stranger = Authority::new();
    let tls = acceptor(folder.path(), &authority.leaf(), Some(&authority)).await;
    let server = Server::start_with(wide(), Some(tls)).await;
    let ours = authority.leaf();
    let theirs = stranger.leaf();
    for (identity, served) in [(None, false), (Some(&theirs), false), (Some(&ours), true)] {
        let client = authority.client(identity, &[&version::TLS13]);
        // TLS 1.3 lets the client finish before the server has judged its certificate.
        let answered = match connect(&server, &client).await {
            Ok(stream) => answers(stream).await,
            Err(_) => false,
        };
        assert_eq!(answered, served, "with a certificate: {}", identity.is_some());
    }
}

#[tokio::test]
async fn the_client_certificate_reaches_the_request() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let tls = acceptor(folder.path(), &authority.leaf(), Some(&authority)).await;
    let server = Server::start_with(wide(), Some(tls)).await;
    let client = authority.client(Some(&authority.leaf()), &[&version::TLS13]);
    let mut stream = connect(&server, &client).await.unwrap();
    let request = b"GET /peer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.ends_with("127.0.0.1 true"), "{answer}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let (old, new) = (authority.leaf(), authority.leaf());
    let tls = acceptor(folder.path(), &old, None).await;
    let server = Server::start_with(wide(), Some(tls.clone())).await;
    let client = authority.client(None, &[&version::TLS13]);
    let shown = async || {
        let stream = connect(&server, &client).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, old.certificate);
    assert!(!tls.reload().await.unwrap(), "nothing had changed");
    write(folder.path(), &new);
    assert!(tls.reload().await.unwrap());
    assert_eq!(shown().await, new.certificate);
    std::fs::write(folder.path().join("tls.key"), old.key.serialize_pem()).unwrap();
    assert!(tls.reload().await.is_err(), "a key of another certificate");
    assert_eq!(shown().await, new.certificate);
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_is_closed() {
    let folder = TempDir::new().unwrap();
    let tls = acceptor(folder.path(), &Authority::new().leaf(), None).await;
    let limits = super::Limits { handshake: super::ms(100), ..wide() };
    let server = Server::start_with(limits, Some(tls)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "still open");
}
