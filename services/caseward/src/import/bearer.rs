//! Who an import is, to the services that it calls.
use std::time::Duration;

use anyhow::bail;
use caseward_core::Clock;
use caseward_server::{LOCAL_ORGANIZATION, settings::Common, token::Verifier};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
};

/// How long a minted token is good for. Each call has its own, so that an import may last for hours.
const LIFE: Duration = Duration::from_secs(300);

/// How long one call may take: as long as a service lets any call take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A token for each call.
#[derive(Debug)]
pub(super) enum Bearer {
    /// One that was given, from whichever issuer.
    Given(String),
    /// One of the local issuer, minted when it is wanted.
    Local(Verifier),
}

impl Bearer {
    /// The token that was given, or else what the local issuer mints.
    pub(super) fn new(given: Option<String>, common: &Common) -> anyhow::Result<Self> {
        match given {
            Some(token) => Ok(Bearer::Given(token)),
            None if common.auth.issuer == "local" => {
                Ok(Bearer::Local(Verifier::open(&common.auth, &common.data)?))
            }
            None => bail!(
                "tokens come from {}; give one that may import with --token",
                common.auth.issuer
            ),
        }
    }

    /// The message with a token to show.
    pub(super) fn sign<M>(&self, message: M) -> Result<Request<M>, Status> {
        let minted = match self {
            Bearer::Given(token) => Ok(token.clone()),
            Bearer::Local(verifier) => verifier.mint(
                "import",
                &["integration"],
                LOCAL_ORGANIZATION,
                LIFE,
                Clock::System.now(),
            ),
        };
        let mut token: MetadataValue<Ascii> = minted
            .ok()
            .and_then(|token| format!("Bearer {token}").parse().ok())
            .ok_or_else(|| Status::unauthenticated("there is no token that can be sent"))?;
        token.set_sensitive(true);
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", token);
        request.set_timeout(PATIENCE);
        Ok(request)
    }
}
