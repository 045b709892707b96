//! A token shown with each call.
use std::time::Duration;

use caseward_server::Transport;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to call, as somebody.
pub type Door = InterceptedService<Transport, Badge>;

/// Shows a token with each call.
#[derive(Clone, Debug)]
pub struct Badge(MetadataValue<Ascii>);

impl Badge {
    /// Calls through `door` with `token`.
    pub fn wear(token: &str, door: Transport) -> anyhow::Result<Door> {
        let mut badge: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        badge.set_sensitive(true);
        Ok(InterceptedService::new(door, Badge(badge)))
    }
}

impl Interceptor for Badge {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        request.set_timeout(PATIENCE);
        Ok(request)
    }
}
