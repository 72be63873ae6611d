//! What is counted about the registry and its cache.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

/// The room's metrics.
#[derive(Debug, Clone)]
pub struct TenantMetrics {
    /// Cache answers by kind: hit, load, stale, unknown, failed, busy.
    pub(super) lookups: IntCounterVec,
    /// How long the registry took.
    pub(super) query: Histogram,
    /// Whether the last registry query succeeded.
    pub(super) up: IntGauge,
}

impl TenantMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let lookups = IntCounterVec::new(
            Opts::new("pgusher_tenant_lookups_total", "Directory lookups by how they ended."),
            &["result"],
        )?;
        let query = Histogram::with_opts(
            HistogramOpts::new(
                "pgusher_tenant_registry_query_seconds",
                "How long the registry took to answer a lookup.",
            )
            .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        )?;
        let up = IntGauge::new(
            "pgusher_tenant_registry_up",
            "0 when the last lookup in the registry failed.",
        )?;
        up.set(1);
        registry.register(Box::new(lookups.clone()))?;
        registry.register(Box::new(query.clone()))?;
        registry.register(Box::new(up.clone()))?;
        Ok(Self { lookups, query, up })
    }
}
