//! `[sms.intake]`.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[sms.intake]`: how webhooks of any provider are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeSettings {
    /// How long a webhook may take until it is answered with 503 and left to the provider's next
    /// try. Telnyx gives up after 2 s.
    pub deadline: Span,
    /// How long the work goes on behind a webhook that was answered with 503, so that the next
    /// try finds the tenant warm, or the message stored.
    pub finish_timeout: Span,
    /// Webhooks at work at once. What takes longer than a quarter of the deadline stands aside, so
    /// that tenants that hang hold up no other; as many may do so, and the rest are given up.
    pub in_flight_max: usize,
    /// Webhooks at work at once for one tenant: a tenant that hangs holds up no other.
    pub tenant_in_flight_max: usize,
}

impl Default for IntakeSettings {
    fn default() -> Self {
        Self {
            deadline: Span::millis(1800),
            finish_timeout: Span::secs(10),
            in_flight_max: 256,
            tenant_in_flight_max: 8,
        }
    }
}
