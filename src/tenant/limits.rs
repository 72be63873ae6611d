//! What a tenant's row says about its limits; everything it does not say is the plan's.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A tenant's own limits. `None` means: as the plan, or the configuration, has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitOverrides {
    /// Server connections, all roles together.
    pub server_max: Option<u32>,
    /// Server connections guaranteed out of the server's budget.
    pub server_min: Option<u32>,
    /// Share of a used-up budget, relative to others.
    pub weight: Option<u32>,
    /// Client sessions.
    pub client_max: Option<u32>,
    /// Clients waiting in line.
    pub queue_max: Option<u32>,
    /// How long a client waits in line.
    pub queue_timeout: Option<Duration>,
    /// How long a query may run.
    pub query_timeout: Option<Duration>,
    /// How long a transaction may last.
    pub transaction_timeout: Option<Duration>,
    /// How long a client may be idle inside a transaction.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long a client may be idle outside of one.
    pub client_idle_timeout: Option<Duration>,
}

impl LimitOverrides {
    /// These limits, to be kept. Most tenants have none, and all of them the same none.
    pub(super) fn shared(self) -> Arc<Self> {
        static NONE: LazyLock<Arc<LimitOverrides>> = LazyLock::new(Arc::default);
        if self == Self::default() { Arc::clone(&NONE) } else { Arc::new(self) }
    }

    /// These limits, and `other`'s where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            server_max: self.server_max.or(other.server_max),
            server_min: self.server_min.or(other.server_min),
            weight: self.weight.or(other.weight),
            client_max: self.client_max.or(other.client_max),
            queue_max: self.queue_max.or(other.queue_max),
            queue_timeout: self.queue_timeout.or(other.queue_timeout),
            query_timeout: self.query_timeout.or(other.query_timeout),
            transaction_timeout: self.transaction_timeout.or(other.transaction_timeout),
            idle_in_transaction_timeout: self
                .idle_in_transaction_timeout
                .or(other.idle_in_transaction_timeout),
            client_idle_timeout: self.client_idle_timeout.or(other.client_idle_timeout),
        }
    }
}

/// When a server connection goes back to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    /// At the end of each transaction.
    #[default]
    Transaction,
    /// At the end of the session.
    Session,
}

impl PoolMode {
    /// Reads the word the registry holds.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "transaction" => Some(Self::Transaction),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}
