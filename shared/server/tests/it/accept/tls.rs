//! TLS: versions, client certificates, renewal without a restart.

use std::path::Path;
use std::sync::Arc;

use caseward_server::accept::{Acceptor, Tls};
use caseward_testkit::wire::{Event, PREFACE, Wire, call};
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CHECK, PATIENCE, Server, wide};
use crate::authority::{Authority, Leaf};

/// A client that trusts `authority`.
fn client(
    authority: &Authority,
    identity: Option<&Leaf>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
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

/// A TLS server's files, with client certificates of `clients` demanded if given.
async fn acceptor(folder: &Path, leaf: &Leaf, clients: Option<&Authority>) -> Arc<Acceptor> {
    leaf.write(folder, "tls");
    let client_ca = clients.map(|authority| {
        let path = folder.join("clients.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        path
    });
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    let tls = Tls { certificate, key, client_ca, ..Tls::default() };
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
    let modern = connect(&server, &client(&authority, None, &[&version::TLS13])).await.unwrap();
    assert_eq!(modern.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    assert!(answers(modern).await);
    assert!(connect(&server, &client(&authority, None, &[&version::TLS12])).await.is_err());
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
        let client = client(&authority, identity, &[&version::TLS13]);
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
    let client = client(&authority, Some(&authority.leaf()), &[&version::TLS13]);
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
    let client = client(&authority, None, &[&version::TLS13]);
    let shown = async || {
        let stream = connect(&server, &client).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, old.certificate);
    assert!(!tls.reload().await.unwrap(), "nothing had changed");
    new.write(folder.path(), "tls");
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

#[tokio::test]
async fn of_those_with_a_certificate_only_the_listed_may_call() {
    const GATEWAY: &str = "spiffe://caseward/gateway";
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.leaf().write(folder.path(), "tls");
    std::fs::write(folder.path().join("clients.pem"), &authority.pem).unwrap();
    let tls = Tls {
        certificate: folder.path().join("tls.pem"),
        key: folder.path().join("tls.key"),
        client_ca: Some(folder.path().join("clients.pem")),
        clients: vec![GATEWAY.to_owned(), "localhost".to_owned()],
        ..Tls::default()
    };
    let server =
        Server::start_with(wide(), Some(Arc::new(Acceptor::load(tls).await.unwrap()))).await;
    for (identity, served, who) in [
        (authority.client(&[GATEWAY]), true, "listed by its URI"),
        (authority.leaf(), true, "listed by its DNS name"),
        (authority.client(&["spiffe://caseward/patient"]), false, "another URI"),
        (authority.client(&[GATEWAY, "spiffe://caseward/patient"]), false, "two URIs"),
        (authority.client(&[]), false, "no name"),
        (authority.signer(GATEWAY), false, "a certificate that may sign"),
        (authority.expired(GATEWAY), false, "one of a year that is over"),
    ] {
        let client = client(&authority, Some(&identity), &[&version::TLS13]);
        let answered = match connect(&server, &client).await {
            Ok(stream) => answers(stream).await,
            Err(_) => false,
        };
        assert_eq!(answered, served, "{who}");
    }
}

#[tokio::test]
async fn tls_12_is_spoken_where_the_settings_allow_it() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.leaf().write(folder.path(), "tls");
    let tls = Tls {
        certificate: folder.path().join("tls.pem"),
        key: folder.path().join("tls.key"),
        oldest: caseward_server::tls::Version::Tls12,
        ..Tls::default()
    };
    let server =
        Server::start_with(wide(), Some(Arc::new(Acceptor::load(tls).await.unwrap()))).await;
    for version in [&version::TLS12, &version::TLS13] {
        let stream = connect(&server, &client(&authority, None, &[version])).await.unwrap();
        assert!(answers(stream).await, "{version:?}");
    }
}
