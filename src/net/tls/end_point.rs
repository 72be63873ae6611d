//! The `tls-server-end-point` digest of a certificate (RFC 5929 §4).

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use tokio_rustls::TlsStream;

use super::der::{CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, element};

// Object identifiers as they stand in DER.
const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const SHA384_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const SHA512_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const MD5_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
const PSS_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const SHA1_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const SHA256_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const SHA384_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const SHA512_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256_PLAIN: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384_PLAIN: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512_PLAIN: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// The digest of `certificate` (DER) that both ends of a SCRAM-SHA-256-PLUS exchange bind to.
///
/// The hash is the one of the certificate's signature, SHA-256 instead of MD5 and SHA-1. `None`
/// for signatures without a hash of their own (Ed25519), for which the RFC defines nothing and
/// PostgreSQL binds nothing, and for what is not a certificate.
pub fn end_point_digest(certificate: &[u8]) -> Option<Vec<u8>> {
    let hash = signature_hash(certificate)?;
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// The digest of the certificate the peer showed on `stream`.
pub fn peer_end_point<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    end_point_digest(certificates.first()?)
}

fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (name, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    match name {
        MD5_RSA | SHA1_RSA | SHA256_RSA | SHA1_ECDSA | SHA256_ECDSA => Some(&SHA256),
        SHA384_RSA | SHA384_ECDSA => Some(&SHA384),
        SHA512_RSA | SHA512_ECDSA => Some(&SHA512),
        PSS_RSA => pss_hash(parameters),
        _ => None,
    }
}

/// RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, … }
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(parameters, CONTEXT_0) else { return Some(&SHA256) };
    let (hash, _) = element(hash, SEQUENCE)?;
    let (name, _) = element(hash, OBJECT_IDENTIFIER)?;
    match name {
        SHA1 | SHA256_PLAIN => Some(&SHA256),
        SHA384_PLAIN => Some(&SHA384),
        SHA512_PLAIN => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).expect("key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        params.self_signed(&key).expect("sign").der().to_vec()
    }

    #[test]
    fn the_hash_follows_the_certificates_signature() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_RSA_SHA256, Some(32)),
            (&rcgen::PKCS_RSA_SHA512, Some(64)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let der = certificate(algorithm);
            let digest = end_point_digest(&der);
            assert_eq!(digest.as_ref().map(Vec::len), length, "{algorithm:?}");
            if length == Some(32) {
                assert_eq!(digest.as_deref(), Some(super::digest(&SHA256, &der).as_ref()));
            }
        }
    }

    #[test]
    fn the_hash_of_a_pss_signature_is_in_its_parameters() {
        let hash = |name: &[u8]| {
            let id = wrap(SEQUENCE, &wrap(OBJECT_IDENTIFIER, name));
            let params = wrap(SEQUENCE, &wrap(CONTEXT_0, &id));
            let algorithm = [wrap(OBJECT_IDENTIFIER, PSS_RSA), params].concat();
            let body = [wrap(SEQUENCE, b""), wrap(SEQUENCE, &algorithm)].concat();
            end_point_digest(&wrap(SEQUENCE, &body)).map(|digest| digest.len())
        };
        assert_eq!(hash(SHA256_PLAIN), Some(32));
        assert_eq!(hash(SHA384_PLAIN), Some(48));
        assert_eq!(hash(SHA512_PLAIN), Some(64));
        assert_eq!(hash(SHA1), Some(32));
        assert_eq!(hash(b"\x01"), None);
    }

    fn wrap(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).expect("short");
        [&[tag, 0x81, length], body].concat()
    }

    #[test]
    fn cut_off_and_lying_certificates_are_none() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len().min(64) {
            assert_eq!(end_point_digest(&der[..end]), None);
        }
        let mut lying = der.clone();
        for at in 0..24 {
            lying[at] ^= 0xff;
            let _ = end_point_digest(&lying);
        }
        assert_eq!(end_point_digest(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(end_point_digest(&[0x30, 0x80]), None);
    }
}
