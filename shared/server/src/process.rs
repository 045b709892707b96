//! One process: what its services share, and how they start, listen and stop.
use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, bail};
use caseward_api::{
    access::v1::clock_service_server::ClockServiceServer,
    audit::v1::access_log_service_server::AccessLogServiceServer,
};
use caseward_core::Clock;
use caseward_events::{Bus, Consumer, Handler, Relay, Settle, Sweeper, Timers};
use caseward_store::{
    Store,
    audit::{Exporter, HeadLog},
};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_health::server::HealthReporter;
use tracing::info;
use uuid::Uuid;

use crate::{
    Guard, Life, Transport, accept,
    access_log::{AccessLog, AccessLogs},
    clock::Clocks,
    guard::{Admission, Shared},
    health::{self, Health},
    identity::{Identity, OwnPeer},
    probes::{self, Ready},
    settings::{self, Common, Layers},
    telemetry::{self, Calls},
    tls::Connector,
    token::Verifier,
    transport::Peers,
};

/// What the services of one process share.
#[derive(Debug)]
pub struct Process {
    /// The settings that every process has.
    pub settings: Common,
    /// What time it is.
    pub clock: Clock,
    /// How events travel.
    pub bus: Bus,
    /// What runs, and when it stops.
    pub life: Life,
    verifier: Verifier,
    guards: Arc<Shared>,
    peers: Peers,
    served: Vec<(&'static str, Vec<&'static str>, Routes)>,
    settle: Settle,
    front: Option<axum::Router>,
    probes: Ready,
    heads: Option<Arc<HeadLog>>,
}

impl Process {
    /// Prepares a process; nothing listens yet.
    pub async fn new(settings: Common) -> anyhow::Result<Self> {
        let clock = settings.clock()?;
        let verifier = Verifier::open(&settings.auth, &settings.data)?;
        let guards = Arc::new(Shared {
            verifier: verifier.clone(),
            roles: settings.roles.clone(),
            clock: clock.clone(),
            admission: Admission::new(settings.limits.in_flight),
            open_streams: Admission::new(settings.limits.open_streams),
            calls: Calls::new(),
            unaudited: AtomicBool::new(false),
        });
        let bus = Bus::connect(&settings.bus).await?;
        let (life, peers) = (Life::new(settings.notice()), Peers::default());
        let settle =
            Settle { clock: clock.clone(), bus: bus.clone(), relays: vec![], timers: vec![] };
        Ok(Process {
            settings,
            clock,
            bus,
            life,
            verifier,
            guards,
            peers,
            served: vec![],
            settle,
            front: None,
            probes: Ready::default(),
            heads: None,
        })
    }

    /// A way to call the service whose section is `name`, here or elsewhere. To be called on somebody's behalf:
    /// see [`Transport::for_caller`].
    pub fn peer(&self, name: &'static str) -> Transport {
        self.peers.get(name)
    }

    /// Says where the service whose section is `name` is, before the settings do: for doubles in tests.
    pub fn bind(&self, name: &'static str, peer: Transport) {
        self.peers.bind(name, peer);
    }

    /// Puts `service` behind the guard and makes it known to its peers.
    pub fn serve(&mut self, service: Service) -> anyhow::Result<()> {
        let Service { name, store, mut routes, names, reporter, consumers, handlers } = service;
        let health = Health {
            service: name,
            names: names.clone(),
            reporter,
            ready: self.probes.clone(),
            store: store.clone(),
            clock: self.clock.clone(),
            admission: self.guards.admission.clone(),
        };
        self.life.spawn("health", health::keep(health, self.life.leaving()));
        if let Some(store) = &store {
            routes.add_service(AccessLogServiceServer::new(AccessLog(store.clone())));
            self.export(name, store)?;
            self.events(name, store, consumers, handlers);
        }
        let routes = Guard::new(self.guards.clone(), store)?.protect(routes.routes()).prepare();
        self.peers.bind(name, Transport::local(routes.clone()));
        self.served.push((name, names, routes));
        Ok(())
    }

    /// Keeps the heads of the service's audit chains outside its database.
    fn export(&mut self, name: &'static str, store: &Store) -> anyhow::Result<()> {
        let log = match &self.heads {
            Some(log) => log.clone(),
            None => {
                let (heads, key) = (self.settings.audit_heads(), self.settings.audit_key());
                self.heads.insert(Arc::new(HeadLog::open(&heads, &key)?)).clone()
            }
        };
        let exporter = Exporter::open(name, store.clone(), log)?;
        let (every, stop) = (self.settings.audit_interval(), self.life.stopping());
        let stopped = async move { stop.cancelled().await };
        self.life.spawn("audit heads", exporter.run(every, stopped));
        Ok(())
    }

    /// The audit logs of the whole deployment, for `name`, whose own is in `store`. A service that joins the
    /// deployment joins them.
    pub fn access_logs(&self, name: &'static str, store: &Store) -> anyhow::Result<AccessLogs> {
        for other in settings::logs() {
            if self.settings.peer(other)?.is_some() {
                // Asked for now, it is bound when the process is ready.
                let _ = self.peers.get(other);
            }
        }
        let (peers, identity) = (self.peers.clone(), self.identity());
        Ok(AccessLogs { name, own: AccessLog(store.clone()), peers, identity })
    }

    /// Sets in motion what a service with a database does by itself: its events leave, events reach it, its timers
    /// fire, what is past its time is forgotten.
    fn events(
        &mut self,
        name: &'static str,
        store: &Store,
        consumers: Vec<Consumer>,
        handlers: Vec<Handler>,
    ) {
        let (clock, stop) = (&self.clock, self.life.stopping());
        let relay = Relay::new(name, store.clone(), self.bus.clone(), clock.clone());
        let timers = Timers::new(name, store.clone(), clock.clone(), handlers);
        for consumer in consumers {
            let subscription = self.bus.subscribe(store.clone(), clock.clone(), consumer);
            self.life.spawn("consumer", subscription.run(stop.clone()));
        }
        self.life.spawn("relay", relay.clone().run(stop.clone()));
        self.life.spawn("timers", timers.clone().run(stop.clone()));
        self.life.spawn("sweeper", Sweeper::new(store.clone(), clock.clone()).run(stop));
        self.settle.relays.push(relay);
        self.settle.timers.push(timers);
    }

    /// Keeps no record of who reads what, so that `caseward bench` can tell what the record costs. No setting reaches
    /// this, and nothing that serves people may call it.
    pub fn leave_reads_unaudited(&self) {
        self.guards.unaudited.store(true, Ordering::Relaxed);
    }

    /// Serves the deployment's clock from this process.
    pub fn serve_clock(&mut self) -> anyhow::Result<()> {
        let clocks = Clocks { clock: self.clock.clone(), settle: self.settle.clone() };
        self.serve(Service::new("clock", None).with(ClockServiceServer::new(clocks)))
    }

    /// All that moves by itself in this process.
    pub fn settle(&self) -> &Settle {
        &self.settle
    }

    /// The sections and gRPC services of this process.
    pub fn served(&self) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        self.served.iter().map(|(name, names, _)| (*name, names.as_slice()))
    }

    /// Mints tokens, where the issuer is the local one.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The same, to be called in the name of this process, where no caller waits.
    pub fn own_peer(&self, name: &'static str) -> OwnPeer {
        OwnPeer::new(self.peer(name), self.identity())
    }

    fn identity(&self) -> Identity {
        Identity::new(self.verifier.clone(), self.settings.identity.token_file.clone())
    }

    /// Binds every peer that is not in this process to its address, and lets events flow: every consumer of this
    /// process is known by now.
    pub fn ready(&self) -> anyhow::Result<()> {
        let mut connector = None;
        for name in self.peers.unbound() {
            let Some(addresses) = self.settings.peer(name)? else {
                bail!("the service `{name}` is not in this process; set peers.{name}");
            };
            if connector.is_none() && addresses.iter().any(|to| to.scheme_str() == Some("https")) {
                connector = Some(Arc::new(Connector::load(self.settings.tls.peers.clone())?));
            }
            self.peers.bind(name, Transport::replicas(&addresses, connector.as_ref())?);
        }
        self.bus.open();
        if let (Bus::JetStream(bus), true) = (&self.bus, self.clock.is_simulated()) {
            let follow = bus.clone().follow_time(self.clock.clone(), self.life.stopping());
            self.life.spawn("clock", follow);
        }
        Ok(())
    }

    /// Puts a gateway before everything that this process serves.
    pub fn front(&mut self, door: axum::Router) {
        self.front = Some(door);
    }

    /// What this process answers with: its gateway, or else everything that was put behind the guard.
    pub fn routes(&self) -> Routes {
        if let Some(door) = &self.front {
            return Routes::from(door.clone());
        }
        let served = self.served.iter().enumerate();
        // Whoever asks the wrong process is told in gRPC, not by a bare HTTP status.
        let nothing = axum::Router::new().fallback(|| async {
            tonic::Status::unimplemented("no such method").into_http::<axum::body::Body>()
        });
        let router = served.fold(nothing, |router, (n, (_, names, routes))| {
            // Without a gateway a process holds one service; of several the first would speak of its health.
            let common = ["grpc.health.v1.Health", AccessLogServiceServer::<AccessLog>::NAME];
            let common = common.into_iter().filter(|_| n == 0);
            names.iter().copied().chain(common).fold(router, |router, service| {
                router.route_service(&format!("/{service}/{{method}}"), routes.clone())
            })
        });
        Routes::from(router)
    }

    /// Serves `service` on `listen` until the process stops. Answers the address, which matters for port 0.
    pub async fn listen<S, B>(&self, listen: SocketAddr, service: S) -> anyhow::Result<SocketAddr>
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.settings.check(listen)?;
        let listener = accept::bind(listen).with_context(|| format!("listening on {listen}"))?;
        let address = listener.local_addr()?;
        let tls = match self.settings.tls.listener() {
            Some(tls) => Some(Arc::new(accept::Acceptor::load(tls).await?)),
            None => None,
        };
        let limits =
            accept::Limits { drain: self.settings.drain(), ..self.settings.listener.clone() };
        let stop = self.life.stopping();
        self.life.spawn("listener", async move {
            accept::serve(listener, tls, limits, service, stop).await;
            Ok(())
        });
        self.probe().await?;
        info!(%address, "listening");
        Ok(address)
    }

    /// Answers an orchestrator where the settings say.
    async fn probe(&self) -> anyhow::Result<()> {
        let listen = &self.settings.probes.listen;
        if listen.is_empty() {
            return Ok(());
        }
        let listener = TcpListener::bind(listen).await.context("listening on probes.listen")?;
        let (stop, routes) = (self.life.stopping(), probes::routes(self.probes.clone()));
        self.life.spawn("probes", async move {
            accept::serve(listener, None, accept::Limits::default(), routes, stop).await;
            Ok(())
        });
        Ok(())
    }
}

/// The one organization that the local issuer speaks for.
pub const LOCAL_ORGANIZATION: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001);

/// One service of a process: its gRPC services behind one guard and one database.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    store: Option<Store>,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    reporter: HealthReporter,
    consumers: Vec<Consumer>,
    handlers: Vec<Handler>,
}

impl Service {
    /// A service whose section is `name`. The audit of its calls goes into `store`.
    pub fn new(name: &'static str, store: Option<Store>) -> Self {
        let (reporter, health) = tonic_health::server::health_reporter();
        let mut routes = RoutesBuilder::default();
        routes.add_service(health.max_decoding_message_size(accept::Public::MESSAGE));
        Service {
            name,
            store,
            routes,
            names: vec![],
            reporter,
            consumers: vec![],
            handlers: vec![],
        }
    }

    /// Adds one gRPC service.
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: tower::Service<http::Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Adds a reader of events. Its effects are in the service's database.
    pub fn consume(mut self, consumer: Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Adds what is done when a timer of the service's database comes due.
    pub fn on_timer(mut self, handler: Handler) -> Self {
        self.handlers.push(handler);
        self
    }
}

/// The `main` of a service that is a process of its own: read the settings, start, listen, stop.
pub async fn main<T, F>(name: &'static str, defaults: &str, start: F) -> anyhow::Result<()>
where
    T: DeserializeOwned,
    F: AsyncFnOnce(T, &mut Process) -> anyhow::Result<()>,
{
    let file = std::env::args_os().nth(1);
    let layers = Layers::load(file.as_deref().map(Path::new), &[defaults])?;
    let common = layers.common()?;
    let telemetry = telemetry::start(&common.telemetry(), name)?;
    let lived = live(name, layers, common, start).await;
    telemetry.stop().await;
    lived
}

async fn live<T, F>(
    name: &'static str,
    layers: Layers,
    common: Common,
    start: F,
) -> anyhow::Result<()>
where
    T: DeserializeOwned,
    F: AsyncFnOnce(T, &mut Process) -> anyhow::Result<()>,
{
    #[derive(serde::Deserialize)]
    struct Listen {
        listen: SocketAddr,
    }

    let Listen { listen } = layers.section(name)?;
    common.check(listen)?;
    let drain = common.drain();
    let mut process = Process::new(common).await?;
    start(layers.section(name)?, &mut process).await?;
    process.ready()?;
    process.listen(listen, process.routes().prepare()).await?;
    process.life.run(drain).await
}
