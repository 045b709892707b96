//! A caller at the gateway's REST door, for the demo: what it shows is what any client can do.
use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, token::Verifier};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// How long a token of a caller here is good for.
const LIFE: Duration = Duration::from_secs(3600);

/// The door of one suite.
#[derive(Clone, Debug)]
pub struct Door {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    verifier: Verifier,
}

/// Somebody who calls, in one role.
#[derive(Clone, Debug)]
pub struct Person {
    door: Door,
    token: String,
}

impl Door {
    pub fn new(address: SocketAddr, verifier: Verifier) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Door { client, address, verifier }
    }

    /// Somebody with a token of the local issuer.
    pub fn person(&self, subject: &str, role: &str) -> anyhow::Result<Person> {
        let now = Clock::System.now();
        let token = self.verifier.mint(subject, &[role], LOCAL_ORGANIZATION, LIFE, now)?;
        Ok(Person { door: self.clone(), token })
    }
}

impl Person {
    /// The token, to be shown to whoever wants to try a call.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Makes or moves something.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Rewrites fields.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// The same as `post`, where it is to be refused; answers why.
    pub async fn refused(&self, path: &str, body: Value) -> anyhow::Result<String> {
        match self.post(path, body).await {
            Ok(_) => bail!("{path} was to be refused, and was not"),
            Err(refusal) => Ok(refusal.to_string()),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.door.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let reply =
            self.door.client.request(request).await.with_context(|| format!("calling {path}"))?;
        let status = reply.status();
        let bytes = reply.into_body().collect().await?.to_bytes();
        let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            bail!("{}: {}", text(&json["error"], "status"), text(&json["error"], "message"));
        }
        Ok(json)
    }
}

/// A member of an answer as text; empty where it is not there.
pub fn text<'a>(json: &'a Value, member: &str) -> &'a str {
    json[member].as_str().unwrap_or_default()
}
