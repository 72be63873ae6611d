//! Whom we trust: a file's authorities, or the system's.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::{pem, provider};

/// Authorities to check a server's certificate against.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    /// The certificates of the file themselves: people name a server's own certificate there.
    named: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Reads `file`, or the system's authorities. Reads files: not for the data runtime.
    pub fn load(file: Option<&Path>) -> io::Result<Self> {
        match file {
            Some(path) => Self::from_file(path),
            None => Ok(Self::of_system()),
        }
    }

    fn from_file(path: &Path) -> io::Result<Self> {
        let named = pem::certificates(path).map_err(io::Error::other)?;
        let mut store = RootCertStore::empty();
        for certificate in &named {
            store
                .add(certificate.clone())
                .map_err(|e| io::Error::other(format!("{}: {e}", path.display())))?;
        }
        Ok(Self { store: Arc::new(store), named: named.into() })
    }

    fn of_system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for problem in &found.errors {
            tracing::warn!(%problem, "a system certificate could not be read");
        }
        let mut store = RootCertStore::empty();
        // The system's bundle may hold what webpki can not read; that is not ours to fix.
        store.add_parsable_certificates(found.certs);
        Self { store: Arc::new(store), named: Arc::new([]) }
    }

    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// Whether `certificate` itself stands in the file.
    pub(super) fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        self.named.iter().any(|named| named == certificate)
    }

    /// A configuration that checks chain and name, for HTTP clients.
    pub fn client_config(&self) -> Result<rustls::ClientConfig, rustls::Error> {
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.store))
            .with_no_client_auth();
        Ok(config)
    }
}
