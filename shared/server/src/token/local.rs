//! The local issuer: one Ed25519 key in a file, for installations without an identity provider.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tracing::{info, warn};
use uuid::Uuid;

use super::jwt::Claim;
use super::key::{Key, KeySet};
use crate::settings::make_private;

#[derive(Debug)]
pub(super) struct Local {
    kid: String,
    private: EncodingKey,
    keys: Arc<KeySet>,
}

impl Local {
    pub(super) fn open(data: &Path) -> Result<Self> {
        let path = data.join("issuer.key");
        let pkcs8 = match read(&path)? {
            Some(pkcs8) => pkcs8,
            None => {
                create(data, &path)?;
                read(&path)?.ok_or_else(|| anyhow!("{} vanished", path.display()))?
            }
        };
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|_| anyhow!("{} holds no Ed25519 key", path.display()))?;
        let public = pair.public_key().as_ref();
        let kid = thumbprint(public);
        Ok(Self {
            keys: Arc::new(KeySet::single(kid.clone(), Key::ed25519(public))),
            private: EncodingKey::from_ed_der(&pkcs8),
            kid,
        })
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.keys.clone()
    }

    pub(super) fn sign(&self, claim: &Claim) -> Result<String> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claim, &self.private).context("token cannot be signed")
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let key = match fs::read(path) {
        Ok(key) => key,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("{} cannot be read", path.display())),
    };
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        warn!(path = %path.display(), "the issuer's key can be read by others, restrict it to 0600");
    }
    Ok(Some(key))
}

/// Writes a new key beside `path` and links it there: of two processes that start together both use the first.
fn create(data: &Path, path: &Path) -> Result<()> {
    let key = Ed25519KeyPair::generate()
        .and_then(|pair| pair.to_pkcs8v1())
        .map_err(|_| anyhow!("no key could be made"))?;
    make_private(data)?;
    let draft = data.join(format!("issuer.key.{}", Uuid::now_v7()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(key.as_ref()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => info!(path = %path.display(), "made a key for the local issuer"),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
        Err(err) => return Err(err).context("the issuer's key cannot be stored"),
    }
    Ok(())
}

/// RFC 7638, over the members RFC 8037 names.
fn thumbprint(public: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}
