//! `[stripe]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::control::api_url;
use crate::net::tls::Roots;
use crate::units::{Secret, Span};

/// `[stripe]`: where payments are taken. Off until a key or a webhook secret is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripeSettings {
    /// The API key (`sk_…` or `rk_…`), with which tenants become customers; empty: they do not.
    pub secret_key: Secret,
    /// The signing secret (`whsec_…`) of the webhook at `/webhooks/stripe`; empty: no webhook.
    pub webhook_secret: Secret,
    /// How old a webhook's signature may be, and how far clocks may differ.
    pub tolerance: Span,
    /// The plan of a price, by the price's id or lookup key; what is not named leaves the plan.
    pub plans: BTreeMap<String, String>,
    /// Where the API is: `https://…` (`http://` on loopback only).
    pub api_url: String,
    /// A PEM file with the authorities its certificate is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take.
    pub timeout: Span,
    /// How long to wait after a first failure; it doubles with each.
    pub retry_min: Span,
    /// The longest wait between two tries.
    pub retry_max: Span,
    /// After how many failures in a row no call is made for `breaker_pause`.
    pub breaker_failures: u32,
    /// How long no call is made then; the next one decides.
    pub breaker_pause: Span,
}

impl StripeSettings {
    /// What is wrong with it: the keys, and why. Reads no file: see [`Self::authorities`].
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        if self.secret_key.is_empty() {
            return Vec::new();
        }
        let is_word = self.secret_key.expose().bytes().all(|b| b.is_ascii_graphic());
        let key = if is_word { Ok(()) } else { Err("a key is one word of visible ASCII".into()) };
        let judged =
            [("stripe.secret_key", key), ("stripe.api_url", api_url::check(&self.api_url))];
        judged.into_iter().filter_map(|(key, verdict)| Some((key, verdict.err()?))).collect()
    }

    /// Whom to trust.
    ///
    /// # Errors
    /// What is wrong with `stripe.ca_file`.
    pub fn authorities(&self) -> Result<Roots, String> {
        Roots::load(self.ca_file.as_deref()).map_err(|e| e.to_string())
    }
}

impl Default for StripeSettings {
    fn default() -> Self {
        Self {
            secret_key: Secret::default(),
            webhook_secret: Secret::default(),
            tolerance: Span::mins(5),
            plans: BTreeMap::new(),
            api_url: "https://api.stripe.com".to_owned(),
            ca_file: None,
            timeout: Span::secs(10),
            retry_min: Span::secs(1),
            retry_max: Span::mins(60),
            breaker_failures: 5,
            breaker_pause: Span::secs(30),
        }
    }
}
