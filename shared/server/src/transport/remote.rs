//! A peer across the network: several places, the least busy asked, one that fails left alone for a while.
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use http::{Request, Response, Uri, request::Parts};
use rustls::pki_types::ServerName;
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};
use tonic::body::Body;
use tower::retry::budget::{Budget, TpsBudget};
use tracing::debug;

use super::{
    place::{Line, Name, Place, Standing},
    replay::{self, Kept},
    unavailable,
};
use crate::{deadline, policy::Methods, telemetry::meters, tls::Connector};

/// How long the addresses of a name hold.
const FRESH: Duration = Duration::from_secs(5);
const LOOKUP: Duration = Duration::from_secs(3);

/// How many places a call may find without a connection before it gives up.
const KNOCKS: usize = 3;

/// A service across the network. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Remote(Arc<Inner>);

struct Inner {
    names: Vec<Arc<Name>>,
    shared: bool,
    places: RwLock<Arc<[Arc<Place>]>>,
    looked: Mutex<Option<Instant>>,
    looking: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
    /// One retry for ten calls, lest a service in trouble is asked twice for everything.
    budget: TpsBudget,
}

/// Why a call has no answer.
struct Failure {
    /// Whether its peer has done nothing for sure.
    untouched: bool,
}

impl Remote {
    /// The service at each of `origins`; a name with several addresses is as many places. Its connections are `shared`
    /// where callers use them who know nothing of each other.
    pub(super) fn new(origins: &[Uri], tls: Option<&Arc<Connector>>, shared: bool) -> Result<Self> {
        let names = origins.iter().map(|origin| name(origin, tls).map(Arc::new));
        let inner = Inner {
            names: names.collect::<Result<_>>()?,
            shared,
            places: RwLock::new(Arc::from([])),
            looked: Mutex::new(None),
            looking: tokio::sync::Mutex::new(()),
            turn: AtomicUsize::new(0),
            budget: TpsBudget::new(Duration::from_secs(10), 2, 0.1),
        };
        Ok(Remote(Arc::new(inner)))
    }

    /// The answer of one of the places; UNAVAILABLE where none gives one.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.0.budget.deposit();
        let mut began = Instant::now();
        let (mut parts, body) = request.into_parts();
        let kept = Kept::new(body);
        let mut tried = Vec::new();
        loop {
            let Some((place, line)) = self.connected(&tried).await else {
                return unavailable();
            };
            let failure = match send(&place, line, &parts, &kept).await {
                Some(Ok(response)) => return response,
                Some(Err(failure)) => failure,
                None => return unavailable(),
            };
            let may = match tried.len() {
                0 => failure.untouched || repeatable(&parts, &kept),
                1 | 2 => failure.untouched,
                _ => false,
            };
            let in_time = deadline::spend(&mut parts.headers, began.elapsed());
            if !may || !in_time || !self.0.budget.withdraw() {
                return unavailable();
            }
            began = Instant::now();
            meters().retries.add(1, &[]);
            tried.push(place.address);
        }
    }

    /// A place that takes the call, preferably none of those `tried`.
    async fn connected(&self, tried: &[SocketAddr]) -> Option<(Arc<Place>, Line)> {
        let places = self.places().await;
        let mut knocked = HashSet::new();
        for _ in 0..KNOCKS {
            let place = self.pick(&places, tried, &knocked)?;
            if let Some(line) = place.line().await {
                return Some((place, line));
            }
            knocked.insert(place.address);
            // Perhaps it moved.
            self.look(Duration::from_secs(1)).await;
        }
        None
    }

    fn pick(
        &self,
        places: &[Arc<Place>],
        tried: &[SocketAddr],
        knocked: &HashSet<SocketAddr>,
    ) -> Option<Arc<Place>> {
        if let [only] = places {
            let now = Instant::now();
            let fit = knocked.is_empty() && only.standing(now) != Standing::Out;
            return fit.then(|| only.clone());
        }
        let now = Instant::now();
        let turn = self.0.turn.fetch_add(1, Relaxed);
        let fit = (0..places.len()).map(|n| &places[(n + turn) % places.len()]);
        let fit = fit.filter(|place| !knocked.contains(&place.address));
        let best = fit.min_by_key(|place| {
            (place.standing(now), tried.contains(&place.address), place.load())
        })?;
        // Where all are out, one call a while finds out whether one is back.
        (best.standing(now) != Standing::Out).then(|| best.clone())
    }

    async fn places(&self) -> Arc<[Arc<Place>]> {
        let places = self.now();
        if places.is_empty() {
            self.look(Duration::ZERO).await;
            return self.now();
        }
        if self.is_stale(FRESH) {
            let remote = self.clone();
            tokio::spawn(async move { remote.look(FRESH).await });
        }
        places
    }

    fn now(&self) -> Arc<[Arc<Place>]> {
        self.0.places.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_stale(&self, age: Duration) -> bool {
        let looked = *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_none_or(|looked| looked.elapsed() >= age)
    }

    /// Looks the names up, unless somebody did within `age`. What is known of a place that is still there stays.
    async fn look(&self, age: Duration) {
        let _turn = self.0.looking.lock().await;
        let known = self.now();
        if !known.is_empty() && !self.is_stale(age) {
            return;
        }
        let mut places: Vec<Arc<Place>> = Vec::new();
        for name in &self.0.names {
            let found = timeout(LOOKUP, lookup_host((name.host.as_str(), name.port))).await;
            let Ok(Ok(addresses)) = found else {
                debug!(host = name.host, "a peer's name is not found; its addresses stay");
                places.extend(known.iter().filter(|old| Arc::ptr_eq(&old.name, name)).cloned());
                continue;
            };
            for address in addresses {
                let old = known.iter().find(|old| old.address == address);
                if places.iter().all(|place| place.address != address) {
                    let new = || Arc::new(Place::new(name.clone(), address, self.0.shared));
                    places.push(old.cloned().unwrap_or_else(new));
                }
            }
        }
        *self.0.places.write().unwrap_or_else(PoisonError::into_inner) = places.into();
        *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// One attempt; nothing where the body cannot be sent again.
async fn send(
    place: &Arc<Place>,
    line: Line,
    parts: &Parts,
    kept: &Kept,
) -> Option<Result<Response<Body>, Failure>> {
    let mut request = Request::new(kept.attempt()?);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = parts.headers.clone();
    *request.uri_mut() = place.name.at(&parts.uri);
    let (call, sent) = place.send(line, request).await;
    match sent {
        Ok(response) => {
            kept.forget();
            Some(Ok(response.map(|body| Body::new(call.answer(body)))))
        }
        Err(mut error) => {
            let untouched = error.take_message().is_some() || is_refused(error.error());
            debug!(address = %place.address, error = %error.error(), "a call lost its connection");
            call.broke();
            Some(Err(Failure { untouched }))
        }
    }
}

/// Whether the peer says that it did not look at the call: it was going away.
fn is_refused(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote()
                && (gone || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        cause = error.source();
    }
    false
}

/// Whether a call may have been served and may be made again all the same: it reads, or its `request_id` makes it
/// one with the first.
fn repeatable(parts: &Parts, kept: &Kept) -> bool {
    let method = Methods::get().of(parts.uri.path());
    match method {
        Some(method) if !method.mutates => true,
        Some(method) => {
            method.request_id.is_some_and(|field| replay::has_text(&kept.message(), field))
        }
        None => parts.uri.path().starts_with("/grpc.health.v1."),
    }
}

fn name(origin: &Uri, tls: Option<&Arc<Connector>>) -> Result<Name> {
    let host = origin.host().context("a peer's address names a host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (tls, port) = match origin.scheme_str() {
        Some("http") => (None, 80),
        Some("https") => {
            let connector = tls.context("an https peer wants tls.peers.ca")?.clone();
            let name = ServerName::try_from(host.clone()).context("a peer's host name")?;
            (Some((connector, name)), 443)
        }
        _ => bail!("a peer's address starts with http:// or https://"),
    };
    let port = origin.port_u16().unwrap_or(port);
    Ok(Name { origin: origin.clone(), host, port, tls })
}

impl Name {
    /// `uri`, which says only what is called, at this name.
    fn at(&self, uri: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = self.origin.scheme().cloned();
        parts.authority = self.origin.authority().cloned();
        parts.path_and_query = uri.path_and_query().cloned();
        // Both were parts of an address before.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("names", &self.names).finish_non_exhaustive()
    }
}
