//! What control needs of rooms that stand beside or above it, as it needs it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::io::DuplexStream;

use crate::fault::Fault;
use crate::ident::{Role, TenantId};
use crate::units::Secret;

/// What an access token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Whose token it is.
    pub tenant: TenantId,
    /// The admin's id.
    pub subject: String,
    /// What it may do.
    pub role: Role,
}

/// Makes tokens.
pub trait Mint: Send + Sync {
    /// An access token.
    ///
    /// # Errors
    /// When there is no key to sign with.
    fn access(&self, claims: &Claims) -> Result<Secret, Fault>;

    /// A token of moments with which pgusher itself enters a tenant's database.
    ///
    /// # Errors
    /// When there is no key to sign with.
    fn sidecar(&self, tenant: &TenantId) -> Result<Secret, Fault>;

    /// How long an access token lives.
    fn access_ttl(&self) -> Duration;

    /// The public keys, as a JWK set.
    fn jwks(&self) -> serde_json::Value;
}

/// The one road to a tenant's data: a session in its own room, entered in-process.
pub trait TenantDoor: Send + Sync {
    /// A stream that speaks the PostgreSQL protocol from the startup message on.
    fn open(&self) -> DuplexStream;
}

/// Who calls the HTTP API: a proven access token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// What the token may do.
    pub role: Role,
    /// The admin's id.
    pub subject: String,
    /// The token's own id, by which it can be revoked.
    pub token_id: String,
    /// When it ends.
    pub expires_at: SystemTime,
    /// Whether a login has it anew, so that what is made with it may outlive it.
    pub renewable: bool,
}

/// Proves access tokens.
pub trait Gate: Send + Sync {
    /// The caller behind a bearer token.
    ///
    /// # Errors
    /// 28P01 when the token is no good, 28000 when it is no admin's access token.
    fn admit<'a>(&'a self, bearer: &'a str) -> BoxFuture<'a, Result<Caller, Fault>>;
}

/// Shared seams.
pub type SharedMint = Arc<dyn Mint>;
