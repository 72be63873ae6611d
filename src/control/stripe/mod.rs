//! Stripe: who pays. A tenant becomes a customer after its registration, from the outbox; what
//! becomes of its subscription is heard by webhook and moves the tenant's status.
//!
//! Nothing a client waits for is here: Stripe may be away for days.

mod breaker;
mod client;
mod event;
mod hook;
mod metrics;
mod outbox;
mod settings;
mod signature;
mod subscription;

pub use hook::{HookRefused, Outcome, StripeHook};
pub use metrics::StripeMetrics;
pub use outbox::Outbox;
pub use settings::StripeSettings;
