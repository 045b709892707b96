//! A double of an OpenID Connect provider: discovery, keys that rotate, tokens of any shape.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_core::Clock;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use uuid::Uuid;

/// A provider of a test. Dropping it closes its port.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    keys: Mutex<Keys>,
    away: AtomicBool,
    asked: AtomicUsize,
}

#[derive(Debug)]
struct Keys {
    /// In the order of their making.
    published: Vec<Key>,
    /// The place of the one that signs.
    signing: usize,
}

#[derive(Debug)]
struct Key {
    id: String,
    pair: Ed25519KeyPair,
}

impl Provider {
    /// A provider with one key.
    pub async fn start() -> Provider {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let keys = Mutex::new(Keys { published: vec![Key::generate()], signing: 0 });
        let shared =
            Arc::new(Shared { keys, away: AtomicBool::new(false), asked: AtomicUsize::new(0) });
        let serving = shared.clone();
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                // Whoever asks badly is cut off, which is theirs to notice.
                tokio::spawn(async move { serving.serve(stream, address).await });
            }
        });
        Provider { address, shared, listener: listener.abort_handle() }
    }

    /// Its name, as `auth.issuer` wants it.
    pub fn issuer(&self) -> String {
        issuer(self.address)
    }

    /// A good token for `caseward` that lives ten minutes.
    pub fn token(&self, organization: Uuid, subject: &str, roles: &[&str]) -> String {
        self.sign(&self.claims(organization, subject, roles))
    }

    /// The claims of a good token, to be bent before they are signed.
    pub fn claims(&self, organization: Uuid, subject: &str, roles: &[&str]) -> Value {
        let now = Clock::System.now().micros() / 1_000_000;
        json!({
            "iss": self.issuer(), "aud": "caseward", "sub": subject, "org": organization, "roles": roles,
            "iat": now, "nbf": now, "exp": now + 600,
        })
    }

    /// A token that says `claims`, signed with the key of the day.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header().to_string(), &claims.to_string())
    }

    /// The header of a good token, to be bent before it is signed.
    pub fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "kid": self.shared.keys().of_the_day().id, "typ": "at+jwt" })
    }

    /// A token of any header and any claims, JSON or not, signed with the key of the day.
    pub fn sign_as(&self, header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| BASE64.encode(part)).join(".");
        let keys = self.shared.keys();
        format!("{signed}.{}", BASE64.encode(keys.of_the_day().pair.sign(signed.as_bytes())))
    }

    /// The public half of the key of the day.
    pub fn public_key(&self) -> Vec<u8> {
        self.shared.keys().of_the_day().pair.public_key().as_ref().to_vec()
    }

    /// Publishes the key that signs next, before it does.
    pub fn announce(&self) {
        self.shared.keys().published.push(Key::generate());
    }

    /// Signs with the key that was announced, or else a new one, from now on. The old ones stay published.
    pub fn rotate(&self) {
        let mut keys = self.shared.keys();
        keys.signing += 1;
        if keys.signing == keys.published.len() {
            keys.published.push(Key::generate());
        }
    }

    /// Withdraws every key before that of the day: what they signed is no longer good.
    pub fn retire(&self) {
        let mut keys = self.shared.keys();
        let before = std::mem::take(&mut keys.signing);
        keys.published.drain(..before);
    }

    /// Whether it answers nobody from now on.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Relaxed);
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Relaxed)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Keys {
    fn of_the_day(&self) -> &Key {
        &self.published[self.signing]
    }
}

impl Key {
    fn generate() -> Key {
        let pair = Ed25519KeyPair::generate().expect("a key is made");
        Key { id: Uuid::now_v7().to_string(), pair }
    }

    fn jwk(&self) -> Value {
        let x = BASE64.encode(self.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id, "x": x })
    }
}

impl Shared {
    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request and closes: all that a provider's clients need.
    async fn serve(&self, stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
        if self.away.load(Relaxed) {
            return Ok(());
        }
        let mut stream = BufReader::new(stream);
        let mut asked = String::new();
        stream.read_line(&mut asked).await?;
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            line.clear();
        }
        let body = match asked.split(' ').nth(1) {
            Some("/.well-known/openid-configuration") => {
                let issuer = issuer(address);
                Some(json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }))
            }
            Some("/keys") => {
                self.asked.fetch_add(1, Relaxed);
                Some(
                    json!({ "keys": self.keys().published.iter().map(Key::jwk).collect::<Vec<_>>() }),
                )
            }
            _ => None,
        };
        let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
        let body = body.unwrap_or_default().to_string();
        let head = "content-type: application/json\r\nconnection: close";
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("http://{address}")
}
