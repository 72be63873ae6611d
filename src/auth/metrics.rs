//! What this room counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::refusal::Refusal;

/// The metrics of room `auth`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthMetrics {
    pub(super) cached: IntCounter,
    pub(super) verified: IntCounter,
    pub(super) refused: IntCounterVec,
    pub(super) fetches: IntCounterVec,
    pub(super) penalties: IntCounterVec,
    pub(super) revocations: IntGauge,
}

impl AuthMetrics {
    /// Makes them and registers them.
    ///
    /// # Errors
    /// When `registry` has them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, label: &str| -> Result<_, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let tokens = vec(
            "pgusher_auth_tokens_accepted_total",
            "Tokens accepted, from the cache or by their signature.",
            "how",
        )?;
        let revocations = IntGauge::new(
            "pgusher_auth_revocations",
            "Revocations in force, by token, subject and tenant.",
        )?;
        registry.register(Box::new(revocations.clone()))?;
        let fetches = vec(
            "pgusher_auth_jwks_fetches_total",
            "Attempts to read a JWKS, by result.",
            "result",
        )?;
        let refused =
            vec("pgusher_auth_tokens_refused_total", "Tokens refused, by reason.", "reason")?;
        // There before they happen: what appears as 1 has not risen, to an alert.
        let _ = (fetches.with_label_values(&["ok"]), fetches.with_label_values(&["failed"]));
        let _ = refused.with_label_values(&[Refusal::StaleKeys.label()]);
        Ok(Self {
            cached: tokens.with_label_values(&["cache"]),
            verified: tokens.with_label_values(&["signature"]),
            refused,
            fetches,
            penalties: vec(
                "pgusher_auth_penalties_total",
                "Failed logins whose answer was delayed or dropped.",
                "what",
            )?,
            revocations,
        })
    }
}
