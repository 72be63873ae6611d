//! What sessions count.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::lengths::Lengths;
use crate::fault::Fault;

/// Counters of this room. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    pub(super) sessions: IntGauge,
    pub(super) logins: IntCounter,
    pub(super) transactions: IntCounter,
    pub(super) login_seconds: Histogram,
    pub(super) lengths: Lengths,
    pub(super) looks: IntCounter,
    pub(super) readings: IntCounter,
    pub(super) repeats: IntCounter,
    pub(super) cancels: IntCounterVec,
    faults: IntCounterVec,
}

impl SessionMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of that name already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            sessions: IntGauge::new("pgusher_session_live", "Sessions logged in.")?,
            logins: IntCounter::new("pgusher_session_logins_total", "Logins that succeeded.")?,
            transactions: IntCounter::new(
                "pgusher_session_transactions_total",
                "Transactions and autocommitted statements that ended.",
            )?,
            login_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "pgusher_session_login_seconds",
                    "From the first byte to the first ReadyForQuery.",
                )
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]),
            )?,
            lengths: Lengths::new()?,
            looks: IntCounter::new(
                "pgusher_session_state_looks_total",
                "Transactions after which the catalog was asked what state they left.",
            )?,
            readings: IntCounter::new(
                "pgusher_session_function_readings_total",
                "Times the functions of a tenant's database were read from its catalog.",
            )?,
            repeats: IntCounter::new(
                "pgusher_session_stale_statements_healed_total",
                "Prepared statements that PostgreSQL refused as stale and that were prepared anew.",
            )?,
            cancels: IntCounterVec::new(
                Opts::new(
                    "pgusher_session_cancels_total",
                    "Cancel requests by what became of them.",
                ),
                &["outcome"],
            )?,
            faults: IntCounterVec::new(
                Opts::new("pgusher_session_faults_total", "Faults told to clients, by blame."),
                &["blame", "sqlstate"],
            )?,
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.logins.clone()))?;
        registry.register(Box::new(metrics.transactions.clone()))?;
        registry.register(Box::new(metrics.login_seconds.clone()))?;
        metrics.lengths.register(registry)?;
        registry.register(Box::new(metrics.looks.clone()))?;
        registry.register(Box::new(metrics.readings.clone()))?;
        registry.register(Box::new(metrics.repeats.clone()))?;
        registry.register(Box::new(metrics.cancels.clone()))?;
        registry.register(Box::new(metrics.faults.clone()))?;
        Ok(metrics)
    }

    /// Counts a fault that a client is told of. Its labels are few by construction.
    pub(super) fn fault(&self, fault: &Fault) {
        let labels = [fault.blame().as_str(), fault.state().as_str()];
        self.faults.with_label_values(&labels).inc();
    }
}
