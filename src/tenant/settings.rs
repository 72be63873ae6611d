//! How the registry is reached and how long its answers are good.

use serde::{Deserialize, Serialize};

use crate::units::{Secret, Span};

/// `[registry]`: the metadata database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Connection string, `postgresql://user:password@host:port/database?sslmode=…`.
    pub url: Secret,
    /// Connections to the registry at most.
    pub connections_max: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Span,
    /// How long one query may take.
    pub query_timeout: Span,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            connections_max: 8,
            connect_timeout: Span::secs(3),
            query_timeout: Span::secs(5),
        }
    }
}

/// `[directory]`: the cache in front of the registry. NOTIFY keeps it true; the times below are
/// the net under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorySettings {
    /// Tenants (and, apart, API keys) remembered at most.
    pub entries_max: u64,
    /// After which age an entry is read again. Until then, and while the registry is away, it is
    /// served as it is.
    pub fresh: Span,
    /// How long "no such tenant" is remembered.
    pub negative: Span,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self { entries_max: 100_000, fresh: Span::mins(5), negative: Span::secs(5) }
    }
}
