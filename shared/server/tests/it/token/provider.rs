//! An identity provider of the test's own: keys it can sign with, an endpoint it can stop.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caseward_server::accept::{self, Limits};
use caseward_server::token::{Auth, Verifier};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) struct Key {
    pub(super) kid: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

pub(super) struct Provider {
    pub(super) issuer: String,
    jwks: Arc<Mutex<Value>>,
    fetches: Arc<AtomicUsize>,
    stop: CancellationToken,
    stopped: watch::Receiver<()>,
    data: TempDir,
}

impl Key {
    pub(super) fn ed25519(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(super) fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::P256(pair) }
    }

    pub(super) fn rsa(kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({ "kty": "RSA", "n": encode(&modulus), "e": encode(&exponent) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm());
        jwk["use"] = json!("sig");
        jwk
    }

    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    pub(super) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", encode(&signature))
    }

    /// Signed with the public key as if it were a shared secret.
    pub(super) fn hmac_token(&self, header: &Value, claims: &Value) -> String {
        let Pair::Rsa(pair) = &self.pair else { panic!("an RSA key is what is confused") };
        let public = pair.public_key().as_der().unwrap();
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let tag =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_ref()), signed.as_bytes());
        format!("{signed}.{}", encode(tag.as_ref()))
    }
}

impl Provider {
    pub(super) async fn start<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let jwks = Arc::new(Mutex::new(set(keys)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let discovery = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
        let (counted, served) = (fetches.clone(), jwks.clone());
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(async move || discovery.to_string()))
            .route(
                "/keys",
                get(async move || {
                    counted.fetch_add(1, SeqCst);
                    served.lock().unwrap().to_string()
                }),
            );
        let stop = CancellationToken::new();
        let (running, stopped) = watch::channel(());
        let serving = accept::serve(listener, None, Limits::default(), routes, stop.clone());
        tokio::spawn(async move {
            serving.await;
            drop(running);
        });
        Self { issuer, jwks, fetches, stop, stopped, data: TempDir::new().unwrap() }
    }

    pub(super) fn verifier(&self) -> Verifier {
        let auth = Auth { issuer: self.issuer.clone(), ..Auth::default() };
        Verifier::open(&auth, self.data.path()).unwrap()
    }

    pub(super) fn publish<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) {
        *self.jwks.lock().unwrap() = set(keys);
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }

    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let _ = self.stopped.clone().changed().await;
    }
}

/// A provider that takes connections, as long as what comes with it lives, and says nothing.
pub(crate) async fn silent() -> (Auth, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    (Auth { issuer, ..Auth::default() }, listener)
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Among keys of kinds nobody here uses, as providers publish them.
fn set<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Value {
    let mut all = vec![
        json!({ "kty": "AKP", "kid": "ml", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "oct", "kid": "secret", "alg": "HS256", "k": "c2VjcmV0" }),
        json!("not a key"),
    ];
    all.extend(keys.into_iter().map(Key::jwk));
    json!({ "keys": all })
}
