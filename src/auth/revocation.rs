//! One revocation, and whom it stops.

use std::time::SystemTime;

use super::{Identity, Kind, TokenId};
use crate::ident::TenantId;

/// One revocation, as NOTIFY or the registry tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// This token, or this API key.
    Token {
        /// Its id.
        id: TokenId,
        /// Whose revocation it is, where that is known.
        tenant: Option<TenantId>,
    },
    /// All that was issued to one subject before an instant.
    Subject {
        /// The subject's tenant.
        tenant: TenantId,
        /// The subject: an admin's id.
        subject: Box<str>,
        /// Tokens issued at this second or earlier are stopped.
        issued_until: SystemTime,
    },
    /// All that was issued for one tenant before an instant.
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// Tokens issued at this second or earlier are stopped.
        issued_until: SystemTime,
    },
    /// The same, but for its API keys.
    Tokens {
        /// The tenant.
        tenant: TenantId,
        /// Tokens issued at this second or earlier are stopped.
        issued_until: SystemTime,
    },
}

impl Revocation {
    /// Whether it stops `identity`. The same rule for a token at the door and a live session.
    ///
    /// A token that does not say when it was issued is stopped by every instant.
    pub fn covers(&self, identity: &Identity) -> bool {
        match self {
            Self::Token { id, tenant } => {
                id == identity.token_id()
                    && tenant.as_ref().is_none_or(|tenant| tenant == identity.tenant())
            }
            Self::Subject { tenant, subject, issued_until } => {
                tenant == identity.tenant()
                    && **subject == *identity.subject()
                    && issued_by(identity, *issued_until)
            }
            Self::Tenant { tenant, issued_until } => {
                tenant == identity.tenant() && issued_by(identity, *issued_until)
            }
            Self::Tokens { tenant, issued_until } => {
                tenant == identity.tenant()
                    && identity.kind() == Kind::Jwt
                    && issued_by(identity, *issued_until)
            }
        }
    }
}

/// Whether it was issued at `instant` or earlier.
pub(super) fn issued_by(identity: &Identity, instant: SystemTime) -> bool {
    identity.issued_at().is_none_or(|issued| issued <= instant)
}
