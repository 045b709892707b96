//! The front door: gRPC, gRPC-Web and REST on one port, for every service, by descriptors; it knows no RPC by name.
mod body;
mod contract;
mod cors;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod health;
mod json;
mod openapi;
mod peer;
mod query;
mod refusal;
mod route;
mod start;
mod template;

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::{IntoResponse, Response},
};
use caseward_server::accept::Public;
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, Version, header};
use serde::Deserialize;
use serde_json::json;
use tonic::{
    Status,
    codegen::{Service, StdError},
};
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, service_fn};

pub use start::start;

use crate::{
    contract::Contracts, cors::Cors, forward::Forward, health::Readiness, json::Json,
    openapi::Document, peer::Peer, refusal::Refusal, route::Table,
};

/// The section of the front door in the settings.
pub const NAME: &str = "gateway";

/// The defaults of the section.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The front door's part of the settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens. Off loopback it wants TLS and an issuer that is not the local one.
    pub listen: String,
    /// Whether gRPC reflection tells every contract to whoever asks.
    pub reflection: Shown,
    /// Whether `/openapi.json` does.
    pub openapi: Shown,
    /// Origins whose pages may call, such as `https://care.example.org`. Empty: none.
    pub cors_origins: Vec<String>,
    /// The largest JSON body in bytes.
    pub body_limit: usize,
    /// How long a REST call may take in seconds, where its caller does not say, and its body whatever its caller says.
    /// Answers that are streams have no such limit.
    pub timeout_seconds: u64,
}

/// Where something of use to developers, and to strangers who look for a way in, is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// Where only this machine reaches the door.
    Loopback,
    Always,
    Never,
}

impl Settings {
    fn shows(&self, what: Shown) -> bool {
        let here = || {
            self.listen
                .parse()
                .is_ok_and(|at: SocketAddr| caseward_server::settings::is_loopback(at.ip()))
        };
        what == Shown::Always || what == Shown::Loopback && here()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: "127.0.0.1:8080".into(),
            reflection: Shown::Loopback,
            openapi: Shown::Loopback,
            cors_origins: vec![],
            body_limit: 4 << 20,
            timeout_seconds: 15,
        }
    }
}

/// Why the door could not be built: the contracts are wrong, not the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the descriptors do not read: {0}")]
    Descriptors(String),
    #[error("the HTTP rule of {0} is wrong: {1}")]
    Rule(String, &'static str),
}

/// The door to every service in `owners`, by its full name, such as `caseward.patient.v1.PatientService`.
pub fn routes<T>(owners: HashMap<String, T>, settings: &Settings) -> Result<Router, Error>
where
    T: Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>,
    T: Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::Future: Send + 'static,
{
    let owners = owners.into_iter().map(|(service, owner)| (service, Peer::new(owner))).collect();
    let door = Arc::new(Door::new(owners, settings)?);
    Ok(Router::new().fallback(move |req: Request| {
        let door = Arc::clone(&door);
        async move { door.answer(req).await }
    }))
}

#[derive(Debug)]
struct Door {
    forward: Arc<Forward>,
    json: Json,
    readiness: Readiness,
    cors: Cors,
    /// Where it is shown.
    openapi: Option<Document>,
}

impl Door {
    fn new(owners: HashMap<String, Peer>, settings: &Settings) -> Result<Self, Error> {
        let contracts =
            Contracts::read(caseward_api::SHAPES, |service| owners.contains_key(service))?;
        let mut forward = Forward::default();
        for method in &contracts.methods {
            if let Some(owner) = owners.get(method.rpc.parent_service().full_name()) {
                forward.insert(method, owner.clone());
            }
        }
        let table = Table::new(&contracts, |service| owners.get(service).cloned());
        let names: Vec<_> = owners.keys().cloned().collect();
        let openapi = settings.shows(settings.openapi).then(|| Document::of(names.clone()));
        let readiness = Readiness::new(owners.into_iter().collect());
        let health = tonic_health::pb::health_server::HealthServer::new(readiness.clone())
            .max_decoding_message_size(Public::MESSAGE);
        serve_here(&mut forward, tonic_health::pb::FILE_DESCRIPTOR_SET, health)?;
        if settings.shows(settings.reflection) {
            reflect(&mut forward, &names)?;
        }
        let timeout = Duration::from_secs(settings.timeout_seconds.max(1));
        Ok(Door {
            forward: Arc::new(forward),
            json: Json { table, body_limit: settings.body_limit, timeout },
            readiness,
            cors: Cors::new(&settings.cors_origins),
            openapi,
        })
    }

    async fn answer(&self, req: Request) -> Response {
        let (parts, body) = req.into_parts();
        let origin = self.cors.origin(&parts.headers);
        if let Some(mut reply) = self.cors.preflight(&parts, origin.as_ref()) {
            self.cors.mark(origin, reply.headers_mut());
            return reply;
        }
        let req = Request::from_parts(parts, body);
        let mut reply = match kind(&req) {
            Kind::Grpc if req.version() < Version::HTTP_2 => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2; over HTTP/1.1 there are gRPC-Web and JSON\n",
            )
                .into_response(),
            Kind::Grpc => self.forward.call(req).await.map(Body::new),
            Kind::GrpcWeb => self.web(req).await,
            Kind::Other => match req.uri().path() {
                "/" | "/healthz" | "/readyz" | "/openapi.json" => {
                    self.about(req.method(), req.uri().path()).await
                }
                _ => self.json.call(req).await,
            },
        };
        self.cors.mark(origin, reply.headers_mut());
        reply
    }

    /// gRPC-Web wraps the same frames, so these too stay unread.
    async fn web(&self, req: Request) -> Response {
        let forward = Arc::clone(&self.forward);
        let service = service_fn(move |req: http::Request<tonic::body::Body>| {
            let forward = Arc::clone(&forward);
            async move { Ok::<_, Infallible>(forward.call(req.map(Body::new)).await) }
        });
        match GrpcWebLayer::new().layer(service).oneshot(req).await {
            Ok(reply) => reply.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// The pages about the door itself.
    async fn about(&self, verb: &Method, path: &str) -> Response {
        let openapi = match (path, &self.openapi) {
            ("/openapi.json", None) => return Refusal::no_such_path().into_response(),
            (_, openapi) => openapi.as_ref(),
        };
        match *verb {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                let allow = [(header::ALLOW, refusal::allow(&[&Method::GET]))];
                return (StatusCode::NO_CONTENT, allow).into_response();
            }
            _ => return Refusal::other_methods(&[&Method::GET]).into_response(),
        }
        let (status, body) = match path {
            "/healthz" => (StatusCode::OK, Bytes::from_static(br#"{"alive":true}"#)),
            "/openapi.json" => match openapi.map(Document::printed).transpose() {
                Ok(document) => (StatusCode::OK, document.unwrap_or_default()),
                Err(error) => {
                    tracing::error!(%error, "the contracts cannot be read");
                    let fault = Status::internal("a fault of ours; see the log");
                    return Refusal::from(fault).into_response();
                }
            },
            "/readyz" => {
                let report = self.readiness.report().await;
                let status =
                    if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, serde_json::to_vec(&*report).unwrap_or_default().into())
            }
            _ => {
                let mut about = json!({
                    "name": "Caseward",
                    "version": env!("CARGO_PKG_VERSION"),
                    "links": { "alive": "/healthz", "ready": "/readyz" },
                });
                if openapi.is_some() {
                    about["links"]["openapi"] = "/openapi.json".into();
                }
                (StatusCode::OK, about.to_string().into())
            }
        };
        let body = if verb == Method::HEAD { Body::empty() } else { Body::from(body) };
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let fresh = [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        (status, kind, fresh, body).into_response()
    }
}

enum Kind {
    Grpc,
    GrpcWeb,
    Other,
}

fn kind(req: &Request) -> Kind {
    let kind = req.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some(b"" | [b'+' | b';', ..]) => Kind::Grpc,
        Some([b'-', b'w', b'e', b'b', ..]) => Kind::GrpcWeb,
        _ => Kind::Other,
    }
}

/// Takes the calls of a service that the door answers itself.
fn serve_here<S>(forward: &mut Forward, set: &[u8], service: S) -> Result<(), Error>
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>,
    S: Service<http::Request<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + Sync + tonic::server::NamedService + 'static,
    S::Future: Send + 'static,
{
    let peer = Peer::new(service_fn(move |req| {
        let answer = service.clone().oneshot(req).map(|Ok(reply)| reply);
        Public::answer(answer).map(Ok::<_, Infallible>)
    }));
    for method in Contracts::read(set, |name| name == S::NAME)?.methods {
        forward.insert(&method, peer.clone());
    }
    Ok(())
}

/// Reflection of the services that answer here, of health, and of itself.
fn reflect(forward: &mut Forward, services: &[String]) -> Result<(), Error> {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(caseward_api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for service in services {
            builder = builder.with_service_name(service);
        }
        builder
    };
    let wrong = |error: tonic_reflection::server::Error| Error::Descriptors(error.to_string());
    let v1 = builder()
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .build_v1()
        .map_err(wrong)?;
    let v1 = v1.max_decoding_message_size(Public::MESSAGE);
    serve_here(forward, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, v1)?;
    // Older tools still ask in the alpha version.
    let alpha = builder().with_service_name("grpc.reflection.v1alpha.ServerReflection");
    let alpha = alpha.build_v1alpha().map_err(wrong)?.max_decoding_message_size(Public::MESSAGE);
    serve_here(forward, tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET, alpha)
}
