//! Minting pgusher's own tokens.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::super::identity::{Power, TokenId};
use super::issuer::{Issuer, TokenKind};
use super::keyring::{self, Keyring, VerifyKey};
use super::{Algorithm, SignerSettings, SigningKeySettings};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::units::Secret;

/// The issuer and audience of the sidecar's tokens. Signed by a key that never leaves the
/// process's memory, so that nobody outside can mint one whatever files they read.
const SIDECAR: &str = "pgusher:sidecar";

/// How long a sidecar token lives: long enough to open one session.
const SIDECAR_LIFETIME: Duration = Duration::from_secs(60);

/// What an access token says.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whose database it opens.
    pub tenant: TenantId,
    /// As which role; never [`Role::Sidecar`].
    pub role: Role,
    /// Who holds it: an admin's id.
    pub subject: String,
    /// What it allows beyond its role.
    pub scopes: Vec<String>,
    /// How long it lives; `None`: as the settings say.
    pub lifetime: Option<Duration>,
}

/// A token just made.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// What revocation calls it by.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// Mints access, operator and sidecar tokens.
pub struct Signer {
    settings: SignerSettings,
    keys: Vec<SigningKey>,
    sidecar: SigningKey,
}

struct SigningKey {
    kid: String,
    pen: Pen,
}

enum Pen {
    Ed(Ed25519KeyPair),
    // The secret is kept for the verifier's half of it.
    Hs(Box<hmac::Key>, Secret),
}

/// Makes a fresh Ed25519 key as PKCS #8 PEM, fit for `auth.signer.keys` and for OpenSSL.
pub fn generate_signing_key() -> Result<Secret, Fault> {
    let der = Ed25519KeyPair::generate()
        .and_then(|pair| pair.to_pkcs8v1())
        .map_err(|_| broken("no key could be generated"))?;
    let body = STANDARD.encode(der.as_ref());
    Ok(Secret::from(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")))
}

impl Signer {
    /// Reads the signing keys. Reads files: for start-up.
    ///
    /// # Errors
    /// Every problem found, each with its key in the settings.
    pub fn new(settings: SignerSettings) -> Result<Self, Vec<String>> {
        let (mut keys, mut problems) = (Vec::<SigningKey>::new(), Vec::new());
        for (index, key) in settings.keys.iter().enumerate() {
            match SigningKey::load(key) {
                Ok(key) if keys.iter().any(|other| other.kid == key.kid) => {
                    problems.push(format!("keys[{index}]: two keys are called `{}`", key.kid));
                }
                Ok(key) => keys.push(key),
                Err(problem) => problems.push(format!("keys[{index}]: {problem}")),
            }
        }
        if settings.keys.is_empty() {
            problems.push("keys: there is no key to sign with".to_owned());
        }
        let names = [&settings.issuer, &settings.audience, &settings.operator_audience];
        if names.iter().any(|name| name.is_empty()) {
            problems.push("issuer, audience and operator_audience may not be empty".to_owned());
        }
        if settings.audience == settings.operator_audience {
            problems.push("audience and operator_audience must differ".to_owned());
        }
        if names.iter().any(|name| **name == SIDECAR) {
            problems.push(format!("`{SIDECAR}` is pgusher's own"));
        }
        let pair = Ed25519KeyPair::generate().map_err(|_| vec!["no random numbers".to_owned()])?;
        let sidecar = SigningKey { kid: "sidecar".to_owned(), pen: Pen::Ed(pair) };
        if problems.is_empty() { Ok(Self { settings, keys, sidecar }) } else { Err(problems) }
    }

    /// Mints an access token: it opens a session of its tenant.
    ///
    /// # Errors
    /// When asked for [`Role::Sidecar`] or an end beyond the calendar.
    pub fn access(&self, grant: &Grant, now: SystemTime) -> Result<Minted, Fault> {
        if grant.role == Role::Sidecar {
            return Err(broken("an access token may not be the sidecar's"));
        }
        let lifetime = grant.lifetime.unwrap_or(self.settings.access_lifetime.get());
        let mut claims = json!({
            "iss": self.settings.issuer,
            "aud": self.settings.audience,
            "sub": grant.subject,
            "tenantId": grant.tenant.as_str(),
            "role": grant.role.as_str(),
        });
        if let (false, Some(map)) = (grant.scopes.is_empty(), claims.as_object_mut()) {
            map.insert("scope".to_owned(), grant.scopes.join(" ").into());
        }
        self.current()?.mint(TokenKind::Tenant, claims, lifetime, now)
    }

    /// Mints an operator token: it opens the console and the ops API, and no tenant.
    pub fn operator(
        &self,
        power: Power,
        subject: &str,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<Minted, Fault> {
        let lifetime = lifetime.unwrap_or(self.settings.operator_lifetime.get());
        let claims = json!({
            "iss": self.settings.issuer,
            "aud": self.settings.operator_audience,
            "sub": subject,
            "operator": power.as_str(),
        });
        self.current()?.mint(TokenKind::Operator, claims, lifetime, now)
    }

    /// Mints the token with which pgusher itself enters a tenant's database, for a minute and
    /// this process only.
    pub fn sidecar(&self, tenant: &TenantId, now: SystemTime) -> Result<Minted, Fault> {
        let claims = json!({
            "iss": SIDECAR,
            "aud": SIDECAR,
            "sub": "sidecar",
            "tenantId": tenant.as_str(),
        });
        self.sidecar.mint(TokenKind::Sidecar, claims, SIDECAR_LIFETIME, now)
    }

    /// The public halves of the EdDSA keys as a JWKS, for others to verify with.
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = self.keys.iter().filter_map(SigningKey::jwk).collect();
        json!({ "keys": keys })
    }

    /// The two issuers a verifier believes because they are this signer.
    pub(super) fn issuers(&self) -> Result<[(String, Issuer); 2], Vec<String>> {
        let mut own = Keyring::default();
        for key in &self.keys {
            let half = key.public();
            half.and_then(|half| own.add(&key.kid, half)).map_err(|problem| vec![problem])?;
        }
        let mut internal = Keyring::default();
        let half = self.sidecar.public();
        half.and_then(|half| internal.add(&self.sidecar.kid, half))
            .map_err(|problem| vec![problem])?;
        let audiences = [
            (self.settings.audience.as_str(), TokenKind::Tenant),
            (self.settings.operator_audience.as_str(), TokenKind::Operator),
        ];
        Ok([
            (self.settings.issuer.clone(), Issuer::ours(own, &audiences)),
            (SIDECAR.to_owned(), Issuer::ours(internal, &[(SIDECAR, TokenKind::Sidecar)])),
        ])
    }

    fn current(&self) -> Result<&SigningKey, Fault> {
        self.keys.first().ok_or_else(|| broken("there is no key to sign with"))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self.keys.iter().map(|key| &key.kid).collect();
        f.debug_struct("Signer").field("kids", &kids).finish_non_exhaustive()
    }
}

impl SigningKey {
    fn load(settings: &SigningKeySettings) -> Result<Self, String> {
        let material = match (&settings.file, settings.secret.is_empty()) {
            (Some(_), false) => return Err("give `secret` or `file`, not both".to_owned()),
            (None, true) => return Err("`secret` or `file` is missing".to_owned()),
            (Some(path), true) => Secret::from(keyring::read(path)?.as_str()),
            (None, false) => settings.secret.clone(),
        };
        let pen = match settings.algorithm {
            Algorithm::Hs256 => {
                // Checked as a key to verify with: the same rules hold.
                VerifyKey::secret(material.expose().as_bytes())?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, material.expose().as_bytes());
                Pen::Hs(Box::new(key), material)
            }
            Algorithm::EdDsa => {
                let der = PrivatePkcs8KeyDer::from_pem_slice(material.expose().as_bytes())
                    .map_err(|_| "expected a PEM that begins with -----BEGIN PRIVATE KEY-----")?;
                let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der())
                    .map_err(|_| "not an Ed25519 key")?;
                Pen::Ed(pair)
            }
            other => return Err(format!("pgusher signs with EdDSA or HS256, not {other}")),
        };
        let kid = match (settings.kid.as_str(), &pen) {
            ("", Pen::Ed(pair)) => thumbprint(pair),
            ("", Pen::Hs(..)) => return Err("an HS256 key needs a `kid`".to_owned()),
            (kid, _) => kid.to_owned(),
        };
        Ok(Self { kid, pen })
    }

    fn mint(
        &self,
        kind: TokenKind,
        mut claims: serde_json::Value,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Minted, Fault> {
        let mut raw = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut raw).map_err(|_| broken("no random numbers"))?;
        let jti = URL_SAFE_NO_PAD.encode(raw);
        let issued = now.duration_since(UNIX_EPOCH).map_err(|_| broken("the clock is wrong"))?;
        let expires = issued
            .checked_add(lifetime)
            .filter(|end| end.as_secs() < 253_402_300_799)
            .ok_or_else(|| broken("the token would outlive the calendar"))?;
        if let Some(map) = claims.as_object_mut() {
            map.insert("iat".to_owned(), issued.as_secs().into());
            map.insert("exp".to_owned(), expires.as_secs().into());
            map.insert("jti".to_owned(), jti.as_str().into());
        }
        let header =
            json!({ "alg": self.algorithm().as_str(), "typ": kind.typ(), "kid": self.kid });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = match &self.pen {
            Pen::Ed(pair) => URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())),
            Pen::Hs(key, _) => URL_SAFE_NO_PAD.encode(hmac::sign(key, message.as_bytes())),
        };
        Ok(Minted {
            token: Secret::from(format!("{message}.{signature}")),
            id: TokenId::new(&jti),
            expires_at: UNIX_EPOCH + Duration::from_secs(expires.as_secs()),
        })
    }

    fn algorithm(&self) -> Algorithm {
        match self.pen {
            Pen::Ed(_) => Algorithm::EdDsa,
            Pen::Hs(..) => Algorithm::Hs256,
        }
    }

    fn public(&self) -> Result<VerifyKey, String> {
        match &self.pen {
            Pen::Ed(pair) => {
                let point = pair.public_key().as_ref();
                VerifyKey::checked(Algorithm::EdDsa, DecodingKey::from_ed_der(point))
            }
            // The verifier's half of an HMAC key is the key.
            Pen::Hs(_, secret) => VerifyKey::secret(secret.expose().as_bytes()),
        }
    }

    fn jwk(&self) -> Option<serde_json::Value> {
        let Pen::Ed(pair) = &self.pen else { return None };
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        Some(json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x,
        }))
    }
}

/// RFC 7638 for an Ed25519 key.
fn thumbprint(pair: &Ed25519KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(super::super::digest(canonical.as_bytes()))
}

fn broken(what: &'static str) -> Fault {
    Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, "the token could not be made").because(what)
}
