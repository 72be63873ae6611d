//! The server's side: [`ScramServer`] → [`ProofAwaited`] → the last message.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{ClientFinal, ClientFirst, Flag, ScramError, fresh_nonce, text};
use super::mock::MockSecret;
use super::secret::{ScramVerifier, mac, sha256};
use super::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

/// What the transport can be bound to.
#[derive(Debug, Clone)]
pub enum Binding {
    /// No TLS, or a certificate without a digest: -PLUS is not offered.
    Unavailable,
    /// The `tls-server-end-point` digest of our certificate: -PLUS is offered.
    EndPoint(Arc<[u8]>),
}

/// Whose secret is to be proven.
#[derive(Debug)]
pub enum Candidate<'a> {
    /// Somebody we know.
    Known(&'a ScramVerifier),
    /// Nobody: the exchange runs to its end and then fails.
    Unknown {
        /// What unknown verifiers are made from.
        mock: &'a MockSecret,
        /// The id that was asked for.
        id: &'a str,
    },
}

/// The exchange before the client's first message.
#[derive(Debug)]
pub struct ScramServer {
    binding: Binding,
}

impl ScramServer {
    /// An exchange over a transport that offers `binding`.
    pub fn new(binding: Binding) -> Self {
        Self { binding }
    }

    /// What to offer in AuthenticationSASL, best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self.binding {
            Binding::Unavailable => &[SCRAM_SHA_256],
            Binding::EndPoint(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        }
    }

    /// Reads `client-first-message`; gives `server-first-message` and the next phase.
    pub fn client_first(
        self,
        mechanism: &str,
        message: &[u8],
        candidate: &Candidate<'_>,
    ) -> Result<(Vec<u8>, ProofAwaited), ScramError> {
        self.client_first_with(mechanism, message, candidate, &fresh_nonce()?)
    }

    pub(super) fn client_first_with(
        self,
        mechanism: &str,
        message: &[u8],
        candidate: &Candidate<'_>,
        server_nonce: &str,
    ) -> Result<(Vec<u8>, ProofAwaited), ScramError> {
        let first = ClientFirst::parse(text(message)?)?;
        let bound = self.bound(mechanism, first.flag)?;
        let (verifier, known) = match candidate {
            Candidate::Known(verifier) => ((*verifier).clone(), true),
            Candidate::Unknown { mock, id } => (mock.verifier(id), false),
        };
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = STANDARD.encode(&verifier.salt);
        let reply = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let so_far = format!("{},{reply},", first.bare);
        Ok((reply.into_bytes(), ProofAwaited { verifier, known, nonce, so_far, bound }))
    }

    /// What the client's `c=` must say, if its flag fits the mechanism (RFC 5802 §6).
    fn bound(&self, mechanism: &str, flag: Flag) -> Result<Vec<u8>, ScramError> {
        let plus = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS => true,
            _ => return Err(ScramError::Mechanism),
        };
        let mut bound = flag.header().as_bytes().to_vec();
        match (plus, flag, &self.binding) {
            (true, _, Binding::Unavailable) => Err(ScramError::Mechanism),
            (true, Flag::EndPoint, Binding::EndPoint(digest)) => {
                bound.extend_from_slice(digest);
                Ok(bound)
            }
            (true, Flag::No | Flag::Could, _) => {
                Err(ScramError::Binding("SCRAM-SHA-256-PLUS without channel binding"))
            }
            (false, Flag::EndPoint, _) => {
                Err(ScramError::Binding("channel binding without SCRAM-SHA-256-PLUS"))
            }
            // The client was told we can not bind, though we said we can: somebody in between
            // took -PLUS out of the offer.
            (false, Flag::Could, Binding::EndPoint(_)) => {
                Err(ScramError::Binding("the offer was downgraded on the way"))
            }
            (false, Flag::No, _) | (false, Flag::Could, Binding::Unavailable) => Ok(bound),
        }
    }
}

/// The exchange between `server-first-message` and the client's proof.
#[derive(Debug)]
pub struct ProofAwaited {
    verifier: ScramVerifier,
    known: bool,
    nonce: String,
    so_far: String,
    bound: Vec<u8>,
}

impl ProofAwaited {
    /// Reads `client-final-message`; gives `server-final-message` when the proof is right.
    ///
    /// An unknown id fails with the same error, after the same work, as a wrong secret.
    pub fn client_final(self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let last = ClientFinal::parse(text(message)?)?;
        if last.nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        verify_slices_are_equal(&last.binding, &self.bound)
            .map_err(|_| ScramError::Binding("another channel than this one was bound"))?;
        let parts: [&[u8]; 2] = [self.so_far.as_bytes(), last.without_proof.as_bytes()];
        let mut client_key = mac(&self.verifier.stored_key, &parts);
        for (byte, proof) in client_key.iter_mut().zip(last.proof) {
            *byte ^= proof;
        }
        let right = verify_slices_are_equal(&sha256(&client_key), &self.verifier.stored_key);
        let signature = mac(&self.verifier.server_key, &parts);
        if right.is_err() || !self.known {
            return Err(ScramError::Proof);
        }
        Ok(format!("v={}", STANDARD.encode(signature)).into_bytes())
    }
}
