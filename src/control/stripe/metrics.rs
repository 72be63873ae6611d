//! What is counted of Stripe.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Counts webhooks and calls.
#[derive(Debug, Clone)]
pub struct StripeMetrics {
    pub(super) events: IntCounterVec,
    pub(super) calls: IntCounterVec,
    pub(super) breaker_open: IntGauge,
    pub(super) waiting: IntGauge,
}

impl StripeMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let events = IntCounterVec::new(
            Opts::new(
                "pgusher_control_stripe_events_total",
                "Webhooks taken in, by what became of them.",
            ),
            &["outcome"],
        )?;
        let calls = IntCounterVec::new(
            Opts::new("pgusher_control_stripe_calls_total", "Calls of Stripe's API, by result."),
            &["result"],
        )?;
        let breaker_open = IntGauge::new(
            "pgusher_control_stripe_breaker_open",
            "1 while no call is made because the last ones failed.",
        )?;
        let waiting = IntGauge::new(
            "pgusher_control_outbox_waiting",
            "What is yet to be told to Stripe, of the whole registry.",
        )?;
        // There before they happen: what appears as 1 has not risen, to an alert.
        for outcome in ["applied", "forged", "unreadable", "failed"] {
            let _ = events.with_label_values(&[outcome]);
        }
        for result in ["done", "again", "refused"] {
            let _ = calls.with_label_values(&[result]);
        }
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(calls.clone()))?;
        registry.register(Box::new(breaker_open.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        Ok(Self { events, calls, breaker_open, waiting })
    }
}
