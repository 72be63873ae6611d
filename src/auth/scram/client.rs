//! The client's side: [`ScramClient`] → [`Challenge`] → [`SignatureAwaited`] → done.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{Flag, ScramError, ServerFirst, fresh_nonce, server_final, text};
use super::secret::{ScramKeys, mac};
use super::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

/// The most PBKDF2 rounds a server may ask of us. It drives our CPU, so it is bounded (the same
/// figure as pgjdbc and postgres-protocol since CVE-2026-42198).
const ITERATIONS_MAX: u32 = 100_000;

/// What the server offers and what we can bind to.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Whether the server named SCRAM-SHA-256.
    pub plain: bool,
    /// Whether the server named SCRAM-SHA-256-PLUS.
    pub plus: bool,
    /// The `tls-server-end-point` digest of the server's certificate; `None` without TLS, or when
    /// the certificate has none (Ed25519).
    pub end_point: Option<&'a [u8]>,
    /// Refuse to log in without channel binding.
    pub require_binding: bool,
}

/// The exchange before the server's first message.
#[derive(Debug)]
pub struct ScramClient {
    flag: Flag,
    bound: Vec<u8>,
    nonce: String,
}

impl ScramClient {
    /// Chooses the mechanism: -PLUS whenever both sides can.
    ///
    /// # Errors
    /// When neither mechanism is offered, or binding is required and can not be had.
    pub fn new(offer: &Offer<'_>) -> Result<Self, ScramError> {
        Self::with_nonce(offer, fresh_nonce()?)
    }

    pub(super) fn with_nonce(offer: &Offer<'_>, nonce: String) -> Result<Self, ScramError> {
        let flag = match (offer.plus, offer.end_point) {
            (true, Some(_)) => Flag::EndPoint,
            // Without -PLUS in the offer `y` says so: a server that did offer it notices.
            (false, Some(_)) => Flag::Could,
            (_, None) => Flag::No,
        };
        if flag != Flag::EndPoint {
            if offer.require_binding {
                return Err(ScramError::BindingRequired);
            }
            if !offer.plain {
                return Err(ScramError::Mechanism);
            }
        }
        let mut bound = flag.header().as_bytes().to_vec();
        if flag == Flag::EndPoint {
            bound.extend_from_slice(offer.end_point.unwrap_or_default());
        }
        Ok(Self { flag, bound, nonce })
    }

    /// The mechanism to name in SASLInitialResponse.
    pub fn mechanism(&self) -> &'static str {
        if self.flag == Flag::EndPoint { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 }
    }

    /// `client-first-message`. The name is empty, as libpq's is: the startup packet said it.
    pub fn first(&self) -> Vec<u8> {
        format!("{}n=,r={}", self.flag.header(), self.nonce).into_bytes()
    }

    /// Reads `server-first-message`.
    pub fn server_first(self, message: &[u8]) -> Result<Challenge, ScramError> {
        let message = text(message)?;
        let first = ServerFirst::parse(message)?;
        // A nonce no longer than ours would let the server replay an old exchange.
        if !first.nonce.starts_with(&self.nonce) || first.nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        if first.iterations > ITERATIONS_MAX {
            return Err(ScramError::Iterations(first.iterations));
        }
        let iterations =
            NonZeroU32::new(first.iterations).ok_or(ScramError::Malformed("no iterations"))?;
        let without_proof = format!("c={},r={}", STANDARD.encode(&self.bound), first.nonce);
        let auth_message = format!("n=,r={},{message},{without_proof}", self.nonce);
        Ok(Challenge { salt: first.salt.into(), iterations, without_proof, auth_message })
    }
}

/// The server's challenge: answer it with the keys for its salt and iterations.
#[derive(Debug)]
pub struct Challenge {
    salt: Box<[u8]>,
    iterations: NonZeroU32,
    without_proof: String,
    auth_message: String,
}

impl Challenge {
    /// The salt to derive [`ScramKeys`] with.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The PBKDF2 rounds to derive [`ScramKeys`] with; at most 100,000.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// `client-final-message` and the last phase. Cheap: no PBKDF2 here.
    pub fn answer(self, keys: &ScramKeys) -> (Vec<u8>, SignatureAwaited) {
        let mut proof = mac(&keys.stored_key(), &[self.auth_message.as_bytes()]);
        for (byte, key) in proof.iter_mut().zip(keys.client_key) {
            *byte ^= key;
        }
        let reply = format!("{},p={}", self.without_proof, STANDARD.encode(proof));
        let signature = mac(&keys.server_key, &[self.auth_message.as_bytes()]);
        (reply.into_bytes(), SignatureAwaited { signature })
    }
}

/// The exchange before the server has proven itself. AuthenticationOk without it is not enough.
#[derive(Debug)]
pub struct SignatureAwaited {
    signature: [u8; 32],
}

impl SignatureAwaited {
    /// Reads `server-final-message`.
    ///
    /// # Errors
    /// [`ScramError::Proof`] when the server does not know the verifier: it is not ours.
    pub fn server_final(self, message: &[u8]) -> Result<(), ScramError> {
        let signature = server_final(text(message)?)?;
        verify_slices_are_equal(&signature, &self.signature).map_err(|_| ScramError::Proof)
    }
}
