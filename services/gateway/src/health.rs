//! Whether every service is ready: asked of each by `grpc.health.v1`, told as JSON and as the same protocol.
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt, Stream,
    future::{BoxFuture, Shared, join_all},
    stream,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient, health_server::Health,
};

use crate::peer::Peer;

/// How long an answer is good for, and how long a service may take to give one.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    owners: Vec<(String, Peer)>,
    /// The last asking and when it began, so that any number of callers ask once.
    last: Mutex<Option<(Instant, Asking)>>,
}

/// What all wait for who asked meanwhile.
type Asking = Shared<BoxFuture<'static, Arc<Report>>>;

/// What `/readyz` says.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    pub(crate) services: BTreeMap<String, State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum State {
    Serving,
    NotServing,
    Unreachable,
}

impl Readiness {
    pub(crate) fn new(mut owners: Vec<(String, Peer)>) -> Self {
        owners.sort_by(|a, b| a.0.cmp(&b.0));
        Readiness(Arc::new(Inner { owners, last: Mutex::new(None) }))
    }

    pub(crate) async fn report(&self) -> Arc<Report> {
        self.asking().await
    }

    fn asking(&self) -> Asking {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, asking)) = &*last
            && began.elapsed() < PERIOD
        {
            return asking.clone();
        }
        // In a task of its own: a caller who leaves would take the answer along, and the next would ask again.
        let inner = self.0.clone();
        let report = tokio::spawn(async move { inner.ask().await });
        let asking = report.map(|report| Arc::new(report.unwrap_or_default())).boxed().shared();
        *last = Some((Instant::now(), asking.clone()));
        asking
    }

    /// The empty name stands for all of them, as the protocol has it.
    async fn state(&self, service: &str) -> Option<State> {
        let report = self.report().await;
        match service {
            "" if report.ready => Some(State::Serving),
            "" => Some(State::NotServing),
            service => report.services.get(service).copied(),
        }
    }
}

impl Inner {
    async fn ask(&self) -> Report {
        let states = self.owners.iter().map(|(service, peer)| ask(service, peer));
        let states = join_all(states).await;
        let services: BTreeMap<_, _> =
            self.owners.iter().map(|(service, _)| service.clone()).zip(states).collect();
        let ready = services.values().all(|state| *state == State::Serving);
        Report { ready, services }
    }
}

async fn ask(service: &str, peer: &Peer) -> State {
    let mut client = HealthClient::new(peer.service());
    let answer = async {
        match client.check(HealthCheckRequest { service: service.to_owned() }).await {
            // A process that only speaks for itself as a whole.
            Err(status) if status.code() == Code::NotFound => {
                client.check(HealthCheckRequest::default()).await
            }
            answer => answer,
        }
    };
    match timeout(PERIOD, answer).await {
        Ok(Ok(reply)) if reply.get_ref().status() == ServingStatus::Serving => State::Serving,
        Ok(Ok(_)) => State::NotServing,
        Ok(Err(_)) | Err(_) => State::Unreachable,
    }
}

impl From<State> for HealthCheckResponse {
    fn from(state: State) -> Self {
        let status = match state {
            State::Serving => ServingStatus::Serving,
            State::NotServing | State::Unreachable => ServingStatus::NotServing,
        };
        HealthCheckResponse { status: status.into() }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        req: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let state = self.state(&req.into_inner().service).await;
        state
            .map(|state| Response::new(state.into()))
            .ok_or_else(|| Status::not_found("no such service"))
    }

    async fn watch(
        &self,
        req: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = req.into_inner().service;
        let changes =
            stream::unfold((self.clone(), service, None), async |(readiness, service, last)| {
                loop {
                    let state = match readiness.state(&service).await {
                        Some(state) => state.into(),
                        None => {
                            HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() }
                        }
                    };
                    if last != Some(state.status) {
                        return Some((Ok(state), (readiness, service, Some(state.status))));
                    }
                    sleep(PERIOD).await;
                }
            });
        Ok(Response::new(Box::pin(changes)))
    }
}
