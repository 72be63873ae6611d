//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides.
//!
//! Each side is a chain of phases that consume themselves, so that a wrong order of messages does
//! not compile. Messages are read strictly and below 1,024 bytes, proofs are compared in constant
//! time, and the dear step (PBKDF2) stands apart, so that nobody runs it on the data runtime by
//! accident. pgwire's SCRAM is not used: it compares proofs with `==`.

mod client;
mod key_cache;
mod message;
mod mock;
mod secret;
mod server;

pub use client::{Challenge, Offer, ScramClient, SignatureAwaited};
pub use key_cache::KeyCache;
pub use message::ScramError;
pub use mock::MockSecret;
pub use secret::{ITERATIONS, ScramKeys, ScramVerifier};
pub use server::{Binding, Candidate, ProofAwaited, ScramServer};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism bound to the TLS channel.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

#[cfg(test)]
mod tests;
