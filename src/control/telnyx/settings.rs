//! `[sms.telnyx]`.

use serde::{Deserialize, Serialize};

use crate::control::api_url;
use crate::units::{Secret, Span};

/// `[sms.telnyx]`: inbound messages by Telnyx.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelnyxSettings {
    /// The account's public key, base64, as Telnyx shows it beside the API keys. Without one
    /// there is no `POST /webhooks/telnyx`.
    pub public_key: String,
    /// How old, or how far ahead, a webhook's timestamp may be.
    pub tolerance: Span,
    /// Where Telnyx's API is.
    pub api_url: String,
    /// A key for it. Without one only operators assign phone numbers: nobody else can be asked
    /// whose a number is.
    pub api_key: Secret,
    /// How long Telnyx's API may take.
    pub api_timeout: Span,
}

impl TelnyxSettings {
    /// What is wrong with it beside the public key: the key, and why.
    pub fn problems(&self) -> Option<(&'static str, String)> {
        let wrong = api_url::check(&self.api_url).err().filter(|_| !self.api_key.is_empty());
        wrong.map(|why| ("sms.telnyx.api_url", why))
    }
}

impl Default for TelnyxSettings {
    fn default() -> Self {
        Self {
            public_key: String::new(),
            tolerance: Span::mins(5),
            api_url: "https://api.telnyx.com".to_owned(),
            api_key: Secret::default(),
            api_timeout: Span::secs(5),
        }
    }
}
