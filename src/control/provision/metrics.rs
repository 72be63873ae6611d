//! What is counted about provisioning.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// The metrics of provisioning, shared by all servers.
#[derive(Debug, Clone)]
pub struct ProvisionMetrics {
    pub(super) clone: Histogram,
    pub(super) steps: HistogramVec,
    pub(super) failures: IntCounterVec,
}

impl ProvisionMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let buckets = vec![0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        let clone = Histogram::with_opts(
            HistogramOpts::new(
                "pgusher_control_clone_seconds",
                "CREATE DATABASE from the tenant template.",
            )
            .buckets(buckets.clone()),
        )?;
        let steps = HistogramVec::new(
            HistogramOpts::new("pgusher_control_provision_seconds", "Provisioning steps, by step.")
                .buckets(buckets),
            &["step"],
        )?;
        let failures = IntCounterVec::new(
            Opts::new("pgusher_control_provision_failures_total", "Provisioning steps failed."),
            &["step"],
        )?;
        registry.register(Box::new(clone.clone()))?;
        registry.register(Box::new(steps.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { clone, steps, failures })
    }
}
