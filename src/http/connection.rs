//! The connection strings that are handed out.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ident::TenantId;
use crate::units::Secret;

/// What they say of where pgusher is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSettings {
    /// The host tenants' apps reach pgusher at; empty: the first listener's address, `localhost`
    /// where that is every address.
    pub host: String,
    /// The port there; 0: the first listener's.
    pub port: u16,
    /// `sslmode`, as libpq names it; empty: `require` where there is a certificate and the host
    /// is not this machine.
    pub sslmode: String,
}

/// Where tenants' apps connect.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    host: String,
    port: u16,
    sslmode: String,
}

impl Connection {
    /// From what is set, and from what the process listens on.
    pub(super) fn new(
        settings: &ConnectionSettings,
        listener: Option<SocketAddr>,
        has_tls: bool,
    ) -> Self {
        let local = match listener.map(|listener| listener.ip()) {
            Some(ip) if ip.is_unspecified() => "localhost".to_owned(),
            Some(ip) if ip.is_ipv6() => format!("[{ip}]"),
            Some(ip) => ip.to_string(),
            None => "localhost".to_owned(),
        };
        let host = if settings.host.is_empty() { local } else { settings.host.clone() };
        let port = listener.map_or(5432, |listener| listener.port());
        let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
        let sslmode = match settings.sslmode.as_str() {
            "" if has_tls && !is_here => "require".to_owned(),
            set => set.to_owned(),
        };
        Self { host, port: if settings.port == 0 { port } else { settings.port }, sslmode }
    }

    /// A complete connection string. `password` is one of ours, which a URL takes as it is.
    pub(super) fn url(&self, user: &str, password: &Secret, tenant: &TenantId) -> String {
        let Self { host, port, sslmode } = self;
        let query = if sslmode.is_empty() { String::new() } else { format!("?sslmode={sslmode}") };
        // Handed to its owner, once.
        let password = password.expose();
        format!("postgresql://{user}:{password}@{host}:{port}/{}{query}", tenant.database())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(settings: &ConnectionSettings, listener: &str, has_tls: bool) -> String {
        let listener = Some(listener.parse().expect("address"));
        let tenant = TenantId::parse("a").expect("id");
        Connection::new(settings, listener, has_tls).url("app", &"x.y".into(), &tenant)
    }

    #[test]
    fn the_string_names_what_is_set_or_the_listener() {
        let none = ConnectionSettings::default();
        assert_eq!(
            url(&none, "127.0.0.1:6432", true),
            "postgresql://app:x.y@127.0.0.1:6432/tenant_a"
        );
        assert_eq!(
            url(&none, "0.0.0.0:6432", true),
            "postgresql://app:x.y@localhost:6432/tenant_a"
        );
        assert_eq!(url(&none, "[::1]:6432", true), "postgresql://app:x.y@[::1]:6432/tenant_a");
        let remote = "postgresql://app:x.y@10.0.0.1:6432/tenant_a?sslmode=require";
        assert_eq!(url(&none, "10.0.0.1:6432", true), remote);
        let set = ConnectionSettings {
            host: "db.example.org".into(),
            port: 5432,
            sslmode: "verify-full".into(),
        };
        let full = "postgresql://app:x.y@db.example.org:5432/tenant_a?sslmode=verify-full";
        assert_eq!(url(&set, "127.0.0.1:6432", false), full);
    }
}
