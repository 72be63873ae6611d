//! Names: tenants, roles, databases, servers.
//!
//! Every name that reaches SQL or a log comes through here and is valid by construction. This
//! room knows no socket, no registry and no token.

mod role;
mod server_key;
mod tenant_id;

pub use role::{Role, UnknownRole};
pub use server_key::ServerKey;
pub use tenant_id::{BadTenantId, TenantId};
