//! `[http]`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::units::{Size, Span};

/// The public HTTP door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where the public API listens; unset: nowhere.
    pub address: Option<SocketAddr>,
    /// The largest request body.
    pub body_max: Size,
    /// How long a request may take, body and answer.
    pub request_timeout: Span,
    /// Limits per address.
    pub rate: RateSettings,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
            body_max: Size::kib(64),
            request_timeout: Span::secs(30),
            rate: RateSettings::default(),
        }
    }
}

/// `[ops]`: the operators' door, which is never the public one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSettings {
    /// Where metrics, health and the live page are; unset: nowhere.
    pub address: Option<SocketAddr>,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self { address: Some(SocketAddr::from(([127, 0, 0, 1], 9432))) }
    }
}

/// `[http.rate]`: requests per address (IPv6: per /64). 0 switches a limit off.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Whether there are any.
    pub enabled: bool,
    /// Registrations a minute.
    pub register_per_minute: u32,
    /// Logins, refreshes and logouts a minute.
    pub login_per_minute: u32,
    /// Any requests a minute.
    pub all_per_minute: u32,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { enabled: true, register_per_minute: 10, login_per_minute: 30, all_per_minute: 600 }
    }
}
