//! The adapter for Telnyx: proves its webhooks, reads them, and asks it whose a number is.
//!
//! All that pgusher knows of Telnyx is in this room; what leaves it are the words of
//! `control::sms` and `control::phone`.

mod api;
mod payload;
mod settings;
mod signature;

pub use api::TelnyxApi;
pub use settings::TelnyxSettings;
pub use signature::{Unproven, WebhookKey};

use std::time::SystemTime;

use super::sms::{Event, Rejected};

/// The provider's name in metrics, logs and dead letters.
pub const PROVIDER: &str = "telnyx";

/// Reads Telnyx's webhooks.
#[derive(Debug, Clone)]
pub struct Telnyx {
    key: WebhookKey,
}

/// What Telnyx sends along with a body.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `telnyx-signature-ed25519`.
    pub signature: &'a str,
    /// `telnyx-timestamp`.
    pub timestamp: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

impl Telnyx {
    /// The adapter; `None` where no public key is configured.
    ///
    /// # Errors
    /// When the key is none.
    pub fn new(settings: &TelnyxSettings) -> Result<Option<Self>, String> {
        if settings.public_key.is_empty() {
            return Ok(None);
        }
        let key = WebhookKey::new(&settings.public_key, settings.tolerance.get())?;
        Ok(Some(Self { key }))
    }

    /// Fails unless Telnyx sent this, a moment ago.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn prove(&self, signed: &Signed<'_>, now: SystemTime) -> Result<(), Unproven> {
        self.key.prove(signed, now)
    }

    /// What a proven webhook says.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn read(&self, body: &[u8]) -> Result<Event, Rejected> {
        payload::read(body)
    }
}
