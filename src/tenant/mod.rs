//! Tenants as the registry knows them: where each lives, how to log in there, what it may hold.
//!
//! [`Registry`] reads the metadata database; [`Directory`] is the cache in front of it, which goes
//! on serving the tenants it knows while the registry is away. This room reads; what writes the
//! registry is `control`. It knows no token and no pool.

mod cache;
mod connect;
mod directory;
mod key_row;
mod limits;
mod master_key;
mod metrics;
mod record;
mod registry;
mod settings;
mod standing;
mod turns;
mod url;
mod words;

pub use connect::{Dial, DialError, Messages, connect};
pub use directory::Directory;
pub use key_row::KeyRow;
pub use limits::{LimitOverrides, PoolMode};
pub use master_key::MasterKey;
pub use metrics::TenantMetrics;
pub use record::{Login, Route, Status, Tenant};
pub use registry::{Client as RegistryClient, Registry, TenantPage};
pub use settings::{DirectorySettings, RegistrySettings};
pub use standing::{BillingRules, BillingSettings, Enforce, Permits};
pub use url::{BadDatabaseUrl, DatabaseUrl};
