//! The form of a token and the rules for its claims (RFC 7519, RFC 8725).
//!
//! The library only checks signatures here: its validation reads the machine's clock itself, requires no claim but
//! `exp`, and accepts repeated ones.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caseward_core::{Clock, Time, check};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::Claims;
use super::key::Key;

pub(super) const MAX_BYTES: usize = 8 << 10;
/// An issuer's machine is as good as one of ours.
pub(super) const LEEWAY: u64 = Clock::SKEW.whole_seconds() as u64;
const MAX_KEY_ID: usize = 256;

/// A token whose signature is yet to be checked; nothing in it but the key's id may be used.
pub(super) struct Unverified<'t> {
    header: Header,
    signed: &'t str,
    payload: &'t str,
    signature: &'t str,
}
caseward_core::confidential!(Unverified<'_>);

/// serde refuses a repeated member by itself, also in `Claim`.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: Option<String>,
    // Each would let the token change how it is read or bring its own key.
    #[serde(default, rename = "crit", deserialize_with = "refused")]
    _crit: (),
    #[serde(default, rename = "b64", deserialize_with = "refused")]
    _b64: (),
    #[serde(default, rename = "zip", deserialize_with = "refused")]
    _zip: (),
    #[serde(default, rename = "cty", deserialize_with = "refused")]
    _cty: (),
    #[serde(default, rename = "jwk", deserialize_with = "refused")]
    _jwk: (),
    #[serde(default, rename = "jku", deserialize_with = "refused")]
    _jku: (),
    #[serde(default, rename = "x5u", deserialize_with = "refused")]
    _x5u: (),
}

/// The claims as they are signed.
#[derive(Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) iss: String,
    pub(super) aud: Audience,
    pub(super) sub: String,
    pub(super) iat: Option<u64>,
    pub(super) nbf: u64,
    pub(super) exp: u64,
    pub(super) org: Uuid,
    pub(super) roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purpose: Option<String>,
}
caseward_core::confidential!(Claim);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What claims must say.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) max_lifetime: Duration,
}

impl<'t> Unverified<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("not a signed token")?;
        let (header, payload) = signed.split_once('.').ok_or("not a signed token")?;
        let header: Header = part(header).ok_or("unreadable header")?;
        if header.kid.len() > MAX_KEY_ID {
            return Err("key id too long");
        }
        let typ = header.typ.as_deref().map(|typ| typ.trim_start_matches("application/"));
        if typ.is_some_and(|typ| {
            !typ.eq_ignore_ascii_case("JWT") && !typ.eq_ignore_ascii_case("at+jwt")
        }) {
            return Err("not an access token");
        }
        Ok(Self { header, signed, payload, signature })
    }

    pub(super) fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The claims, once `key` has signed them with its own algorithm; the token's word on that is only compared.
    pub(super) fn verify(self, key: &Key) -> Result<Claim, &'static str> {
        if self.header.alg != key.algorithm_name() {
            return Err("algorithm is not the key's");
        }
        if !key.verifies(self.signed.as_bytes(), self.signature) {
            return Err("wrong signature");
        }
        part(self.payload).ok_or("unreadable or missing claim")
    }
}

impl Rules {
    pub(super) fn check(&self, claim: Claim, now: Time) -> Result<Claims, &'static str> {
        if claim.iss != self.issuer {
            return Err("another issuer");
        }
        let ours = match &claim.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Many(audiences) => audiences.contains(&self.audience),
        };
        if !ours {
            return Err("another audience");
        }
        if check::text(&claim.sub, 1..=check::SUBJECT).is_err() || claim.org.is_nil() {
            return Err("nobody's token");
        }
        let issued = claim.iat.unwrap_or(claim.nbf);
        if issued > seconds(now) + LEEWAY {
            return Err("issued in the future");
        }
        match claim.exp.checked_sub(issued.min(claim.nbf)) {
            Some(lifetime) if lifetime <= self.max_lifetime.as_secs() => {}
            _ => return Err("lives too long"),
        }
        let claims = Claims {
            subject: claim.sub,
            organization: claim.org,
            roles: claim.roles,
            issuer: claim.iss,
            not_before: time(claim.nbf).ok_or("no such time")?,
            expires: time(claim.exp).ok_or("no such time")?,
            name: claim.name,
            purpose: claim.purpose,
        };
        self.check_time(&claims, now)?;
        Ok(claims)
    }

    /// The part of `check` whose answer changes with time.
    pub(super) fn check_time(&self, claims: &Claims, now: Time) -> Result<(), &'static str> {
        if seconds(now) >= seconds(claims.expires) + LEEWAY {
            return Err("expired");
        }
        if seconds(claims.not_before) > seconds(now) + LEEWAY {
            return Err("not valid yet");
        }
        Ok(())
    }
}

/// Whole seconds since 1970; a time before that is none at all.
pub(super) fn seconds(at: Time) -> u64 {
    u64::try_from(at.micros() / 1_000_000).unwrap_or(0)
}

fn time(seconds: u64) -> Option<Time> {
    i64::try_from(seconds).ok()?.checked_mul(1_000_000).map(Time::from_micros)
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn refused<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("header not allowed"))
}
