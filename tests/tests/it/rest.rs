//! Somebody at the REST door of the gateway, as any HTTP client is.
use caseward_server::Transport;
use caseward_testkit::Caller;
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tonic::{body::Body, codegen::Bytes};
use tower::ServiceExt;

#[derive(Debug)]
pub struct Rest(Transport);

impl Rest {
    pub fn new(caller: &Caller) -> Rest {
        Rest(caller.client(|transport| transport))
    }

    pub async fn get(&self, path: &str) -> Value {
        done(path, self.call(Method::GET, path, None).await)
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        done(path, self.call(Method::POST, path, Some(body)).await)
    }

    /// Takes a step with the version that the resource has now.
    pub async fn step(&self, name: &str, verb: &str, body: Value) -> Value {
        let (path, body) = self.with_etag(name, verb, body).await;
        self.post(&path, body).await
    }

    /// Tries a step with the version that the resource has now; the status of the refusal and what it says.
    pub async fn refused(&self, name: &str, verb: &str, body: Value) -> (StatusCode, Value) {
        let (path, body) = self.with_etag(name, verb, body).await;
        let (status, said) = self.call(Method::POST, &path, Some(body)).await;
        assert!(status.is_client_error(), "{path} was to be refused: {said}");
        (status, said["error"].clone())
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::new(Full::new(Bytes::from(body))))
            .unwrap();
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn with_etag(&self, name: &str, verb: &str, mut body: Value) -> (String, Value) {
        body["etag"] = self.get(&format!("/v1/{name}")).await["etag"].clone();
        (format!("/v1/{name}:{verb}"), body)
    }
}

fn done(path: &str, (status, said): (StatusCode, Value)) -> Value {
    assert!(status.is_success(), "{path}: {status}: {said}");
    said
}

/// A member of an answer that is text.
pub fn text<'a>(json: &'a Value, member: &str) -> &'a str {
    json[member].as_str().unwrap_or_else(|| panic!("no {member} in {json}"))
}

/// A list of an answer; what is empty is left out of JSON.
pub fn list<'a>(json: &'a Value, member: &str) -> &'a [Value] {
    json[member].as_array().map_or(&[], Vec::as_slice)
}

/// The step that needs to be told nothing.
pub fn nothing() -> Value {
    json!({})
}
