//! TLS on both sides.
//!
//! [`ServerTls`] holds our certificate and follows its files; [`ClientTls`] goes to PostgreSQL as
//! `sslmode` says; [`PgTls`] is the same for tokio-postgres. TLS 1.2 and 1.3 by rustls and
//! aws-lc-rs, named explicitly: nothing here depends on a process-wide provider. What a session
//! holds is a snapshot, so no change of files touches it.

mod client;
mod client_verifier;
mod der;
mod end_point;
mod expiry;
mod pem;
mod postgres;
mod roots;
mod server;

pub use client::{ClientTls, ClientTlsSettings, SslMode};
pub use end_point::{end_point_digest, peer_end_point};
pub use postgres::{PgTls, PgTlsStream};
pub use roots::Roots;
pub use server::{
    Accepted, ClientCertificates, Hello, ServerTls, TlsMinimum, TlsSettings, TlsSnapshot,
};

/// The ALPN name of PostgreSQL's protocol.
pub const ALPN_POSTGRESQL: &[u8] = b"postgresql";

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

#[cfg(test)]
mod tests;
