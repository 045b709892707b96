//! Settings that are refused, and what they start.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use caseward_server::settings::{Common, Layers};
use caseward_server::{Process, Transport};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::authority::Authority;

const ABROAD: &str = "0.0.0.0:7401";
const HERE: &str = "127.0.0.1:7401";

fn layers(settings: &[(&str, &str)]) -> Layers {
    let layers = Layers::load(None, &[]).unwrap();
    settings.iter().fold(layers, |layers, (key, value)| layers.with(key, *value).unwrap())
}

fn common(settings: &[(&str, &str)]) -> Common {
    layers(settings).common().unwrap()
}

fn refusal(listen: &str, settings: &[(&str, &str)]) -> Option<String> {
    let listen: SocketAddr = listen.parse().unwrap();
    common(settings).check(listen).err().map(|error| error.to_string())
}

#[test]
fn a_data_folder_that_is_made_is_its_owners_alone() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("here").join("data");
    common(&[("data", data.to_str().unwrap())]).database("patient", "").unwrap();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn plain_text_off_loopback_is_refused_unless_something_else_encrypts() {
    let issuer = ("auth.issuer", "https://id.example.org");
    assert_eq!(refusal(HERE, &[]), None);
    assert!(refusal(ABROAD, &[]).unwrap().contains("auth.issuer"));
    assert!(refusal(ABROAD, &[issuer]).unwrap().contains("tls.elsewhere"));
    assert_eq!(refusal(ABROAD, &[issuer, ("tls.elsewhere", "true")]), None);
    let (certificate, key) = (("tls.certificate", "tls.pem"), ("tls.key", "tls.key"));
    assert_eq!(refusal(ABROAD, &[issuer, certificate, key]), None);
    let simulated = ("clock.simulated_start", "2026-01-05T08:00:00Z");
    let refused = refusal(ABROAD, &[issuer, certificate, key, simulated]);
    assert!(refused.unwrap().contains("simulated"));
}

#[test]
fn half_of_what_belongs_together_is_refused_by_name() {
    for (settings, named) in [
        (&[("tls.certificate", "tls.pem")][..], "tls.key"),
        (&[("tls.peers.key", "peer.key")], "tls.peers.certificate"),
        (&[("tls.client_ca", "ca.pem")], "tls.client_ca"),
    ] {
        let refused = refusal(HERE, settings).unwrap();
        assert!(refused.contains(named), "{refused}");
    }
    let alone = Layers::load(None, &[]).unwrap();
    let alone = alone.with("tls.clients", vec!["spiffe://caseward/gateway"]).unwrap();
    let refused = alone.common().unwrap().check(HERE.parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("tls.clients"));
}

#[test]
fn a_plain_peer_on_another_machine_is_refused_unless_something_else_encrypts() {
    let far = ("peers.patient", "http://patient:7401");
    assert!(common(&[far]).peer("patient").is_err());
    let there = common(&[far, ("tls.elsewhere", "true")]).peer("patient").unwrap();
    assert_eq!(there.unwrap().len(), 1);
    for near in
        ["http://127.0.0.1:1", "http://localhost:1,http://[::1]:2", "https://a:1, https://b:2"]
    {
        assert!(common(&[("peers.patient", near)]).peer("patient").unwrap().is_some(), "{near}");
    }
    assert!(common(&[]).peer("patient").unwrap().is_none());
}

#[test]
fn the_defaults_are_the_limits_that_the_code_would_take() {
    let settings = common(&[]).listener;
    assert_eq!(
        format!("{settings:?}"),
        format!("{:?}", caseward_server::accept::Limits::default())
    );
}

#[test]
fn a_limit_that_nobody_knows_is_refused_by_name() {
    let refused = layers(&[("listener.stream", "7")]).common().unwrap_err();
    assert!(format!("{refused:#}").contains("stream"), "{refused:#}");
}

#[tokio::test]
async fn a_process_speaks_tls_and_answers_probes_where_its_settings_say() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority = Authority::new();
    std::fs::write(path("ca.pem"), &authority.pem).unwrap();
    authority.leaf().write(folder.path(), "server");
    authority.client(&["spiffe://caseward/gateway"]).write(folder.path(), "client");
    let probes = free();
    let settings = common(&[
        ("data", &path("data")),
        ("tls.certificate", &path("server.pem")),
        ("tls.key", &path("server.key")),
        ("tls.client_ca", &path("ca.pem")),
        ("tls.peers.ca", &path("ca.pem")),
        ("tls.peers.certificate", &path("client.pem")),
        ("tls.peers.key", &path("client.key")),
        ("probes.listen", &probes.to_string()),
    ]);
    let peers = settings.tls.peers.clone();
    std::fs::create_dir(path("data")).unwrap();
    let mut process = Process::new(settings).await.unwrap();
    process.serve_clock().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let address = process.listen(listen, process.routes().prepare()).await.unwrap();

    let connector = caseward_server::tls::Connector::load(peers).unwrap();
    let origin = format!("https://localhost:{}", address.port()).parse().unwrap();
    let known = Transport::replicas(&[origin], Some(&connector.into())).unwrap();
    let check = async |transport: Transport| {
        HealthClient::new(transport).check(HealthCheckRequest::default()).await
    };
    check(known).await.expect("with its certificate it is served");
    let plain = Transport::remote(format!("http://{address}").parse().unwrap());
    check(plain).await.expect_err("without TLS it is not");

    while ask(probes, "/readyz").await != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(probes, "/healthz").await, 200);
    assert_eq!(ask(probes, "/caseward.access.v1.ClockService/GetClock").await, 404);
    process.life.finish(std::time::Duration::from_secs(3)).await;
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn ask(address: SocketAddr, path: &str) -> u16 {
    let mut door = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    door.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
