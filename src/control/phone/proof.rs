//! What a provider says about a number, as this room needs it.

use futures_util::future::BoxFuture;

use super::E164;
use crate::fault::Fault;
use crate::ident::TenantId;

/// What the provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The number is active and marked as this tenant's; with the provider's own id for it.
    Confirmed(String),
    /// It is not, or not known there at all: never which.
    Refused,
}

/// Asks the provider whether a number is a tenant's.
pub trait NumberProof: Send + Sync {
    /// What the provider says.
    ///
    /// # Errors
    /// 57P03 when it cannot be asked, or answers something else.
    fn of<'a>(
        &'a self,
        number: &'a E164,
        tenant: &'a TenantId,
    ) -> BoxFuture<'a, Result<Proof, Fault>>;
}
