//! The whole of Caseward as an operator runs it: from its binaries, in one process or as a cluster of them.
mod binaries;
mod caller;
mod member;
mod victim;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use caseward_api::access::v1::{
    AdvanceRequest, GetClockRequest, clock_service_client::ClockServiceClient,
};
use caseward_core::{Clock, Time, check};
use caseward_server::{
    LOCAL_ORGANIZATION, Transport,
    token::{Auth, Verifier},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

pub use caller::Caller;
pub use member::Member;
pub use victim::Victim;

use crate::{Database, Nats, Postgres, Proxy, nats, program};

/// When the simulated clock of a suite starts: a Monday morning.
pub const START: &str = "2026-01-05T08:00:00Z";

/// How long a suite may take until it is ready, on a machine that is busy with other tests.
const READY: Duration = Duration::from_secs(90);

/// How long a token lives.
const HOUR: Duration = Duration::from_secs(3600);

/// Services of a cluster, each with its section in the settings, its binary and its replicas.
const CLUSTER: [(&str, &str, usize); 5] = [
    ("patient", "caseward-patient", 1),
    ("care_plan", "caseward-care-plan", 2),
    ("directory", "caseward-directory", 1),
    ("notification", "caseward-notification", 2),
    ("gateway", "caseward-gateway", 1),
];

/// A running suite. Dropping it kills its processes and removes its data.
#[derive(Debug)]
pub struct Suite {
    members: Vec<Member>,
    gateway: u16,
    verifier: Verifier,
    nats: Option<Nats>,
    databases: Vec<Database>,
    /// Outlives the databases on it.
    postgres: Option<Postgres>,
    proxies: BTreeMap<Link, Proxy>,
    data: PathBuf,
    #[expect(dead_code, reason = "removed when dropped")]
    folder: TempDir,
}

/// Where callers sign in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    verifier: Verifier,
    gateway: Transport,
}

/// What a suite is told before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    settings: Vec<(String, String)>,
    replicas: BTreeMap<&'static str, usize>,
    own_postgres: bool,
    proxied: bool,
    core: Option<usize>,
    data: Option<PathBuf>,
}

/// A connection within a suite, or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// From clients to the gateway.
    Gateway,
    /// From the gateway and the other services to this one, by its section in the settings. Of a cluster only.
    Peer(&'static str),
    /// From this service to its database. Of a cluster only.
    Database(&'static str),
    /// From every service to the bus. Of a cluster only.
    Bus,
}

/// A suite of each shape that this machine can run. A story runs on each.
pub async fn suites() -> Vec<Suite> {
    let mut all = vec![Suite::one().await];
    all.extend(Suite::cluster().await);
    all
}

impl Suite {
    /// The whole suite in one process on SQLite, its clock simulated.
    pub async fn one() -> Suite {
        Suite::plan().one().await
    }

    /// Every service in processes of its own, on PostgreSQL and NATS, the clock simulated; nothing where this
    /// machine lacks either.
    pub async fn cluster() -> Option<Suite> {
        Suite::plan().cluster().await
    }

    /// A suite with settings of the test's own.
    pub fn plan() -> Plan {
        let settings = [
            ("CASEWARD__CLOCK__SIMULATED_START", START),
            ("CASEWARD__LOG__FORMAT", "json"),
            ("CASEWARD__DRAIN_SECONDS", "5"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Plan {
            settings: settings.into(),
            replicas: BTreeMap::new(),
            own_postgres: false,
            proxied: false,
            core: None,
            data: None,
        }
    }

    /// Somebody with a token, in the organization of the local issuer.
    pub fn caller(&self, subject: &str, roles: &[&str]) -> Caller {
        self.caller_of(LOCAL_ORGANIZATION, subject, roles)
    }

    /// Somebody with a token, in another organization.
    pub fn caller_of(&self, organization: Uuid, subject: &str, roles: &[&str]) -> Caller {
        self.desk().sign_in(organization, subject, roles, HOUR, Clock::System.now())
    }

    /// Signs callers in at the gateway, also while the suite itself is being harmed.
    pub fn desk(&self) -> Desk {
        Desk { verifier: self.verifier.clone(), gateway: self.transport() }
    }

    /// Where the gateway listens, without a token. A connection of its own each time.
    pub fn transport(&self) -> Transport {
        remote(self.gateway)
    }

    /// The same by way of a proxy before it.
    pub fn by_way_of(&self, proxy: &Proxy) -> Transport {
        remote(proxy.address().port())
    }

    /// What listens at `address`, without a token.
    pub fn door(address: SocketAddr) -> Transport {
        remote(address.port())
    }

    /// The socket on which the gateway listens.
    pub fn address(&self) -> SocketAddr {
        local(self.gateway)
    }

    /// The same past the gateway: replica `n` of a service, by its section in the settings.
    pub fn replica(&self, name: &str, n: usize) -> Transport {
        remote(self.place(name, n).port)
    }

    /// The address of the gateway, for REST: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// Moves the clock of the deployment; answers the present when the timers due by then have been handed over.
    pub async fn advance(&self, by: time::Duration) -> Time {
        let by =
            prost_types::Duration { seconds: by.whole_seconds(), nanos: by.subsec_nanoseconds() };
        let mut clock = self.caller("operator", &["operator"]).client(ClockServiceClient::new);
        let moved = clock.advance(AdvanceRequest { by: Some(by) }).await.expect("time goes on");
        check::timestamp(&moved.into_inner().now).expect("the clock tells the time")
    }

    /// What time it is for the deployment.
    pub async fn now(&self) -> Time {
        let mut clock = self.caller("operator", &["operator"]).client(ClockServiceClient::new);
        let clock = clock.get_clock(GetClockRequest {}).await.expect("the clock tells the time");
        check::timestamp(&clock.into_inner().now).expect("the clock tells the time")
    }

    /// The program `caseward` as an operator runs it beside the suite: with its data folder, and its address.
    pub async fn command(&self) -> tokio::process::Command {
        let binaries = binaries::folder().await.expect("the suite was started from them");
        let mut command = tokio::process::Command::new(binaries.join("caseward"));
        command.env("CASEWARD__DATA", self.data());
        command.env("CASEWARD__GATEWAY__LISTEN", format!("127.0.0.1:{}", self.gateway));
        command
    }

    /// The process of replica `n` of a service, by its section; the only one of a suite in one process is `caseward`.
    pub fn member(&mut self, name: &str, n: usize) -> &mut Member {
        let place = self.members.iter_mut().find(|member| member.is(name, n));
        place.unwrap_or_else(|| panic!("no replica {n} of {name}"))
    }

    /// The processes, in the order in which they started.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        self.nats.is_some()
    }

    /// Its shape, in words for whoever reads what a test found.
    pub fn shape(&self) -> &'static str {
        if self.is_cluster() { "cluster" } else { "one process" }
    }

    /// The bus of a cluster, to be stopped and started.
    pub fn nats(&mut self) -> Option<&mut Nats> {
        self.nats.as_mut()
    }

    /// The server of a cluster's databases, if it is the suite's own, to be killed and started.
    pub fn postgres(&mut self) -> Option<&mut Postgres> {
        self.postgres.as_mut()
    }

    /// The proxy on `link`, of a suite that was planned with proxies.
    pub fn proxy(&self, link: Link) -> &Proxy {
        self.proxies.get(&link).unwrap_or_else(|| panic!("there is no proxy on {link:?}"))
    }

    /// Where the service of `name` keeps its data, for a look past the service.
    pub fn database(&self, name: &str) -> String {
        let of_cluster = CLUSTER.iter().position(|(service, ..)| *service == name);
        match of_cluster.and_then(|n| self.databases.get(n)) {
            Some(database) => database.url.clone(),
            None => format!("sqlite://{}", self.data().join(format!("{name}.db")).display()),
        }
    }

    /// The folder of the data and of the key of the local issuer.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Waits until the gateway says that every service is ready.
    pub async fn ready(&self) {
        let ready = async {
            while !self.is_ready().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(READY, ready).await.is_err() {
            panic!("the suite is not ready");
        }
    }

    /// Whether the gateway says that every service is ready.
    pub async fn is_ready(&self) -> bool {
        matches!(self.readiness().await, Ok(true))
    }

    async fn readiness(&self) -> anyhow::Result<bool> {
        let mut door = tokio::net::TcpStream::connect(("127.0.0.1", self.gateway)).await?;
        let ask = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        door.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        door.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    fn place(&self, name: &str, n: usize) -> &Member {
        let place = self.members.iter().find(|member| member.is(name, n));
        place.unwrap_or_else(|| panic!("no replica {n} of {name}"))
    }
}

impl Plan {
    /// Sets a setting of every process by its variable, such as `CASEWARD__OTLP__ENDPOINT`; `{member}` in it becomes the
    /// name of the process and of its log, such as `care_plan-1`.
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Plan {
        self.settings.push((variable.to_owned(), value.into()));
        self
    }

    /// Gives a service so many replicas in a cluster, by its section in the settings.
    pub fn replicas(mut self, name: &'static str, replicas: usize) -> Plan {
        self.replicas.insert(name, replicas);
        self
    }

    /// Gives a cluster a PostgreSQL server of its own, that may be killed.
    pub fn own_postgres(mut self) -> Plan {
        self.own_postgres = true;
        self
    }

    /// Keeps the processes of the suite on this core, whatever else the machine has. Takes `taskset`, of util-linux.
    pub fn core(mut self, core: usize) -> Plan {
        self.core = Some(core);
        self
    }

    /// Keeps the data in this folder, such as one on a [`Disk`](crate::Disk), and not beside the logs.
    pub fn data(mut self, folder: PathBuf) -> Plan {
        self.data = Some(folder);
        self
    }

    /// Puts a [`Proxy`] on every [`Link`].
    pub fn proxied(mut self) -> Plan {
        self.proxied = true;
        self
    }

    /// A suite of each shape that this machine can run.
    pub async fn suites(self) -> Vec<Suite> {
        let mut all = vec![self.clone().one().await];
        all.extend(self.cluster().await);
        all
    }

    /// Starts the suite in one process.
    pub async fn one(self) -> Suite {
        self.start_one().await.expect("the suite starts")
    }

    /// Starts the suite as a cluster, where this machine can.
    pub async fn cluster(self) -> Option<Suite> {
        let postgres = match self.own_postgres {
            true => Some(Postgres::own().await?),
            false => None,
        };
        self.cluster_on(postgres).await
    }

    /// Starts the suite as a cluster on a PostgreSQL server of a test's own, where this machine can.
    pub async fn cluster_on(self, postgres: Option<Postgres>) -> Option<Suite> {
        let nats = nats().await?;
        let mut databases = vec![];
        for _ in CLUSTER.iter().filter(|(name, ..)| *name != "gateway") {
            databases.push(match &postgres {
                Some(server) => Database::on(server).await,
                None => Database::postgres().await?,
            });
        }
        let started = self.start_cluster(nats, postgres, databases).await;
        Some(started.expect("the cluster starts"))
    }

    async fn start_one(mut self) -> anyhow::Result<Suite> {
        let binaries = binaries::folder().await?;
        let (folder, data, verifier) = self.prepare()?;
        let port = program::free_port()?;
        self.set("gateway", "listen", format!("127.0.0.1:{port}"));
        let binary = binaries.join("caseward");
        let mut member = Member::new("caseward", 0, port, binary, &self, &folder);
        member.start().await;
        let mut proxies = BTreeMap::new();
        if self.proxied {
            proxies.insert(Link::Gateway, Proxy::start(local(port)).await?);
        }
        let (members, databases) = (vec![member], vec![]);
        let (nats, postgres, gateway) = (None, None, port);
        let suite =
            Suite { members, gateway, verifier, nats, databases, postgres, proxies, data, folder };
        suite.ready().await;
        Ok(suite)
    }

    async fn start_cluster(
        mut self,
        nats: Nats,
        postgres: Option<Postgres>,
        databases: Vec<Database>,
    ) -> anyhow::Result<Suite> {
        let binaries = binaries::folder().await?;
        let (folder, data, verifier) = self.prepare()?;
        let mut proxies = BTreeMap::new();
        let bus = self.by_way_of(&mut proxies, Link::Bus, &nats.url).await?;
        self.settings.push(("CASEWARD__BUS".to_owned(), bus));
        let mut places = vec![];
        for (n, (name, binary, replicas)) in CLUSTER.into_iter().enumerate() {
            let mut origins = vec![];
            for replica in 0..self.replicas.get(name).copied().unwrap_or(replicas) {
                let port = program::free_port()?;
                origins.push(format!("http://127.0.0.1:{port}"));
                places.push((name, binaries.join(binary), replica, port));
            }
            if name != "gateway" {
                if self.proxied {
                    // One proxy is one link: harm to it is harm to the way there, not to one of two ways.
                    origins.truncate(1);
                    origins[0] =
                        self.by_way_of(&mut proxies, Link::Peer(name), &origins[0]).await?;
                }
                self.set("peers", name, origins.join(","));
            }
            if let Some(database) = databases.get(n) {
                let link = Link::Database(name);
                let url = self.by_way_of(&mut proxies, link, &database.url).await?;
                self.set(name, "database", url);
            }
        }
        let mut members = vec![];
        for (name, binary, replica, port) in places {
            let mut own = self.clone();
            own.set(name, "listen", format!("127.0.0.1:{port}"));
            let mut member = Member::new(name, replica, port, binary, &own, &folder);
            // One after the other: replicas that start together would both bring the schema up to date.
            member.start().await;
            members.push(member);
        }
        let gateway = members.last().context("a cluster has members")?.port;
        if self.proxied {
            proxies.insert(Link::Gateway, Proxy::start(local(gateway)).await?);
        }
        let nats = Some(nats);
        let suite =
            Suite { members, gateway, verifier, nats, databases, postgres, proxies, data, folder };
        suite.ready().await;
        Ok(suite)
    }

    /// `url`, or the same at a proxy before it where the plan wants proxies.
    async fn by_way_of(
        &self,
        proxies: &mut BTreeMap<Link, Proxy>,
        link: Link,
        url: &str,
    ) -> anyhow::Result<String> {
        if !self.proxied {
            return Ok(url.to_owned());
        }
        let uri: http::Uri = url.parse()?;
        let port = uri.port_u16().context("a test's server has a port")?;
        let proxy = Proxy::start(local(port)).await?;
        let there = url.replace(&format!(":{port}"), &format!(":{}", proxy.address().port()));
        proxies.insert(link, proxy);
        Ok(there)
    }

    fn prepare(&mut self) -> anyhow::Result<(TempDir, PathBuf, Verifier)> {
        let folder = tempfile::Builder::new().prefix("caseward-suite-").tempdir()?;
        program::remove_at_exit(folder.path().to_owned());
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        std::fs::create_dir_all(&data)?;
        let verifier = Verifier::open(&Auth::default(), &data)?;
        self.settings.push(("CASEWARD__DATA".to_owned(), data.display().to_string()));
        Ok((folder, data, verifier))
    }

    fn set(&mut self, section: &str, key: &str, value: String) {
        let variable = format!("CASEWARD__{section}__{key}").to_uppercase();
        self.settings.push((variable, value));
    }
}

impl Desk {
    /// Somebody with a token, good for an hour.
    pub fn caller(&self, subject: &str, roles: &[&str]) -> Caller {
        self.caller_at(subject, roles, HOUR, Clock::System.now())
    }

    /// Somebody with a token of another life, signed at another time.
    pub fn caller_at(&self, subject: &str, roles: &[&str], life: Duration, at: Time) -> Caller {
        self.sign_in(LOCAL_ORGANIZATION, subject, roles, life, at)
    }

    fn sign_in(
        &self,
        organization: Uuid,
        subject: &str,
        roles: &[&str],
        life: Duration,
        at: Time,
    ) -> Caller {
        let token = self.verifier.mint(subject, roles, organization, life, at);
        Caller::new(subject, token.expect("the local issuer mints tokens"), &self.gateway)
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn remote(port: u16) -> Transport {
    let uri = format!("http://127.0.0.1:{port}").parse().expect("a port is part of an address");
    Transport::remote(uri)
}
