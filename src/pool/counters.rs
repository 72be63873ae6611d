//! What the pool counts as it goes. Labels are few and fixed: no tenant is one.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::refusal::Limit;

/// Counters and histograms of all rooms together.
pub(super) struct Counters {
    waits: Histogram,
    dial_time: Histogram,
    dials: IntCounterVec,
    refusals: IntCounterVec,
    moves: IntCounterVec,
}

/// Half a millisecond to two minutes.
const WAIT_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 120.0];

/// What clients are refused by without a wait.
const AT_ONCE: [&str; 5] = ["suspended", "client_max", "queue_max", "pins_tenant", "pins_budget"];

impl Counters {
    pub(super) fn new() -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(WAIT_BUCKETS.to_vec()))
        };
        let counter = |name: &str, help: &str, label: &str, words: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            // Each is there before it happens: what appears as 1 has not risen, to an alert.
            for word in words {
                let _ = counters.with_label_values(&[word]);
            }
            Ok::<_, prometheus::Error>(counters)
        };
        Ok(Self {
            waits: histogram(
                "pgusher_pool_wait_seconds",
                "How long clients that were served waited for a server connection.",
            )?,
            dial_time: histogram(
                "pgusher_pool_dial_seconds",
                "How long dials that succeeded took.",
            )?,
            dials: counter(
                "pgusher_pool_dials_total",
                "Dials by outcome: opened, failed, full.",
                "outcome",
                &["opened", "failed", "full"],
            )?,
            refusals: counter(
                "pgusher_pool_refusals_total",
                "Clients refused, by the limit that did it.",
                "limit",
                &[&AT_ONCE[..], &Limit::ALL.map(Limit::as_str)].concat(),
            )?,
            moves: counter(
                "pgusher_pool_moves_total",
                "Server connections closed for another tenant: idle ones, and those whose turn was \
                 over.",
                "cause",
                &["idle", "turn", "split", "process"],
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.waits.clone()))?;
        registry.register(Box::new(self.dial_time.clone()))?;
        registry.register(Box::new(self.dials.clone()))?;
        registry.register(Box::new(self.refusals.clone()))?;
        registry.register(Box::new(self.moves.clone()))
    }

    pub(super) fn waited(&self, time: Duration) {
        self.waits.observe(time.as_secs_f64());
    }

    pub(super) fn dialed(&self, outcome: &'static str, took: Duration) {
        self.dials.with_label_values(&[outcome]).inc();
        if outcome == "opened" {
            self.dial_time.observe(took.as_secs_f64());
        }
    }

    pub(super) fn refused(&self, limit: &'static str) {
        self.refusals.with_label_values(&[limit]).inc();
    }

    pub(super) fn moved(&self, cause: &'static str) {
        self.moves.with_label_values(&[cause]).inc();
    }
}
