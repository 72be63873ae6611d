//! Verifiers for ids that do not exist, so that nobody can ask which do.

use std::fmt;

use zeroize::Zeroize;

use super::message::ScramError;
use super::secret::{ITERATIONS, ScramVerifier, mac};

/// A secret from which the verifier of any unknown id follows.
///
/// The same id always gets the same salt, as a real one would. Processes that stand behind one
/// address should share the secret, or a prober could tell them apart (and unknown ids with them).
#[derive(Clone)]
pub struct MockSecret([u8; 32]);

impl MockSecret {
    /// Derives it from a secret all processes share.
    pub fn from_shared(secret: &[u8]) -> Self {
        Self(mac(secret, &[b"pgusher scram mock v1"]))
    }

    /// A random one, for a process that stands alone.
    pub fn random() -> Result<Self, ScramError> {
        let mut raw = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut raw).map_err(|_| ScramError::Random)?;
        Ok(Self(raw))
    }

    /// The verifier that `id` would have: a stable salt, the usual iterations, and keys nobody
    /// knows a password for.
    pub(super) fn verifier(&self, id: &str) -> ScramVerifier {
        let part = |label: &[u8]| mac(&self.0, &[label, id.as_bytes()]);
        let salt = part(b"salt:");
        ScramVerifier {
            iterations: ITERATIONS,
            salt: salt.iter().take(16).copied().collect(),
            stored_key: part(b"stored:"),
            server_key: part(b"server:"),
        }
    }
}

impl Drop for MockSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for MockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockSecret(***)")
    }
}
