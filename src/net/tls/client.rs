//! TLS towards PostgreSQL.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsConnector;

use super::client_verifier::{ByMode, Check};
use super::pem::{self, Stamp};
use super::{ALPN_POSTGRESQL, Roots, provider};
use crate::net::{Socket, Stream};

/// The most configurations kept: one per mode and file of authorities.
const CONFIGS_MAX: usize = 256;

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it. Checks nothing: it is no protection against an attacker.
    #[default]
    Prefer,
    /// TLS, and with a file of authorities the chain (libpq's rule).
    Require,
    /// TLS and the chain.
    VerifyCa,
    /// TLS, the chain and the name.
    VerifyFull,
}

impl SslMode {
    /// The word for it in connection strings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether TLS is asked for at all.
    pub fn asks(self) -> bool {
        self != Self::Disable
    }

    /// Whether a server without TLS is refused.
    pub fn insists(self) -> bool {
        !matches!(self, Self::Disable | Self::Prefer)
    }
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            // libpq's `allow` tries without TLS first; nothing is gained by that here.
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(format!(
                "sslmode `{text}` is none of disable, prefer, require, verify-ca, verify-full"
            )),
        }
    }
}

/// `[servers.tls]`: what pgusher shows to PostgreSQL.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTlsSettings {
    /// The certificate pgusher shows when a server asks for one, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    mode: SslMode,
    ca: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Kept {
    config: Arc<ClientConfig>,
    stamps: [Option<Stamp>; 3],
}

/// TLS towards PostgreSQL servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls {
    settings: Arc<ClientTlsSettings>,
    kept: Arc<Mutex<HashMap<Name, Kept>>>,
}

impl ClientTls {
    /// # Errors
    /// When a certificate is set without its key or the other way round, or can not be used.
    pub fn new(settings: ClientTlsSettings) -> Result<Self, String> {
        if settings.certificate.is_some() != settings.key.is_some() {
            return Err("certificate and key go together".to_owned());
        }
        let tls = Self { settings: Arc::new(settings), kept: Arc::default() };
        // Tried once, so that a bad file shows at start-up.
        build(&tls.settings, SslMode::Require, None).map_err(|e| e.to_string())?;
        Ok(tls)
    }

    /// Runs the handshake on a socket whose server has said `S` (SSLRequest is the caller's). The
    /// deadline is the caller's too.
    ///
    /// `host` is the name that was dialled; `ca` a file of authorities instead of the system's.
    pub async fn connect(
        &self,
        socket: Socket,
        host: &str,
        mode: SslMode,
        ca: Option<&Path>,
    ) -> io::Result<Stream> {
        let config = self.config(mode, ca).await?;
        let name = server_name(host)?;
        // Boxed: the handshake's state is 2 KiB that the caller's future should not keep.
        let tls = Box::pin(TlsConnector::from(config).connect(name, socket)).await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }

    /// The configuration for `mode` and `ca`, kept until one of its files changes. Files are read
    /// on the blocking pool.
    pub async fn config(&self, mode: SslMode, ca: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
        let name = Name { mode: class(mode, ca), ca: ca.map(Path::to_owned) };
        if name.ca.is_none() && self.settings.certificate.is_none() {
            // Nothing on disk to follow: the system's authorities are read once.
            if let Some(kept) = self.look_up(&name) {
                return Ok(kept.config);
            }
        }
        let this = self.clone();
        let built = tokio::task::spawn_blocking(move || this.current(name)).await;
        built.map_err(|_| io::Error::other("reading the TLS files failed"))?
    }

    fn look_up(&self, name: &Name) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn current(&self, name: Name) -> io::Result<Arc<ClientConfig>> {
        let stamp = |path: Option<&Path>| path.and_then(Stamp::of);
        let stamps = [
            stamp(name.ca.as_deref()),
            stamp(self.settings.certificate.as_deref()),
            stamp(self.settings.key.as_deref()),
        ];
        if let Some(kept) = self.look_up(&name).filter(|kept| kept.stamps == stamps) {
            return Ok(kept.config);
        }
        let config = Arc::new(build(&self.settings, name.mode, name.ca.as_deref())?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CONFIGS_MAX {
            kept.clear();
        }
        kept.insert(name, Kept { config: Arc::clone(&config), stamps });
        Ok(config)
    }
}

/// Modes that check the same share a configuration.
fn class(mode: SslMode, ca: Option<&Path>) -> SslMode {
    match (mode, ca) {
        (SslMode::Require, Some(_)) => SslMode::VerifyCa,
        (SslMode::Disable | SslMode::Prefer, _) => SslMode::Require,
        (mode, _) => mode,
    }
}

/// The name to check and to send as SNI. Addresses are names too; they are not sent.
pub(super) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("host `{host}`: {e}")))
}

fn build(
    settings: &ClientTlsSettings,
    mode: SslMode,
    ca: Option<&Path>,
) -> io::Result<ClientConfig> {
    let check = match mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Key,
        SslMode::VerifyCa => Check::Chain(Roots::load(ca)?),
        SslMode::VerifyFull => Check::ChainAndName(Roots::load(ca)?),
    };
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByMode { check, algorithms }));
    let mut config = match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => {
            let chain = pem::certificates(certificate).map_err(io::Error::other)?;
            let key = pem::private_key(key).map_err(io::Error::other)?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
        _ => builder.with_no_client_auth(),
    };
    // PostgreSQL 17 and later check it, older ones pass over it.
    config.alpn_protocols = vec![ALPN_POSTGRESQL.to_vec()];
    // PostgreSQL gives no tickets.
    config.resumption = Resumption::disabled();
    Ok(config)
}
