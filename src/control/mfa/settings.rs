//! `[mfa]`.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[mfa]`: second factors of admins' logins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfaSettings {
    /// What an authenticator app shows beside the account.
    pub issuer: String,
    /// Codes an admin may try before one was right, in every `attempts_window`.
    pub attempts_max: u32,
    /// How long it is counted. Ten an hour: a guesser needs years for an even chance.
    pub attempts_window: Span,
}

impl Default for MfaSettings {
    fn default() -> Self {
        Self { issuer: "pgusher".to_owned(), attempts_max: 10, attempts_window: Span::mins(60) }
    }
}
