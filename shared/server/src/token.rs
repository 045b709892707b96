//! Bearer tokens: the one place that turns one into claims.

mod cache;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod jwt;
mod key;
mod local;
mod oidc;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use caseward_core::{Clock, Error, Time, check};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use tracing::debug;
use uuid::Uuid;

use cache::Cache;
use jwt::{Claim, Rules, Unverified};
use key::KeySet;
use local::Local;
use oidc::Oidc;

/// Whose tokens are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// `local`, or the URL of an OpenID Connect issuer; `http` only on this machine.
    pub issuer: String,
    /// What `aud` must name, so that a token for a sibling system is of no use here.
    pub audience: String,
    /// Longest life of a token; one that lives longer is refused however it is signed.
    pub max_lifetime_seconds: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: LOCAL.to_owned(),
            audience: "caseward".to_owned(),
            max_lifetime_seconds: 60 * 60,
        }
    }
}

/// Who calls, as a verified token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    pub subject: String,
    /// The `org` claim.
    pub organization: Uuid,
    pub roles: Vec<String>,
    pub issuer: String,
    pub not_before: Time,
    pub expires: Time,
    /// For people to read; no rule depends on it.
    pub name: Option<String>,
    /// Why the caller says it acts, a purpose-of-use code.
    pub purpose: Option<String>,
}
caseward_core::confidential!(Claims);

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not valid, for a reason that is for logs: what is wrong with it would help only a forger.
    Invalid(&'static str),
    /// The issuer's keys cannot be had, so nobody can tell; whoever shows it need not sign in again.
    NoKeys,
}

/// Verifies tokens of one issuer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Rules,
    keys: Keys,
    verified: Cache,
}

#[derive(Debug)]
enum Keys {
    Local(Local),
    Oidc(Oidc),
}

const LOCAL: &str = "local";
const VERIFIED: usize = 4096;

impl Verifier {
    /// The local issuer keeps its key in `data`, made on first use; a provider is first asked when a token comes.
    pub fn open(auth: &Auth, data: &Path) -> Result<Self> {
        if auth.audience.is_empty() {
            bail!("auth.audience must not be empty");
        }
        let keys = match auth.issuer.as_str() {
            LOCAL => Keys::Local(Local::open(data)?),
            url => Keys::Oidc(Oidc::new(url)?),
        };
        let rules = Rules {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            max_lifetime: Duration::from_secs(auth.max_lifetime_seconds),
        };
        Ok(Self(Arc::new(Inner { rules, keys, verified: Cache::new(VERIFIED) })))
    }

    /// The claims of `token`. `now` is the machine's time, never the simulated one.
    pub async fn verify(&self, token: &str, now: Time) -> Result<Arc<Claims>, Refused> {
        let judged = self.judge(token, now).await;
        judged.inspect_err(|refused| debug!(?refused, "token refused"))
    }

    /// A token of the local issuer, in the form every other one must have.
    pub fn mint(
        &self,
        subject: &str,
        roles: &[impl AsRef<str>],
        organization: Uuid,
        ttl: Duration,
        now: Time,
    ) -> Result<String> {
        let Keys::Local(local) = &self.0.keys else { bail!("only the local issuer mints tokens") };
        let rules = &self.0.rules;
        if ttl > rules.max_lifetime {
            bail!("a token must not live longer than {} seconds", rules.max_lifetime.as_secs());
        }
        if let Err(why) = check::text(subject, 1..=check::SUBJECT) {
            bail!("the subject of a token {why}");
        }
        let issued = jwt::seconds(now);
        local.sign(&Claim {
            iss: rules.issuer.clone(),
            aud: jwt::Audience::One(rules.audience.clone()),
            sub: subject.to_owned(),
            iat: Some(issued),
            nbf: issued,
            exp: issued + ttl.as_secs(),
            org: organization,
            roles: roles.iter().map(|role| role.as_ref().to_owned()).collect(),
            name: None,
            purpose: None,
        })
    }

    async fn judge(&self, token: &str, now: Time) -> Result<Arc<Claims>, Refused> {
        let Inner { rules, keys, verified } = &*self.0;
        if token.len() > jwt::MAX_BYTES {
            return Err("too long".into());
        }
        let digest = Cache::digest(token);
        if let Some(set) = keys.known(now)
            && let Some(claims) = verified.get(&digest, set.generation)
        {
            rules.check_time(&claims, now)?;
            return Ok(claims);
        }
        let unverified = Unverified::parse(token)?;
        let set = keys.with(unverified.kid(), now).await.ok_or(Refused::NoKeys)?;
        let key = set.get(unverified.kid()).ok_or("unknown key")?;
        let claims = Arc::new(rules.check(unverified.verify(key)?, now)?);
        verified.put(digest, set.generation, claims.clone(), now);
        Ok(claims)
    }
}

impl Keys {
    /// The keys at hand, unless they are too old to be believed.
    fn known(&self, now: Time) -> Option<Arc<KeySet>> {
        match self {
            Keys::Local(local) => Some(local.keys()),
            Keys::Oidc(oidc) => oidc.known(now),
        }
    }

    /// The keys, fetched first if that could bring `kid`.
    async fn with(&self, kid: &str, now: Time) -> Option<Arc<KeySet>> {
        match self {
            Keys::Local(local) => Some(local.keys()),
            Keys::Oidc(oidc) => oidc.with(kid, now).await,
        }
    }
}

impl From<&'static str> for Refused {
    fn from(reason: &'static str) -> Self {
        Refused::Invalid(reason)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(_) => Error::Unauthenticated,
            Refused::NoKeys => Error::Unavailable("tokens cannot be judged for now; try again"),
        }
    }
}

/// For how long `claims` are believed from `now` on.
pub(crate) fn left(claims: &Claims, now: Time) -> Duration {
    let until = claims.expires + Clock::SKEW;
    Duration::from_micros(until.micros().saturating_sub(now.micros()).max(0) as u64)
}

/// The token of `authorization: Bearer …`. One header, one spelling: where proxies and servers disagree about
/// which of two counts, the caller chooses who it is.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refused::Invalid("not exactly one authorization header"));
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "))
        .filter(|token| is_compact(token))
        .ok_or(Refused::Invalid("not a bearer token"))
}

/// Whether it is written as a signed JWT is: three parts of base64url.
fn is_compact(token: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let mut parts = token.split('.');
    parts.by_ref().take(3).filter(|part| !part.is_empty() && plain(part)).count() == 3
        && parts.next().is_none()
}
