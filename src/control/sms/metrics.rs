//! What is counted about webhooks.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::control::telnyx::PROVIDER;

/// The room's metrics.
#[derive(Debug, Clone)]
pub struct SmsMetrics {
    /// Webhooks that came in, by how they were answered.
    webhooks: IntCounterVec,
    /// What became of their content, tenant by tenant.
    events: IntCounterVec,
    /// How long an answer took.
    answer: HistogramVec,
}

impl SmsMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let webhooks = IntCounterVec::new(
            Opts::new(
                "pgusher_control_sms_webhooks_total",
                "Webhooks by answer: taken, later (503), unproven, malformed.",
            ),
            &["provider", "answer"],
        )?;
        let events = IntCounterVec::new(
            Opts::new(
                "pgusher_control_sms_events_total",
                "What became of events: stored, duplicate, dead, applied, stale, parked, \
                 unknown_number, ignored, failed.",
            ),
            &["provider", "outcome"],
        )?;
        let answer = HistogramVec::new(
            HistogramOpts::new(
                "pgusher_control_sms_answer_seconds",
                "How long a proven webhook waited for its answer.",
            )
            .buckets(vec![0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0]),
            &["provider"],
        )?;
        // There before they happen: what appears as 1 has not risen, to an alert.
        for answer in ["taken", "later", "unproven", "malformed"] {
            let _ = webhooks.with_label_values(&[PROVIDER, answer]);
        }
        for outcome in ["stored", "duplicate", "dead", "applied", "stale", "parked", "failed"] {
            let _ = events.with_label_values(&[PROVIDER, outcome]);
        }
        registry.register(Box::new(webhooks.clone()))?;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(answer.clone()))?;
        Ok(Self { webhooks, events, answer })
    }

    /// Counts a webhook by its answer.
    pub fn answered(&self, provider: &str, answer: &str) {
        self.webhooks.with_label_values(&[provider, answer]).inc();
    }

    pub(super) fn ended(&self, provider: &str, outcome: &str) {
        self.events.with_label_values(&[provider, outcome]).inc();
    }

    pub(super) fn took(&self, provider: &str, seconds: f64) {
        self.answer.with_label_values(&[provider]).observe(seconds);
    }
}
