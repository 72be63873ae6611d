//! `[http]`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ConnectionSettings;
use super::proxies::Proxies;
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
    /// Whether `/signup`, the built-in page, is served.
    pub signup: bool,
    /// Streams of registration events at once; more are told to come back (503).
    pub streams_max: usize,
    /// Networks of proxies in front, `10.0.0.0/8`: requests from there are counted by the address
    /// in their `X-Forwarded-For`. From anywhere else that header is not read.
    pub trusted_proxies: Vec<String>,
    /// What handed-out connection strings say.
    pub connection: ConnectionSettings,
    /// Limits per address, and per admin of who brings a valid token.
    pub rate: RateSettings,
}

impl HttpSettings {
    /// What is wrong with it: the key, and why.
    pub fn problems(&self) -> Option<(&'static str, String)> {
        let proxies = Proxies::parse(&self.trusted_proxies).err();
        proxies.map(|problem| ("http.trusted_proxies", problem))
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
            body_max: Size::kib(64),
            request_timeout: Span::secs(30),
            signup: true,
            streams_max: 1000,
            trusted_proxies: Vec::new(),
            connection: ConnectionSettings::default(),
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

/// `[http.rate]`: requests per address (IPv6: per /64). 0 switches a limit off. Who brings a valid
/// token is counted by admin instead, whatever others behind the same address do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Whether there are any.
    pub enabled: bool,
    /// Registrations a minute.
    pub register_per_minute: u32,
    /// Logins and refreshes a minute, and logouts without a valid token.
    pub login_per_minute: u32,
    /// Any requests a minute.
    pub all_per_minute: u32,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { enabled: true, register_per_minute: 10, login_per_minute: 30, all_per_minute: 600 }
    }
}
