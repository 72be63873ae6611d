//! `[registration]`.

use serde::{Deserialize, Serialize};

use super::Hold;
use crate::units::Span;

/// How organisations become tenants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationSettings {
    /// Days until a new tenant's trial ends.
    pub trial_days: u16,
    /// Registrations under way at once; more are told to come back (503).
    pub concurrent_max: usize,
    /// How long the first tokens of a registration can be had: by fetching them, once, where it was
    /// answered before it was done (`Prefer: respond-async`), or by repeating the request with its
    /// Idempotency-Key. Afterwards there is the login.
    pub collect_within: Span,
    /// For tests of crashes: the point at which every registration stops for ever. `hashed`,
    /// `claimed`, `cloned`, `written`, `finished`; `never` in earnest.
    pub hold_at: Hold,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self {
            trial_days: 14,
            concurrent_max: 256,
            collect_within: Span::mins(60),
            hold_at: Hold::Never,
        }
    }
}
