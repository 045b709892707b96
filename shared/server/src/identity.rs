//! In whose name a process calls another service where no caller waits: its own.
use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use caseward_core::{Caller, Clock, Ctx, Error, Result};

use crate::{Transport, token::Verifier};

/// How long a token lives that the process mints for itself.
const LIFE: Duration = Duration::from_secs(300);

/// Who this process is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    verifier: Verifier,
    file: PathBuf,
}

impl Identity {
    /// That of the token in `file`, or of the local issuer where none is named.
    pub(crate) fn new(verifier: Verifier, file: PathBuf) -> Self {
        Identity { verifier, file }
    }

    /// `ctx`, a task of ours, with a token to show to peers.
    pub(crate) fn sign(&self, ctx: &Ctx) -> Result<Ctx> {
        let token = self.token(ctx).map_err(|cause| Error::internal(cause.to_string()))?;
        let caller = Caller { token, ..Caller::clone(&ctx.caller) };
        Ok(Ctx { caller: Arc::new(caller), ..ctx.clone() })
    }

    fn token(&self, ctx: &Ctx) -> anyhow::Result<String> {
        if self.file.as_os_str().is_empty() {
            let now = Clock::System.now();
            return self.verifier.mint(ctx.subject(), &["service"], ctx.organization(), LIFE, now);
        }
        let token = std::fs::read_to_string(&self.file).context("reading identity.token_file")?;
        Ok(token.trim().to_owned())
    }
}

/// A service that this process calls in its own name.
#[derive(Clone, Debug)]
pub struct OwnPeer {
    peer: Transport,
    identity: Identity,
}

impl OwnPeer {
    pub(crate) fn new(peer: Transport, identity: Identity) -> Self {
        OwnPeer { peer, identity }
    }

    /// The way to call it in the course of `ctx`, a task of ours: with what is left of its time, and its trace.
    pub fn in_task(&self, ctx: &Ctx) -> Result<Transport> {
        Ok(self.peer.for_caller(&self.identity.sign(ctx)?))
    }
}
