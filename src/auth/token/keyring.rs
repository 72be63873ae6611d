//! Keys to verify with: each for one algorithm, found by its id.

use std::collections::HashMap;
use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use super::super::refusal::Refusal;
use super::{Algorithm, KeySettings};

/// The shortest HS256 secret, in bytes: as long as its output (RFC 7518 §3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// The longest key file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A key and the one algorithm it may be used with.
#[derive(Clone)]
pub(super) struct VerifyKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyKey {
    /// An HS256 key.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("an HS256 secret has {SECRET_BYTES_MIN} bytes or more"));
        }
        // A public key is no secret: this is the classic confusion of RS256 and HS256.
        if secret.starts_with(b"-----BEGIN") {
            return Err("an HS256 secret is not a PEM".to_owned());
        }
        Ok(Self { algorithm: Algorithm::Hs256, key: DecodingKey::from_secret(secret) })
    }

    /// A public key as PEM.
    pub(super) fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, String> {
        let pem = pem.trim();
        // Only public keys: jsonwebtoken would take a certificate's first bit string for one.
        if !pem.starts_with("-----BEGIN PUBLIC KEY-----")
            && !pem.starts_with("-----BEGIN RSA PUBLIC KEY-----")
        {
            return Err("expected a PEM that begins with -----BEGIN PUBLIC KEY-----".to_owned());
        }
        let key = match algorithm {
            Algorithm::Hs256 => return Err("HS256 has a secret, not a public key".to_owned()),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
        };
        let key = key.map_err(|_| format!("not a public key for {algorithm}"))?;
        Self::checked(algorithm, key)
    }

    /// A public key, refused unless it is whole and strong enough for its algorithm.
    pub(super) fn checked(algorithm: Algorithm, key: DecodingKey) -> Result<Self, String> {
        let usable = match (algorithm, key.kind()) {
            (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(der)) => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).is_ok()
            }
            (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let odd = e.last().is_some_and(|last| last % 2 == 1);
                let first = n.iter().position(|byte| *byte != 0).unwrap_or(n.len());
                let bytes = n.len() - first;
                odd && e.len() <= 8 && e.as_slice() != [1] && (256..=1_024).contains(&bytes)
            }
            (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
            }
            (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(point)) => {
                point.len() == 32 && ParsedPublicKey::new(&ED25519, point).is_ok()
            }
            _ => false,
        };
        if usable {
            Ok(Self { algorithm, key })
        } else {
            Err(format!("not a usable key for {algorithm} (RSA needs 2048 to 8192 bits)"))
        }
    }

    /// Checks `signature` over `message`. The algorithm is the key's, whatever the token says.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<(), Refusal> {
        match jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.library())
        {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }
}

/// The keys of one issuer.
#[derive(Clone, Default)]
pub(super) struct Keyring {
    named: HashMap<Box<str>, VerifyKey>,
    unnamed: Vec<VerifyKey>,
}

impl Keyring {
    /// Reads the keys of a configuration. Reads files: for start-up.
    pub(super) fn from_settings(keys: &[KeySettings]) -> Result<Self, Vec<String>> {
        let (mut ring, mut problems) = (Self::default(), Vec::new());
        for (index, settings) in keys.iter().enumerate() {
            let added = load(settings).and_then(|key| ring.add(&settings.kid, key));
            if let Err(problem) = added {
                problems.push(format!("keys[{index}]: {problem}"));
            }
        }
        if problems.is_empty() { Ok(ring) } else { Err(problems) }
    }

    /// Adds a key; two keys never share a name.
    pub(super) fn add(&mut self, kid: &str, key: VerifyKey) -> Result<(), String> {
        if kid.is_empty() {
            self.unnamed.push(key);
            return Ok(());
        }
        match self.named.entry(kid.into()) {
            std::collections::hash_map::Entry::Occupied(_) => {
                Err(format!("two keys are called `{kid}`"))
            }
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(key);
                Ok(())
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.named.len() + self.unnamed.len()
    }

    /// Whether every key of this ring is, under the same name, in `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.unnamed.is_empty() && self.named.keys().all(|kid| other.named.contains_key(kid))
    }

    /// The key a token asks for.
    ///
    /// A named key must be for the token's algorithm. A token that names no key, or one we do not
    /// know, gets the only unnamed key of its algorithm; one that names none may also get the
    /// only named one.
    pub(super) fn pick(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&VerifyKey, Refusal> {
        if let Some(key) = kid.and_then(|kid| self.named.get(kid)) {
            return if key.algorithm == algorithm { Ok(key) } else { Err(Refusal::Algorithm) };
        }
        let named = self.named.values().filter(|_| kid.is_none());
        let mut fitting = self.unnamed.iter().chain(named).filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousKey),
            (None, _) => Err(Refusal::UnknownKey),
        }
    }
}

fn load(settings: &KeySettings) -> Result<VerifyKey, String> {
    let algorithm = settings.algorithm.ok_or("`algorithm` is missing")?;
    let file = settings.file.as_deref().map(read).transpose()?;
    let inline = match algorithm {
        // The secret goes into the key that verifies with it.
        Algorithm::Hs256 => settings.secret.expose(),
        _ => settings.public_key.as_str(),
    };
    let material = match (file.as_deref(), inline) {
        (Some(_), text) if !text.is_empty() => {
            return Err("give the key itself or `file`, not both".to_owned());
        }
        (Some(text), _) => text,
        (None, "") => return Err("the key is missing".to_owned()),
        (None, text) => text,
    };
    match algorithm {
        Algorithm::Hs256 => VerifyKey::secret(material.as_bytes()),
        _ => VerifyKey::pem(algorithm, material),
    }
}

/// Reads a key file: bounded, as text, without its last newline.
pub(super) fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    use std::io::Read as _;
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|e| format!("{shown}: {e}"))?;
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| format!("{shown}: {e}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown}: longer than {FILE_BYTES_MAX} bytes"));
    }
    let trimmed = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(trimmed);
    Ok(text)
}
