//! Names: tenants, roles, databases.
//!
//! Every name that reaches SQL or a log comes through here and is valid by construction. This
//! room knows no socket, no registry and no token.

mod role;
mod tenant_id;

pub use role::{Role, UnknownRole};
pub use tenant_id::{BadTenantId, TenantId};
