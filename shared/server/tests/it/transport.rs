//! Calls to peers: several replicas, broken connections, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::Request as Incoming;
use caseward_api::patient::v1::{CreatePatientRequest, GetPatientRequest};
use caseward_server::Transport;
use caseward_server::accept::{self, Acceptor, Limits, Tls};
use caseward_server::tls::{Connector, Peers};
use caseward_testkit::wire::PATIENCE;
use futures_util::FutureExt;
use http::{Request, Uri};
use http_body_util::BodyExt;
use prost::Message;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use crate::authority::Authority;

const READ: &str = "/caseward.patient.v1.PatientService/GetPatient";
const CHANGE: &str = "/caseward.patient.v1.PatientService/CreatePatient";

/// A replica that answers everything.
struct Replica {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    stop: CancellationToken,
    served: JoinHandle<usize>,
}

impl Replica {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None).await
    }

    async fn start_at(address: SocketAddr, tls: Option<Arc<Acceptor>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let counted = calls.clone();
        let (_, health) = tonic_health::server::health_reporter();
        let health = tonic::service::Routes::new(health).into_axum_router();
        let routes = health.fallback(move |request: Incoming| {
            let calls = counted.clone();
            async move {
                request.into_body().collect().await.unwrap();
                calls.fetch_add(1, Relaxed);
                tonic::Status::ok("").into_http::<axum::body::Body>()
            }
        });
        let limits = Limits { drain: Duration::from_secs(3), ..Limits::default() };
        let served = tokio::spawn(accept::serve(listener, tls, limits, routes, stop.clone()));
        Replica { address, calls, stop, served }
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    async fn end(self) -> SocketAddr {
        self.stop.cancel();
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
        self.address
    }
}

/// A replica that hangs up on every call it was sent, as one that is killed does; counts them.
async fn hangs_up() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let calls = counted.clone();
            tokio::spawn(async move {
                let mut seen = vec![];
                // A frame of type HEADERS on stream 1 is the call.
                while !seen.windows(6).any(|six| six == [1, 4, 0, 0, 0, 1]) {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                calls.fetch_add(1, Relaxed);
            });
        }
    });
    (address, calls)
}

fn plain(addresses: &[SocketAddr]) -> Transport {
    let origins: Vec<Uri> =
        addresses.iter().map(|address| format!("http://{address}").parse().unwrap()).collect();
    Transport::replicas(&origins, None).unwrap()
}

async fn call(transport: &Transport, path: &str, message: &impl Message) -> Code {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "5S")
        .body(Body::new(http_body_util::Full::from(framed)))
        .unwrap();
    let reply = timeout(PATIENCE, transport.clone().oneshot(request)).await.unwrap().unwrap();
    tonic::Status::from_header_map(reply.headers()).map_or(Code::Ok, |status| status.code())
}

fn get() -> GetPatientRequest {
    GetPatientRequest { name: "patients/one".into() }
}

fn create(request_id: &str) -> CreatePatientRequest {
    CreatePatientRequest { request_id: request_id.into(), ..Default::default() }
}

#[tokio::test]
async fn a_read_that_lost_its_connection_is_made_again_at_another_replica() {
    let (dead, asked) = hangs_up().await;
    let good = Replica::start().await;
    let transport = plain(&[dead, good.address]);
    for _ in 0..20 {
        assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
    }
    assert!(asked.load(Relaxed) >= 1, "the dead replica was never asked");
    assert!(asked.load(Relaxed) < 10, "the dead replica was asked again and again");
}

#[tokio::test]
async fn what_may_have_been_done_is_repeated_only_where_repeating_is_safe() {
    for (path, id, sent) in [(READ, "", 2), (CHANGE, "an id", 2), (CHANGE, "", 1)] {
        let (dead, asked) = hangs_up().await;
        let transport = plain(&[dead]);
        let code = if path == READ {
            call(&transport, READ, &get()).await
        } else {
            call(&transport, CHANGE, &create(id)).await
        };
        assert_eq!(code, Code::Unavailable);
        assert_eq!(asked.load(Relaxed), sent, "{path} with the request id {id:?}");
    }
}

#[tokio::test]
async fn a_service_in_trouble_is_asked_little_more_than_it_would_be_without_retries() {
    let (dead, asked) = hangs_up().await;
    let transport = plain(&[dead]);
    for _ in 0..400 {
        assert_eq!(call(&transport, READ, &get()).await, Code::Unavailable);
    }
    // A tenth more, and the reserve of 2 a second for 10 seconds.
    let asked = asked.load(Relaxed);
    assert!((400..=460).contains(&asked), "{asked} for 400");
}

#[tokio::test]
async fn a_replica_that_went_and_came_back_is_called_again() {
    let (first, second) = (Replica::start().await, Replica::start().await);
    let transport = plain(&[first.address, second.address]);
    let address = first.end().await;
    for _ in 0..20 {
        assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
    }
    assert_eq!(second.calls(), 20);
    let first = Replica::start_at(address, None).await;
    let back = async {
        while first.calls() == 0 {
            assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, back).await.expect("it was never called again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_replicas_are_drained_one_after_the_other() {
    let mut replicas = vec![Replica::start().await, Replica::start().await];
    let transport = plain(&[replicas[0].address, replicas[1].address]);
    let ended = CancellationToken::new();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (transport, ended) = (transport.clone(), ended.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !ended.is_cancelled() {
                    // Not repeatable, so it is repeated only where it was not looked at.
                    assert_eq!(call(&transport, CHANGE, &create("")).await, Code::Ok);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut served = 0;
    for round in 0..6 {
        let before: usize = replicas.iter().map(Replica::calls).sum();
        while replicas.iter().map(Replica::calls).sum::<usize>() < before + 100 {
            tokio::task::yield_now().await;
        }
        let old = replicas.remove(round % 2);
        let calls = old.calls.clone();
        let address = old.end().await;
        served += calls.load(Relaxed);
        replicas.insert(round % 2, Replica::start_at(address, None).await);
    }
    ended.cancel();
    let mut sent = 0;
    for caller in callers {
        sent += timeout(PATIENCE, caller).await.unwrap().expect("a call was lost");
    }
    served += replicas.iter().map(Replica::calls).sum::<usize>();
    assert_eq!(served, sent, "a call was served twice");
}

#[tokio::test]
async fn more_streams_than_one_connection_takes_get_another() {
    let replica = Replica::start().await;
    let transport = plain(&[replica.address]);
    let mut watches = vec![];
    for _ in 0..150 {
        let mut health = HealthClient::new(transport.clone());
        let request = HealthCheckRequest { service: String::new() };
        let mut watch =
            timeout(PATIENCE, health.watch(request)).await.unwrap().unwrap().into_inner();
        timeout(PATIENCE, watch.message()).await.unwrap().unwrap();
        watches.push(watch);
    }
    assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
}

#[tokio::test]
async fn callers_who_hang_up_at_once_take_the_service_from_nobody() {
    let replica = Replica::start().await;
    let transport = Transport::remote(format!("http://{}", replica.address).parse().unwrap());
    let message = GetPatientRequest::default();
    assert_eq!(call(&transport, READ, &message).await, Code::Ok);
    for _ in 0..100 {
        assert_eq!(call(&transport, READ, &message).now_or_never(), None);
    }
    assert_eq!(call(&transport, READ, &message).await, Code::Ok);
}

#[tokio::test]
async fn callers_who_hang_up_together_break_nobodys_connection() {
    let replica = Replica::start().await;
    let transport = plain(&[replica.address]);
    assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
    // How far their calls have come when they leave is different each time.
    for steps in 0..12 {
        let mut leaving = JoinSet::new();
        for _ in 0..60 {
            let transport = transport.clone();
            leaving.spawn(async move { call(&transport, READ, &get()).await });
        }
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        leaving.abort_all();
        // What may have been done is not sent a second time.
        assert_eq!(call(&transport, CHANGE, &create("")).await, Code::Ok, "after {steps} steps");
    }
}

#[tokio::test]
async fn a_peer_that_nobody_calls_any_more_is_left() {
    let replica = Replica::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = plain(&[listener.local_addr().unwrap()]);
    let connection = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(replica.address).await.unwrap();
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    });
    assert_eq!(call(&transport, READ, &get()).await, Code::Ok);
    assert!(!connection.is_finished());
    drop(transport);
    let ended = timeout(PATIENCE, connection).await.expect("its connection ends");
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_place_without_a_listener_is_unavailable_at_once() {
    let address = Replica::start().await.end().await;
    assert_eq!(call(&plain(&[address]), CHANGE, &create("")).await, Code::Unavailable);
}

/// The files of a listener that demands certificates, and of a caller who has one.
struct Mutual {
    folder: TempDir,
    authority: Authority,
}

impl Mutual {
    fn new() -> Self {
        let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
        std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        authority.leaf().write(folder.path(), "server");
        Mutual { folder, authority }
    }

    async fn replica(&self) -> Replica {
        let path = |name: &str| self.folder.path().join(name);
        let tls = Tls {
            certificate: path("server.pem"),
            key: path("server.key"),
            client_ca: Some(path("ca.pem")),
            ..Tls::default()
        };
        let acceptor = Arc::new(Acceptor::load(tls).await.unwrap());
        Replica::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor)).await
    }

    fn caller(&self, replica: &Replica, certificate: Option<&str>) -> Transport {
        let path = |name: &str| self.folder.path().join(name);
        let mut peers = Peers { ca: path("ca.pem"), ..Peers::default() };
        if let Some(name) = certificate {
            peers.certificate = path(&format!("{name}.pem"));
            peers.key = path(&format!("{name}.key"));
        }
        let origin = format!("https://localhost:{}", replica.address.port()).parse().unwrap();
        Transport::replicas(&[origin], Some(&Arc::new(Connector::load(peers).unwrap()))).unwrap()
    }
}

#[tokio::test]
async fn an_https_peer_is_called_with_a_certificate_where_it_demands_one() {
    let mutual = Mutual::new();
    let replica = mutual.replica().await;
    mutual.authority.client(&["spiffe://caseward/gateway"]).write(mutual.folder.path(), "gateway");
    Authority::new().client(&["spiffe://caseward/gateway"]).write(mutual.folder.path(), "forged");
    let known = mutual.caller(&replica, Some("gateway"));
    assert_eq!(call(&known, READ, &get()).await, Code::Ok);
    for stranger in [None, Some("forged")] {
        let stranger = mutual.caller(&replica, stranger);
        assert_eq!(call(&stranger, READ, &get()).await, Code::Unavailable);
    }
    assert_eq!(replica.calls(), 1);
}

#[tokio::test]
async fn a_peer_of_another_authority_or_without_tls_is_not_called() {
    let mutual = Mutual::new();
    let plain = Replica::start().await;
    mutual.authority.client(&["spiffe://caseward/gateway"]).write(mutual.folder.path(), "gateway");
    let caller = mutual.caller(&plain, Some("gateway"));
    assert_eq!(call(&caller, READ, &get()).await, Code::Unavailable);
    let other = Mutual::new();
    let replica = other.replica().await;
    let caller = mutual.caller(&replica, Some("gateway"));
    assert_eq!(call(&caller, READ, &get()).await, Code::Unavailable);
    assert_eq!((plain.calls(), replica.calls()), (0, 0));
}
