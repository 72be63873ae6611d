//! `[pool]` and `[pins]`.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[pool]`: how server connections are kept and how a server's budget is shared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// Server connections pgusher may hold to one PostgreSQL server, all tenants and all
    /// processes of one registry together: those alive split it. Keep it below that server's `max_connections` less its reserved ones and pgusher's own.
    pub server_budget: u32,
    /// How long an idle server connection is kept; 0: for ever.
    pub server_idle_timeout: Span,
    /// How old a server connection may grow, give or take a tenth, so that those made together do
    /// not end together; 0: for ever.
    pub server_lifetime: Span,
    /// Connection attempts under way to one PostgreSQL server at once. One tenant gets at most
    /// half of them.
    pub dial_max: u32,
    /// The shortest turn: how long a tenant keeps a server connection on a contended budget before
    /// another waiting tenant may take its place. It grows to ten times what a dial costs.
    pub turn_min: Span,
    /// The longest turn.
    pub turn_max: Span,
    /// The longest pause between connection attempts to a tenant's database that fail, or to a
    /// server that is full.
    pub dial_backoff_max: Span,
    /// How long the books of a tenant without clients and servers are kept.
    pub room_idle_timeout: Span,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            server_budget: 90,
            server_idle_timeout: Span::mins(10),
            server_lifetime: Span::mins(60),
            dial_max: 16,
            turn_min: Span::millis(200),
            turn_max: Span::secs(2),
            dial_backoff_max: Span::secs(1),
            room_idle_timeout: Span::mins(1),
        }
    }
}

/// `[pins]`: how many server connections may be held beyond their transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinSettings {
    /// Part of a server's budget that pins and session-mode sessions may take together, 0 to 1.
    pub budget_share: f64,
    /// Part of a tenant's `server_max` that its pins and session-mode sessions may take, 0 to 1.
    pub tenant_share: f64,
}

impl Default for PinSettings {
    fn default() -> Self {
        Self { budget_share: 0.5, tenant_share: 1.0 }
    }
}

impl PinSettings {
    /// How many of `total` connections pins may take under `share`: rounded down, but never none
    /// of some, unless the share is zero.
    pub(super) fn of(share: f64, total: u32) -> u32 {
        if share <= 0.0 || total == 0 {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of 0 to 1 of a u32 fits u32"
        )]
        let part = (share.min(1.0) * f64::from(total)) as u32;
        part.max(1)
    }

    /// What is wrong with these settings.
    pub fn problems(&self) -> Vec<String> {
        [("budget_share", self.budget_share), ("tenant_share", self.tenant_share)]
            .into_iter()
            .filter(|(_, share)| !(0.0..=1.0).contains(share))
            .map(|(key, share)| format!("pins.{key} {share} is not between 0 and 1"))
            .collect()
    }
}
