//! What a server's certificate must be, by `sslmode`.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::Roots;

/// How much of a certificate is checked.
#[derive(Debug)]
pub(super) enum Check {
    /// That the server holds the key of whatever it shows (`require` without authorities).
    Key,
    /// That an authority stands for it (`verify-ca`).
    Chain(Roots),
    /// That it also bears the name we dialled (`verify-full`).
    ChainAndName(Roots),
}

/// A verifier that does as libpq's `sslmode` says. The handshake's signature is always checked.
#[derive(Debug)]
pub(super) struct ByMode {
    pub(super) check: Check,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ByMode {
    fn chain(
        &self,
        roots: &Roots,
        (leaf, parsed): (&CertificateDer<'_>, &ParsedCertificate<'_>),
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let store = roots.store();
        let algorithms = self.algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(
            parsed,
            store,
            intermediates,
            now,
            algorithms,
        ) {
            // A self-signed certificate named as its own authority, as PostgreSQL's manual makes
            // them: webpki will not have an authority serve. The operator named this very one, so
            // only the fault of being an authority is forgiven.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if roots.names(leaf) => {
                Ok(())
            }
            other => other,
        }
    }
}

impl ServerCertVerifier for ByMode {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Key => (),
            Check::Chain(roots) => {
                let parsed = ParsedCertificate::try_from(leaf)?;
                self.chain(roots, (leaf, &parsed), intermediates, now)?;
            }
            Check::ChainAndName(roots) => {
                let parsed = ParsedCertificate::try_from(leaf)?;
                self.chain(roots, (leaf, &parsed), intermediates, now)?;
                verify_server_name(&parsed, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
