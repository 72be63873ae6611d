//! JSON web tokens: [`Verifier`] proves them, [`Signer`] mints pgusher's own.
//!
//! A token's own words choose nothing but the issuer and the key to check it with: the algorithm
//! is pinned to the key, the kind of token follows from its audience, and a kind never passes for
//! another. RFC 8725 is the checklist.

mod algorithm;
mod claims;
mod issuer;
mod jwks;
mod keyring;
mod settings;
mod signer;
mod source;
mod verifier;

pub use algorithm::Algorithm;
pub use settings::{
    IssuerSettings, KeySettings, SignerSettings, SigningKeySettings, TokenSettings,
};
pub use signer::{Grant, Minted, Signer, generate_signing_key};
pub use verifier::{Audience, Verifier};

#[cfg(test)]
mod tests;
