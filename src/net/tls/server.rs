//! Our side of TLS: the certificate, its reload, the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use super::expiry::not_after;
use super::pem::{self, Stamp};
use super::{ALPN_POSTGRESQL, Roots, end_point_digest, provider};
use crate::net::{Socket, Stream};
use crate::units::Span;

/// The oldest TLS a client may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsMinimum {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    Off,
    /// Asked for; one that is shown must be good.
    Optional,
    /// No handshake without a good one.
    Required,
}

/// `[tls]`: the certificate clients see.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// `1.2` or `1.3`.
    pub minimum: TlsMinimum,
    /// `off`, `optional` or `required`: whether clients show certificates, beside their token.
    /// Where they are required nobody comes over TCP without TLS.
    pub client_certificates: ClientCertificates,
    /// The authorities of client certificates, PEM.
    pub client_ca: Option<PathBuf>,
    /// How often the files are looked at; 0: only when told.
    pub reload_every: Span,
}

impl TlsSettings {
    /// What is wrong with it before any file is read: the keys, and why. What is asked of clients
    /// is not passed over because there is no certificate to ask with.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        match (is_set(&self.certificate), is_set(&self.key)) {
            (true, true) => return Vec::new(),
            (false, false) => {}
            _ => return vec![("tls", "certificate and key go together".to_owned())],
        }
        let asked = [
            ("tls.client_certificates", self.client_certificates != ClientCertificates::default()),
            ("tls.client_ca", self.client_ca.is_some()),
            ("tls.minimum", self.minimum != TlsMinimum::default()),
        ];
        let why =
            "there is no TLS without tls.certificate and tls.key, and this would mean nothing";
        asked.iter().filter(|(_, asked)| *asked).map(|(key, _)| (*key, why.to_owned())).collect()
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            minimum: TlsMinimum::default(),
            client_certificates: ClientCertificates::default(),
            client_ca: None,
            reload_every: Span::secs(10),
        }
    }
}

/// How a handshake came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// After SSLRequest and `S`: ALPN may be absent.
    Asked,
    /// At once: ALPN must be `postgresql` (PostgreSQL 17's rule, against confusion of protocols).
    Direct,
}

/// The certificate as it is now. A session that began with it keeps it.
#[derive(Debug, Clone)]
pub struct TlsSnapshot {
    config: Arc<ServerConfig>,
    end_point: Option<Arc<[u8]>>,
    expires: Option<SystemTime>,
}

impl TlsSnapshot {
    /// The rustls configuration.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The `tls-server-end-point` digest of the certificate, for SCRAM-SHA-256-PLUS; `None` when
    /// the certificate has none (Ed25519).
    pub fn end_point(&self) -> Option<&Arc<[u8]>> {
        self.end_point.as_ref()
    }

    /// When the first certificate of its chain expires; `None` where none of them tells.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Runs the handshake. The deadline is the caller's.
    ///
    /// # Errors
    /// What rustls says of the handshake, and [`io::ErrorKind::InvalidData`] for a direct one
    /// without the right ALPN.
    pub async fn accept(&self, socket: Socket, hello: Hello) -> io::Result<Accepted> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        // Boxed: the handshake's state is 2 KiB that a session's future should not keep.
        let tls = Box::pin(acceptor.accept(socket)).await?;
        // rustls has already refused a list of protocols without ours (no_application_protocol).
        if hello == Hello::Direct && tls.get_ref().1.alpn_protocol() != Some(ALPN_POSTGRESQL) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "direct TLS without ALPN `postgresql`",
            ));
        }
        let client_certificate = tls.get_ref().1.peer_certificates().is_some();
        Ok(Accepted {
            stream: Stream::Tls(Box::new(tls.into())),
            end_point: self.end_point.clone(),
            client_certificate,
        })
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Accepted {
    /// The encrypted stream.
    pub stream: Stream,
    /// What SCRAM-SHA-256-PLUS binds to.
    pub end_point: Option<Arc<[u8]>>,
    /// Whether the client showed a certificate, and so a good one.
    pub client_certificate: bool,
}

/// The listener's TLS. Follows its files: a good change is used for the next handshake, a bad one
/// is logged and changes nothing.
#[derive(Debug)]
pub struct ServerTls {
    settings: TlsSettings,
    current: RwLock<Loaded>,
}

type Stamps = [Option<Stamp>; 3];

#[derive(Debug)]
struct Loaded {
    snapshot: TlsSnapshot,
    stamps: Stamps,
}

impl ServerTls {
    /// Reads certificate, key and authorities. Reads files: for start-up.
    ///
    /// # Errors
    /// Every problem found.
    pub fn load(settings: TlsSettings) -> Result<Self, Vec<String>> {
        // Stamped before they are read: a change in between is seen as one.
        let stamps = stamps(&settings);
        let snapshot = read(&settings)?;
        Ok(Self { settings, current: RwLock::new(Loaded { snapshot, stamps }) })
    }

    /// Whether nobody comes in without a certificate of theirs.
    pub fn requires_certificate(&self) -> bool {
        self.settings.client_certificates == ClientCertificates::Required
    }

    /// The certificate as it is now. Take it once per connection.
    pub fn snapshot(&self) -> TlsSnapshot {
        self.current.read().unwrap_or_else(PoisonError::into_inner).snapshot.clone()
    }

    /// Reads the files again, whether they changed or not. Reads files: not for the data runtime.
    ///
    /// # Errors
    /// Every problem found; the old certificate stays in use.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        self.take(stamps(&self.settings))
    }

    /// Reads the files again if one of them looks different. Says whether it did.
    pub fn reload_if_changed(&self) -> Result<bool, Vec<String>> {
        let now = stamps(&self.settings);
        if now == self.current.read().unwrap_or_else(PoisonError::into_inner).stamps {
            return Ok(false);
        }
        self.take(now).map(|()| true)
    }

    fn take(&self, stamps: Stamps) -> Result<(), Vec<String>> {
        let result = read(&self.settings);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // A bad file is complained about once, not every ten seconds.
        current.stamps = stamps;
        current.snapshot = result?;
        Ok(())
    }

    /// Looks at the files now and then, for ever. For the control runtime.
    pub async fn watch(self: Arc<Self>) {
        let Some(every) = self.settings.reload_every.nonzero() else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(every.max(Duration::from_millis(100))).await;
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
                Ok(Ok(true)) => tracing::info!("tls certificate reloaded"),
                Ok(Ok(false)) => (),
                Ok(Err(problems)) => {
                    tracing::error!(?problems, "tls files are bad: the old certificate stays");
                }
                Err(_) => tracing::error!("the look at the tls files failed"),
            }
        }
    }
}

fn stamps(settings: &TlsSettings) -> Stamps {
    let stamp = |path: &Path| Stamp::of(path);
    [
        stamp(&settings.certificate),
        stamp(&settings.key),
        settings.client_ca.as_deref().and_then(stamp),
    ]
}

fn read(settings: &TlsSettings) -> Result<TlsSnapshot, Vec<String>> {
    let mut problems = Vec::new();
    let chain = pem::certificates(&settings.certificate).map_err(|p| problems.push(p)).ok();
    let key = pem::private_key(&settings.key).map_err(|p| problems.push(p)).ok();
    let verifier = client_verifier(settings).map_err(|p| problems.push(p)).ok();
    let (Some(chain), Some(key), Some(verifier)) = (chain, key, verifier) else {
        return Err(problems);
    };
    let end_point = chain.first().and_then(|leaf| end_point_digest(leaf)).map(Arc::from);
    let expires = chain.iter().filter_map(|certificate| not_after(certificate)).min();
    let tls = |e: rustls::Error| vec![format!("{}: {e}", settings.certificate.display())];
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(settings.minimum))
        .map_err(tls)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    // One certificate whatever name the client asks for: SNI selects nothing here.
    let mut config = builder.with_single_cert(chain, key).map_err(tls)?;
    config.alpn_protocols = vec![ALPN_POSTGRESQL.to_vec()];
    // PostgreSQL's clients do not resume sessions, and PostgreSQL gives no tickets either. Without
    // them a handshake sends less and a connection holds less.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsSnapshot { config: Arc::new(config), end_point, expires })
}

fn versions(minimum: TlsMinimum) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match minimum {
        TlsMinimum::Tls12 => &BOTH,
        TlsMinimum::Tls13 => &BOTH[..1],
    }
}

type ClientVerifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

fn client_verifier(settings: &TlsSettings) -> Result<Option<ClientVerifier>, String> {
    let ca = match (settings.client_certificates, settings.client_ca.as_deref()) {
        (ClientCertificates::Off, _) => return Ok(None),
        (_, None) => return Err("client_ca is missing, and client_certificates is not off".into()),
        (_, Some(path)) => path,
    };
    let roots = Roots::load(Some(ca)).map_err(|e| e.to_string())?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots.store()), provider());
    let builder = match settings.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Off | ClientCertificates::Required => builder,
    };
    builder.build().map(Some).map_err(|e| format!("{}: {e}", ca.display()))
}
