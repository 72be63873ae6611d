//! What one tenant may hold, and how settings, plan and the tenant's row make it up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PoolSettings;
use crate::units::Span;

/// The limits of one tenant in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Server connections, all roles together; hard.
    pub server_max: u32,
    /// Server connections the tenant is always given before others get more than theirs.
    pub server_min: u32,
    /// Share of a contended budget relative to other tenants.
    pub weight: u32,
    /// Clients logged in at once.
    pub client_max: u32,
    /// Clients waiting for a server connection at once.
    pub queue_max: u32,
    /// How long a client waits for a server connection; zero: for ever.
    pub queue_timeout: Span,
    /// How long an idle server connection is kept; zero: for ever.
    pub server_idle_timeout: Span,
    /// How old a server connection may grow; zero: for ever.
    pub server_lifetime: Span,
    /// How long a query may run; zero: for ever.
    pub query_timeout: Span,
    /// How long a transaction may last; zero: for ever.
    pub transaction_timeout: Span,
    /// How long a client may be idle inside a transaction; zero: for ever.
    pub idle_in_transaction_timeout: Span,
    /// How long a client may be idle outside of one; zero: for ever.
    pub client_idle_timeout: Span,
}

/// The largest `server_max`, `client_max` and `queue_max`: beyond PostgreSQL's own.
const COUNT_MAX: u32 = 262_143;
/// The largest weight.
const WEIGHT_MAX: u32 = 1_000;

/// `[limits]`, `[plans.NAME]` and a tenant's row: each says some of the limits, the later one wins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSettings {
    /// Server connections a tenant may hold, all its roles together. Hard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_max: Option<u32>,
    /// Server connections guaranteed to a tenant while the budget is contended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_min: Option<u32>,
    /// Share of a contended budget relative to other tenants, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Clients a tenant may have logged in at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_max: Option<u32>,
    /// Clients of a tenant that may wait for a server connection at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_max: Option<u32>,
    /// How long a client waits for a server connection before it is refused; 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Span>,
    /// How long an idle server connection is kept; unset: `pool.server_idle_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_idle_timeout: Option<Span>,
    /// How old a server connection may grow; unset: `pool.server_lifetime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_lifetime: Option<Span>,
    /// How long a query may run before it is cancelled (57014); 0: for ever. This and the
    /// following are looked after every tenth of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_timeout: Option<Span>,
    /// How long a transaction may last before its session is ended (25P04); 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_timeout: Option<Span>,
    /// How long a client may be idle inside a transaction before its session is ended (25P03);
    /// 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_in_transaction_timeout: Option<Span>,
    /// How long a client may be idle outside of a transaction before its session is ended (57P05);
    /// 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_idle_timeout: Option<Span>,
}

/// `[plans]`: limits by plan name.
pub type Plans = BTreeMap<String, LimitsSettings>;

impl LimitsSettings {
    /// These limits with everything `over` says put over them.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            server_max: over.server_max.or(self.server_max),
            server_min: over.server_min.or(self.server_min),
            weight: over.weight.or(self.weight),
            client_max: over.client_max.or(self.client_max),
            queue_max: over.queue_max.or(self.queue_max),
            queue_timeout: over.queue_timeout.or(self.queue_timeout),
            server_idle_timeout: over.server_idle_timeout.or(self.server_idle_timeout),
            server_lifetime: over.server_lifetime.or(self.server_lifetime),
            query_timeout: over.query_timeout.or(self.query_timeout),
            transaction_timeout: over.transaction_timeout.or(self.transaction_timeout),
            idle_in_transaction_timeout: over
                .idle_in_transaction_timeout
                .or(self.idle_in_transaction_timeout),
            client_idle_timeout: over.client_idle_timeout.or(self.client_idle_timeout),
        }
    }

    /// The limits in force: settings, then the plan, then the tenant's own row. A figure outside
    /// its range is brought to the nearest end of it; [`LimitsSettings::problems`] reports it.
    pub fn resolve(&self, pool: &PoolSettings, plan: Option<&Self>, row: &Self) -> Limits {
        let all = plan.map_or_else(|| self.clone(), |p| self.overlaid(p)).overlaid(row);
        let default = Limits::default();
        let server_max = all.server_max.unwrap_or(default.server_max).min(COUNT_MAX);
        Limits {
            server_max,
            server_min: all.server_min.unwrap_or(default.server_min).min(server_max),
            weight: all.weight.unwrap_or(default.weight).clamp(1, WEIGHT_MAX),
            client_max: all.client_max.unwrap_or(default.client_max).min(COUNT_MAX),
            queue_max: all.queue_max.unwrap_or(default.queue_max).min(COUNT_MAX),
            queue_timeout: all.queue_timeout.unwrap_or(default.queue_timeout),
            server_idle_timeout: all.server_idle_timeout.unwrap_or(pool.server_idle_timeout),
            server_lifetime: all.server_lifetime.unwrap_or(pool.server_lifetime),
            query_timeout: all.query_timeout.unwrap_or(default.query_timeout),
            transaction_timeout: all.transaction_timeout.unwrap_or(default.transaction_timeout),
            idle_in_transaction_timeout: all
                .idle_in_transaction_timeout
                .unwrap_or(default.idle_in_transaction_timeout),
            client_idle_timeout: all.client_idle_timeout.unwrap_or(default.client_idle_timeout),
        }
    }

    /// What is wrong with these limits, each problem with its key under `section`.
    pub fn problems(&self, section: &str) -> Vec<String> {
        let mut found = Vec::new();
        if self.weight.is_some_and(|w| !(1..=WEIGHT_MAX).contains(&w)) {
            found.push(format!("{section}.weight must be 1 to {WEIGHT_MAX}"));
        }
        let counts = [
            ("server_max", self.server_max),
            ("client_max", self.client_max),
            ("queue_max", self.queue_max),
        ];
        for (key, count) in counts {
            if count.is_some_and(|n| n > COUNT_MAX) {
                found.push(format!("{section}.{key} must be at most {COUNT_MAX}"));
            }
        }
        if let (Some(min), Some(max)) = (self.server_min, self.server_max)
            && min > max
        {
            found.push(format!("{section}.server_min {min} is above server_max {max}"));
        }
        found
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            server_max: 10,
            server_min: 0,
            weight: 1,
            client_max: 1_000,
            queue_max: 1_000,
            queue_timeout: Span::secs(30),
            server_idle_timeout: Span::mins(10),
            server_lifetime: Span::mins(60),
            query_timeout: Span::secs(0),
            transaction_timeout: Span::secs(0),
            idle_in_transaction_timeout: Span::secs(0),
            client_idle_timeout: Span::secs(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenants_row_wins_over_its_plan_and_the_plan_over_the_settings() {
        let pool = PoolSettings::default();
        let settings = LimitsSettings {
            server_max: Some(5),
            weight: Some(2),
            queue_max: Some(7),
            ..LimitsSettings::default()
        };
        let plan =
            LimitsSettings { server_max: Some(20), weight: Some(3), ..LimitsSettings::default() };
        let row = LimitsSettings { server_max: Some(30), ..LimitsSettings::default() };
        let limits = settings.resolve(&pool, Some(&plan), &row);
        assert_eq!((limits.server_max, limits.weight, limits.queue_max), (30, 3, 7));
        assert_eq!(limits.client_max, Limits::default().client_max);
        assert_eq!(settings.resolve(&pool, None, &LimitsSettings::default()).server_max, 5);
    }

    #[test]
    fn figures_out_of_range_are_reported_and_brought_in() {
        let bad = LimitsSettings {
            server_max: Some(3),
            server_min: Some(9),
            weight: Some(0),
            queue_max: Some(u32::MAX),
            ..LimitsSettings::default()
        };
        assert_eq!(bad.problems("limits").len(), 3);
        let limits = bad.resolve(&PoolSettings::default(), None, &LimitsSettings::default());
        assert_eq!((limits.server_min, limits.weight, limits.queue_max), (3, 1, COUNT_MAX));
    }
}
