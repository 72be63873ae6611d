//! What the pool has to say to those who talk to other processes and to PostgreSQL's administrator.

use crate::ident::TenantId;

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A tenant's room was opened: PostgreSQL's own limit may not be known to hold its cap.
    Opened(TenantId),
    /// A dial was refused because the tenant's limit at PostgreSQL is reached, and not by this
    /// process alone.
    Wants {
        /// Which tenant.
        tenant: TenantId,
        /// Servers it holds here.
        held: u32,
        /// Servers it could use beyond those.
        wants: u32,
    },
    /// A server was closed that another process had asked for.
    Freed(TenantId),
}
