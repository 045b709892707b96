//! Keys of an OpenID Connect provider, kept while it is away, asked for again when it rotates them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use caseward_core::Time;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tracing::{info, warn};

use super::key::{Document, KeySet};

/// No two fetches are closer than this, whatever tokens come.
const COOL_DOWN: time::Duration = time::Duration::seconds(10);
/// Keys older than this are asked for again, ± 10 %, while they are still used.
const REFRESH: time::Duration = time::Duration::minutes(5);
/// Keys older than this are not believed: a provider that revoked one could not tell us.
const STALE: time::Duration = time::Duration::hours(1);
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 << 10;
/// How many may wait for the provider: a token of anybody can name a key that nobody knows.
const WAITING: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Oidc(Arc<Inner>);

struct Inner {
    issuer: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    latest: RwLock<Option<Fetched>>,
    /// When the provider was last asked; held during the asking, so that only one does.
    asked: Mutex<Option<Time>>,
    waiting: Arc<Semaphore>,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Time,
    refresh: Time,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Oidc {
    pub(super) fn new(issuer: &str) -> Result<Self> {
        trusted(issuer).context("auth.issuer must be `local` or an https URL")?;
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Arc::new(Inner {
            issuer: issuer.to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            latest: RwLock::default(),
            asked: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
        })))
    }

    /// Never waits; keys that are due are asked for behind the caller's back.
    pub(super) fn known(&self, now: Time) -> Option<Arc<KeySet>> {
        let fetched = self.latest(now)?;
        if now >= fetched.refresh && self.0.asked.try_lock().is_ok_and(|asked| due(*asked, now)) {
            let oidc = self.clone();
            tokio::spawn(async move { oidc.ask(now).await });
        }
        Some(fetched.keys)
    }

    /// Waits for the provider only if the token could not be judged otherwise, and not too many do.
    pub(super) async fn with(&self, kid: &str, now: Time) -> Option<Arc<KeySet>> {
        match self.known(now) {
            Some(keys) if keys.get(kid).is_some() => Some(keys),
            _ => {
                // In a task of its own: a caller who leaves would take the answer along, and nobody may ask again
                // until the cool-down is over.
                let (oidc, waits) =
                    (self.clone(), self.0.waiting.clone().try_acquire_owned().ok()?);
                let asking = async move {
                    oidc.ask(now).await;
                    drop(waits);
                };
                tokio::spawn(asking).await.ok()?;
                Some(self.latest(now)?.keys)
            }
        }
    }

    fn latest(&self, now: Time) -> Option<Fetched> {
        let latest = self.0.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.clone().filter(|fetched| now < fetched.at + STALE)
    }

    /// Asks the provider, at most once per cool-down.
    async fn ask(&self, now: Time) {
        let mut asked = self.0.asked.lock().await;
        if !due(*asked, now) {
            return;
        }
        *asked = Some(now);
        let fetched = match timeout(FETCH_LIMIT, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(anyhow!("no answer in time")),
        };
        match fetched {
            Ok(document) => self.keep(document, now),
            Err(err) => warn!(error = format!("{err:#}"), "the issuer's keys cannot be fetched"),
        }
    }

    fn keep(&self, document: Document, now: Time) {
        let mut latest = self.0.latest.write().unwrap_or_else(PoisonError::into_inner);
        let before = latest.take().map(|fetched| fetched.keys);
        let generation = before.as_ref().map_or(0, |keys| keys.generation + 1);
        let keys = match (before, KeySet::new(document, generation)) {
            (Some(before), keys) if keys.same(&before) => before,
            (_, keys) => {
                info!(empty = keys.is_empty(), "the issuer's keys changed");
                Arc::new(keys)
            }
        };
        *latest = Some(Fetched { keys, at: now, refresh: now + jittered(REFRESH) });
    }

    async fn fetch(&self) -> Result<Document> {
        let base = self.0.issuer.trim_end_matches('/');
        let discovery: Discovery =
            self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        ensure!(discovery.issuer == self.0.issuer, "the provider is another issuer");
        self.get(&discovery.jwks_uri).await
    }

    /// No redirect is followed: it would leave what was configured.
    async fn get<T: DeserializeOwned>(&self, uri: &str) -> Result<T> {
        let request = Request::get(trusted(uri)?).body(Empty::new())?;
        let response = self.0.client.request(request).await.context("no connection")?;
        ensure!(response.status() == StatusCode::OK, "answered {}", response.status());
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|_| anyhow!("answer too long or cut"))?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| anyhow!("answer is not what it should be"))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Whoever waited for another's asking took `now` before that. Only a clock that went back further ends the cool-down.
fn due(asked: Option<Time>, now: Time) -> bool {
    asked.is_none_or(|at| at >= now + COOL_DOWN || now >= at + COOL_DOWN)
}

/// Keys that came over a network unprotected are anybody's.
fn trusted(url: &str) -> Result<Uri> {
    let uri: Uri = url.parse()?;
    let host = uri.host().unwrap_or_default();
    let here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if here => Ok(uri),
        _ => bail!("keys are fetched over https only"),
    }
}

fn jittered(interval: time::Duration) -> time::Duration {
    let random = RandomState::new().hash_one(()) as u32;
    interval - interval / 10 + (interval / 5) * (f64::from(random) / f64::from(u32::MAX))
}
