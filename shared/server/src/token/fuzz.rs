//! Tokens that were bent, and keys that were made up.
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use serde_json::json;

use super::key::Document;
use super::*;

const NOW: i64 = 1_767_600_000;

static GOOD: LazyLock<(Verifier, String)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("caseward-fuzz-token-{}", std::process::id()));
    let verifier = Verifier::open(&Auth::default(), &folder).expect("a local issuer");
    let (life, now) = (Duration::from_secs(600), at(NOW));
    let token = verifier.mint("ana", &["case_manager"], Uuid::from_u128(1), life, now);
    (verifier, token.expect("the local issuer mints tokens"))
});

fn at(seconds: i64) -> Time {
    Time::from_micros(seconds.saturating_mul(1_000_000))
}

/// A text is a token only if it is the one that was minted, byte by byte, and that one only in its time.
///
/// An input is a number of edits, a byte, then the edits, each a place and a byte, then the seconds by which the clock
/// is off. Without edits, what follows is the text itself.
pub fn token(input: &[u8]) {
    let (verifier, good) = &*GOOD;
    let verified = |text: &str, seconds: i64| {
        verifier.verify(text, at(seconds)).now_or_never().expect("the local issuer asks nobody")
    };
    let (count, rest) = input.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(rest);
    if text != *good {
        assert!(verified(&text, NOW).is_err(), "a text that nobody signed is a token");
    }
    let mut bent = good.clone().into_bytes();
    let (edits, rest) = rest.split_at(rest.len().min(usize::from(*count % 8) * 3) / 3 * 3);
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bent.len();
        bent[at] = edit[2];
    }
    let off = rest.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
    let now = NOW.saturating_add(off);
    let bent = String::from_utf8_lossy(&bent);
    let in_time = (NOW - 30..NOW + 600 + 30).contains(&now);
    match verified(&bent, now) {
        Ok(claims) => {
            assert!(bent == *good && in_time, "a bent or stale token is taken");
            assert_eq!((&*claims.subject, claims.organization), ("ana", Uuid::from_u128(1)));
        }
        Err(_) => assert!(bent != *good || !in_time, "a good token is refused"),
    }
}

/// A token, the public half of the key that signed it, and a second token that says it is signed by the same.
struct Signed {
    token: String,
    public: String,
    forged: String,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    // From a fixed seed, so that seeds and what was found stay of use.
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let claims = json!({
        "iss": "local", "aud": "caseward", "sub": "ana", "nbf": NOW, "exp": NOW + 600,
        "org": Uuid::from_u128(1), "roles": [],
    });
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "kid": "k"})), part(claims));
    let token = |pair: &Ed25519KeyPair| {
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    };
    let (own, other) = (pair(1), pair(2));
    let public = URL_SAFE_NO_PAD.encode(own.public_key());
    Signed { token: token(&own), public, forged: token(&other) }
});

/// A document vouches for a token only if it holds the key that signed it.
pub fn key_set(input: &[u8]) {
    let Signed { token, public, forged } = &*SIGNED;
    let Ok(document) = serde_json::from_slice::<Document>(input) else { return };
    let said = serde_json::from_slice::<serde_json::Value>(input).unwrap_or_default().to_string();
    let keys = KeySet::new(document, 0);
    let vouched = |token: &str| {
        let unverified = Unverified::parse(token).ok()?;
        let key = keys.get(unverified.kid())?;
        unverified.verify(key).ok()
    };
    assert!(vouched(token).is_none() || said.contains(public), "a key that is not there vouches");
    assert!(vouched(forged).is_none() || said.contains(&forger()), "another key vouches");
    assert!(keys.same(&keys) && (keys.is_empty() || !said.is_empty()));
}

fn forger() -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("a key");
    URL_SAFE_NO_PAD.encode(pair.public_key())
}
