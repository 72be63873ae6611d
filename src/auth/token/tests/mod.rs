//! Tokens: what must pass, and what attackers send.

mod attacks;
mod jwks;
mod kinds;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::auth::{AuthMetrics, Identity};
use crate::fault::{Fault, SqlState};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn metrics() -> AuthMetrics {
    AuthMetrics::new(&prometheus::Registry::new()).expect("metrics")
}

/// A key pair of a foreign issuer.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    public: String,
    jwk: Value,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::Rs256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::Es256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDsa => &rcgen::PKCS_ED25519,
            Algorithm::Hs256 => panic!("a secret is no pair"),
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("key");
        let pem = pair.serialize_pem();
        let private = match algorithm {
            Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        let private = private.expect("private key");
        let public = pair.public_key_pem();
        let jwk = match algorithm {
            Algorithm::EdDsa => json!({
                "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw()),
            }),
            _ => serde_json::to_value(
                jsonwebtoken::jwk::Jwk::from_encoding_key(&private, algorithm.library())
                    .expect("jwk"),
            )
            .expect("json"),
        };
        Self { algorithm, private, public, jwk }
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, self.algorithm.library());
        format!("{message}.{}", signature.expect("sign"))
    }

    fn header(&self, kid: &str) -> Value {
        json!({ "alg": self.algorithm.as_str(), "typ": "JWT", "kid": kid })
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

fn plain_header() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "tenant-db", "sub": "admin-1", "jti": "t-1",
        "iat": NOW - 10, "exp": NOW + 900, "tenantId": "acme", "role": "owner",
        "scope": "db:connect db:copy",
    })
}

/// The claims with `change` laid over; `null` takes one away.
fn claims_with(change: Value) -> Value {
    let mut claims = claims();
    let (Value::Object(changes), Some(map)) = (change, claims.as_object_mut()) else {
        panic!("objects")
    };
    for (name, value) in changes {
        if value.is_null() {
            map.remove(&name);
        } else {
            map.insert(name, value);
        }
    }
    claims
}

fn issuer() -> IssuerSettings {
    IssuerSettings {
        issuer: "https://issuer.example".to_owned(),
        audiences: vec!["tenant-db".to_owned()],
        operator_audiences: vec!["ops".to_owned()],
        ..IssuerSettings::default()
    }
}

fn secret_key() -> KeySettings {
    KeySettings {
        algorithm: Some(Algorithm::Hs256),
        secret: SECRET.into(),
        ..KeySettings::default()
    }
}

fn public_key(pair: &Pair, kid: &str) -> KeySettings {
    KeySettings {
        kid: kid.to_owned(),
        algorithm: Some(pair.algorithm),
        public_key: pair.public.clone(),
        ..KeySettings::default()
    }
}

fn verifier_of(issuer: IssuerSettings) -> Verifier {
    let settings = TokenSettings { issuers: vec![issuer], ..TokenSettings::default() };
    Verifier::new(settings, None, metrics()).expect("settings")
}

/// A verifier with one HS256 issuer.
fn verifier() -> Verifier {
    verifier_of(IssuerSettings { keys: vec![secret_key()], ..issuer() })
}

fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Fault> {
    verifier.verify(token.as_bytes(), now(), Audience::Tenant)
}

/// Checks that a token is refused with the one public sentence, and why by the private cause.
#[track_caller]
fn refused(verifier: &Verifier, token: &[u8], why: &str) {
    let fault = verifier.verify(token, now(), Audience::Tenant).expect_err("must be refused");
    assert_eq!(fault.state(), SqlState::INVALID_PASSWORD);
    assert_eq!(fault.message(), "authentication failed: the token or key was not accepted");
    assert!(fault.detail_text().is_none() && fault.hint_text().is_none());
    let cause = std::error::Error::source(&fault).expect("a cause").to_string();
    assert!(cause.contains(why), "`{cause}` does not say `{why}`");
}
