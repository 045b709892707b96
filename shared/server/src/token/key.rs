//! Public keys, each with the one algorithm it may be used with.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

/// Keys by id, as of one moment.
#[derive(Debug)]
pub(super) struct KeySet {
    /// Changes with the keys, so that what an old set verified is verified again.
    pub(super) generation: u64,
    keys: HashMap<String, Key>,
    documents: Vec<Value>,
}

#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    public: DecodingKey,
}

/// A JWK set (RFC 7517), its keys unread so that one of an unknown kind does not spoil the others.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    keys: Vec<Value>,
}

/// More than any provider publishes.
const MAX_KEYS: usize = 64;

impl KeySet {
    pub(super) fn new(mut document: Document, generation: u64) -> Self {
        document.keys.truncate(MAX_KEYS);
        let keys = document.keys.iter().filter_map(Key::read).collect();
        Self { generation, keys, documents: document.keys }
    }

    pub(super) fn single(kid: String, key: Key) -> Self {
        Self { generation: 0, keys: HashMap::from([(kid, key)]), documents: Vec::new() }
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn same(&self, other: &KeySet) -> bool {
        self.documents == other.documents
    }
}

impl Key {
    pub(super) fn ed25519(public: &[u8]) -> Self {
        Self { algorithm: Algorithm::EdDSA, public: DecodingKey::from_ed_der(public) }
    }

    /// A signing key of a kind we use, with its id.
    fn read(document: &Value) -> Option<(String, Self)> {
        let jwk: Jwk = serde_json::from_value(document.clone()).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let common = &jwk.common;
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let agrees =
            common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
        if !signs || !agrees {
            return None;
        }
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        Some((jwk.common.key_id?, Self { algorithm, public }))
    }

    pub(super) fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        crypto::verify(signature, signed, &self.public, self.algorithm).unwrap_or(false)
    }
}
