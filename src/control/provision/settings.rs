//! `[servers.NAME]`.

use serde::{Deserialize, Serialize};

use crate::units::{Secret, Span};

/// One PostgreSQL server that tenants live on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// How the provisioner logs in: a role with CREATEDB and CREATEROLE, into any database
    /// (usually `postgres`). Empty: no tenant is made here.
    pub admin_url: Secret,
    /// Where sessions of tenants made from now on are dialled; empty: where `admin_url` points.
    /// This and the next three go into their `databaseUrl`: tenants made before keep theirs.
    pub host: String,
    /// The port there; 0: the one of `admin_url`.
    pub port: u16,
    /// How much TLS they ask for, as libpq names it; empty: as `admin_url` does.
    pub sslmode: String,
    /// A file of trusted certificates, under this path for every process; empty: that of
    /// `admin_url`, else the system's.
    pub sslrootcert: String,
    /// Server connections for all tenants together.
    pub budget: u32,
    /// CONNECTION LIMIT a tenant's database is made with; from its first session on it is the
    /// tenant's `server_max`.
    pub tenant_connections_max: u32,
    /// Where it stands, for registrations that ask for a region; empty: in none.
    pub region: String,
    /// Share of new tenants, relative to other servers of the same region; 0: none.
    pub weight: u32,
    /// Tenants at most, as last counted (`health.every`); 0: as many as come.
    pub tenants_max: u32,
    /// Provisioning connections at most.
    pub admin_connections_max: usize,
    /// How long one provisioning step may take.
    pub step_timeout: Span,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            admin_url: Secret::default(),
            host: String::new(),
            port: 0,
            sslmode: String::new(),
            sslrootcert: String::new(),
            budget: 80,
            tenant_connections_max: 30,
            region: String::new(),
            weight: 1,
            tenants_max: 0,
            admin_connections_max: 3,
            step_timeout: Span::secs(60),
        }
    }
}
