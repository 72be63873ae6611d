//! Inbound messages and delivery receipts: routed by phone number, stored once, answered in time.
//!
//! Nothing here knows a provider: an adapter (`control::telnyx`) proves a webhook and turns it
//! into an [`Event`]. Whatever is told as taken is committed in the tenant's own database, reached
//! like everybody reaches it, through a session in the tenant's room. What cannot be stored for its
//! content is kept in the tenant's dead letters; what cannot be stored now is refused, and the
//! provider brings it again.

mod corner;
mod event;
mod intake;
mod lanes;
mod letters;
mod metrics;
mod settings;
mod settling;
mod store;

pub use corner::Corner;
pub use event::{Delivery, Event, Inbound, Receipt, Rejected};
pub use intake::{Intake, Tally, Untaken};
pub use letters::{Letter, Letters, Replayed};
pub use metrics::SmsMetrics;
pub use settings::IntakeSettings;
pub use store::Store;
