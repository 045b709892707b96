//! Where an orchestrator asks after a process: apart from its callers, without TLS, and it learns nothing else.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, extract::State, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};

/// Which services of this process are ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Ready {
    pub(crate) fn tell(&self, service: &'static str, ready: bool) {
        self.services().insert(service, ready);
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/healthz` while the process lives, `/readyz` while every service in it is ready.
pub(crate) fn routes(ready: Ready) -> Router {
    let readyz = async |State(ready): State<Ready>| {
        let services = ready.services().clone();
        let all = !services.is_empty() && services.values().all(|ready| *ready);
        let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::to_string(&services).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/json")], body)
    };
    Router::new()
        .route("/healthz", get(StatusCode::OK))
        .route("/readyz", get(readyz))
        .with_state(ready)
}
