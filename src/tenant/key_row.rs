//! An API key as the registry holds it.

use std::time::SystemTime;

use crate::ident::{Role, TenantId};

/// One row of `pgusher.api_keys`. The verifier is PostgreSQL's text form of a SCRAM secret; what
/// it proves is for `auth` to say.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// The key's id, without the `key_` in front.
    pub id: String,
    /// Whose key it is.
    pub tenant: TenantId,
    /// What it may do there.
    pub role: Role,
    /// What its maker called it.
    pub name: String,
    /// `SCRAM-SHA-256$…`
    pub verifier: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
    /// Whether it was taken back.
    pub revoked: bool,
}
