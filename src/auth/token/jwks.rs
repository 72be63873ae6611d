//! A JSON web key set, read with distrust.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use serde::Deserialize;

use super::Algorithm;
use super::keyring::{Keyring, VerifyKey};

/// The most keys read from one set.
const KEYS_MAX: usize = 64;

#[derive(Debug, Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// Reads a set. Keys we have no use for are passed over; a set without any usable key is an error
/// (it would lock everybody out), as is one with two keys of the same name.
pub(super) fn parse(body: &[u8], allowed: &[Algorithm]) -> Result<Keyring, String> {
    let set: Set = serde_json::from_slice(body).map_err(|e| format!("not a JWKS: {e}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("{} keys, more than {KEYS_MAX}", set.keys.len()));
    }
    let mut ring = Keyring::default();
    for value in &set.keys {
        if let Some((kid, key)) = usable(value, allowed) {
            ring.add(&kid, key)?;
        }
    }
    if ring.is_empty() { Err("no usable key in it".to_owned()) } else { Ok(ring) }
}

fn usable(value: &serde_json::Value, allowed: &[Algorithm]) -> Option<(String, VerifyKey)> {
    let word = |name: &str| value.get(name).map(|word| word.as_str().unwrap_or("?"));
    if word("use").is_some_and(|word| word != "sig") {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    // The algorithm follows from the key's type. What the JWK says of it may only agree: a
    // published symmetric key, or another padding, is not used.
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::Es256
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDsa
        }
        _ => return None,
    };
    if word("alg").is_some_and(|name| Algorithm::from_name(name) != Some(algorithm))
        || !allowed.contains(&algorithm)
    {
        return None;
    }
    let key = VerifyKey::checked(algorithm, DecodingKey::from_jwk(&jwk).ok()?).ok()?;
    Some((jwk.common.key_id.unwrap_or_default(), key))
}
