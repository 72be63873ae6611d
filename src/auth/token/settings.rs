//! What an operator says about tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Algorithm;
use crate::units::{Secret, Size, Span};

/// `[auth.tokens]`: which tokens are believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// How far clocks may differ, for `exp` and `nbf`.
    pub leeway: Span,
    /// The longest token.
    pub length_max: Size,
    /// How many verified tokens are remembered (about 600 bytes each).
    pub cache_entries_max: u64,
    /// How long a verified token is remembered, at most until it expires.
    pub cache_lifetime: Span,
    /// Others who may issue tokens. pgusher's own are always believed.
    pub issuers: Vec<IssuerSettings>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            leeway: Span::secs(30),
            length_max: Size::kib(16),
            cache_entries_max: 50_000,
            cache_lifetime: Span::secs(60),
            issuers: Vec::new(),
        }
    }
}

/// `[[auth.tokens.issuers]]`: one who issues tokens, and how to check them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerSettings {
    /// The `iss` of its tokens, compared byte by byte.
    pub issuer: String,
    /// The `aud` values that make a token one for tenant sessions.
    pub audiences: Vec<String>,
    /// The `aud` values that make a token one for operators. None: it has no operators.
    pub operator_audiences: Vec<String>,
    /// Keys that do not change by themselves.
    pub keys: Vec<KeySettings>,
    /// Where its keys are published: `https://…` (`http://` on loopback only).
    pub jwks_url: String,
    /// A file with its keys, read again when it changes.
    pub jwks_file: Option<PathBuf>,
    /// A PEM file with the authorities the JWKS server's certificate is checked against, instead
    /// of the system's.
    pub jwks_ca_file: Option<PathBuf>,
    /// The algorithms that keys from the JWKS may have. HS256 is not possible there.
    pub algorithms: Vec<Algorithm>,
    /// How often the JWKS is read.
    pub jwks_refresh: Span,
    /// The shortest time between two reads, however many tokens name an unknown key.
    pub jwks_refresh_min: Span,
    /// For how long keys are used when the JWKS can not be read any more.
    pub jwks_stale_max: Span,
    /// The role of a token without the claim `role`; empty: such a token is refused.
    pub default_role: String,
    /// Other words this issuer uses in `role`, and the role they mean.
    pub roles: BTreeMap<String, String>,
    /// Whether `churchId` is read as an older name of `tenantId`.
    pub legacy_tenant_claim: bool,
    /// What a token may call itself in the claims `typ`, `type`, `token_use` and `token_type`;
    /// any other word there (`refresh`, `id`, …) refuses it.
    pub access_types: Vec<String>,
    /// The longest life of a token, from `iat` (or from now) to `exp`; 0: any.
    pub lifetime_max: Span,
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            operator_audiences: Vec::new(),
            keys: Vec::new(),
            jwks_url: String::new(),
            jwks_file: None,
            jwks_ca_file: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
            jwks_refresh: Span::mins(5),
            jwks_refresh_min: Span::secs(30),
            jwks_stale_max: Span::mins(60),
            default_role: "app".to_owned(),
            roles: BTreeMap::new(),
            legacy_tenant_claim: true,
            access_types: ["access", "bearer", "jwt", "at+jwt", "access_token"]
                .map(str::to_owned)
                .to_vec(),
            lifetime_max: Span::default(),
        }
    }
}

/// `[[auth.tokens.issuers.keys]]`: one key, and the one algorithm it is for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySettings {
    /// The `kid` of tokens made with it; empty: tokens that name no key, or none we know.
    pub kid: String,
    /// The algorithm; needed.
    pub algorithm: Option<Algorithm>,
    /// HS256: the secret, 32 bytes or more.
    pub secret: Secret,
    /// Others: the public key as PEM (`-----BEGIN PUBLIC KEY-----`).
    pub public_key: String,
    /// A file that holds what `secret` or `public_key` would; a trailing newline is dropped.
    pub file: Option<PathBuf>,
}

/// `[auth.signer]`: the tokens pgusher itself mints.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignerSettings {
    /// The `iss` of pgusher's tokens.
    pub issuer: String,
    /// The `aud` of tokens for tenant sessions.
    pub audience: String,
    /// The `aud` of tokens for operators.
    pub operator_audience: String,
    /// How long an access token lives.
    pub access_lifetime: Span,
    /// How long an operator token lives when nothing else is asked for.
    pub operator_lifetime: Span,
    /// The keys: the first signs, all verify. To change keys give every process the new one behind
    /// the old one and restart them all, then put it first and restart them again, and drop the
    /// old one when its last token has expired.
    pub keys: Vec<SigningKeySettings>,
}

impl Default for SignerSettings {
    fn default() -> Self {
        Self {
            issuer: "pgusher".to_owned(),
            audience: "pgusher".to_owned(),
            operator_audience: "pgusher-operator".to_owned(),
            access_lifetime: Span::mins(15),
            operator_lifetime: Span::mins(60),
            keys: Vec::new(),
        }
    }
}

/// `[[auth.signer.keys]]`: one signing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningKeySettings {
    /// The `kid` of tokens made with it; empty: EdDSA keys are named by their thumbprint
    /// (RFC 7638).
    pub kid: String,
    /// `EdDSA`, or `HS256` for those who must.
    pub algorithm: Algorithm,
    /// The key: a PKCS #8 PEM for EdDSA, 32 bytes or more of secret for HS256.
    pub secret: Secret,
    /// A file that holds it instead.
    pub file: Option<PathBuf>,
}

impl Default for SigningKeySettings {
    fn default() -> Self {
        Self {
            kid: String::new(),
            algorithm: Algorithm::EdDsa,
            secret: Secret::default(),
            file: None,
        }
    }
}
