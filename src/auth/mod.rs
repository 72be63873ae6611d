//! Who it is: tokens, API keys, SCRAM, and what a failure costs.
//!
//! This room turns what was presented into an [`Identity`], and nobody else can make one. It
//! knows keys and clocks; it does not know the registry, a session, or a PostgreSQL message.
//!
//! - [`Verifier`] proves JWTs (several issuers, static keys and JWKS), [`Signer`] mints pgusher's
//!   own;
//! - [`scram`] holds both sides of SCRAM-SHA-256 and -PLUS, [`ApiKey`] and [`KeyLogin`] make a
//!   login of it;
//! - [`Throttle`] makes failures dear and never stands in a valid token's way.

mod doorkeeper;
mod identity;
mod key;
mod md5;
mod metrics;
mod oauth;
mod refusal;
mod revocation;
mod revocations;
pub mod scram;
mod throttle;
mod token;

use doorkeeper::Doorkeeper;
pub use identity::{Identity, Kind, Operator, Power, TokenId};
pub use key::{ApiKey, FreshKey, KeyLogin};
pub use md5::md5_answer;
pub use metrics::AuthMetrics;
pub use oauth::{OAUTH_DUMMY, OAUTHBEARER, OauthRequest, oauth_failure};
pub use revocation::Revocation;
pub use revocations::{Revocations, TENANT_REVOCATIONS_MAX};
pub use throttle::{Penalty, Throttle, ThrottleSettings};
pub use token::{
    Algorithm, Audience, Grant, IssuerSettings, KeySettings, Minted, Signer, SignerSettings,
    SigningKeySettings, TokenSettings, Verifier, generate_signing_key,
};

/// SHA-256, for names of things: cache keys, token ids, thumbprints.
fn digest(data: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data)
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0_u8; 32];
    for (to, from) in out.iter_mut().zip(digest(data).as_ref()) {
        *to = *from;
    }
    out
}
