//! A token taken apart, before anything in it is believed.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::super::refusal::Refusal;
use super::Algorithm;

/// The latest instant read: the year 9999. Later ones overflow somebody's clock.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// The longest `kid`, `sub`, `iss` or scope, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// The most scopes read.
const SCOPES_MAX: usize = 64;

/// What of a JOSE header matters here. `jwk`, `jku`, `x5u` and `x5c` are not read at all: a token
/// does not bring its own key.
#[derive(Debug, Deserialize)]
struct RawHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    typ: Option<Cow<'a, str>>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    b64: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    enc: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    zip: Option<serde::de::IgnoredAny>,
}

/// One or several words, as `aud` and scopes are written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(word) => (Some(word.as_str()), &[][..]),
            Self::Many(words) => (None, words.as_slice()),
        };
        one.into_iter().chain(many.iter().map(String::as_str))
    }
}

/// The claims that matter here; others are passed over. A claim given twice is an error.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: Option<String>,
    pub(super) aud: Option<Words>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    iat: Option<serde_json::Number>,
    pub(super) sub: Option<String>,
    pub(super) jti: Option<String>,
    #[serde(rename = "tenantId")]
    pub(super) tenant: Option<String>,
    #[serde(rename = "churchId")]
    pub(super) church: Option<String>,
    pub(super) role: Option<String>,
    pub(super) operator: Option<String>,
    scope: Option<Words>,
    // Where issuers say "refresh" or "id" (Keycloak, Cognito, hand-written ones).
    typ: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    token_use: Option<String>,
    token_type: Option<String>,
}

/// A token in its three parts, nothing of it verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Claims,
    /// What was signed.
    pub(super) message: &'a [u8],
    /// The signature, still in base64url.
    pub(super) signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Takes `token` apart. Its length is bounded by the caller.
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(token).map_err(|_| Refusal::Malformed("not UTF-8"))?;
        let (message, signature) =
            text.rsplit_once('.').ok_or(Refusal::Malformed("not three parts"))?;
        let (header, payload) =
            message.split_once('.').ok_or(Refusal::Malformed("not three parts"))?;
        if payload.contains('.') || signature.is_empty() {
            return Err(Refusal::Malformed("not three parts"));
        }
        let header = decode(header)?;
        let header: RawHeader<'_> = serde_json::from_slice(&header)
            .map_err(|_| Refusal::Malformed("the header is not what it should be"))?;
        if header.crit.is_some() {
            return Err(Refusal::Header("crit"));
        }
        if header.b64.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(Refusal::Header("b64, enc or zip"));
        }
        let algorithm = Algorithm::from_name(&header.alg).ok_or(Refusal::Algorithm)?;
        let claims: Claims = serde_json::from_slice(&decode(payload)?)
            .map_err(|_| Refusal::Malformed("the claims are not what they should be"))?;
        let kid = header.kid.map(Cow::into_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > TEXT_BYTES_MAX) {
            return Err(Refusal::Malformed("the key id is too long"));
        }
        let typ = header.typ.map(Cow::into_owned);
        Ok(Self { algorithm, kid, typ, claims, message: message.as_bytes(), signature })
    }
}

impl Claims {
    /// `exp`: when it ends.
    pub(super) fn expires(&self) -> Result<SystemTime, Refusal> {
        instant(self.exp.as_ref(), "exp")?.ok_or(Refusal::Missing("exp"))
    }

    /// `nbf`: when it begins.
    pub(super) fn begins(&self) -> Result<Option<SystemTime>, Refusal> {
        instant(self.nbf.as_ref(), "nbf")
    }

    /// `iat`: when it was made.
    pub(super) fn issued(&self) -> Result<Option<SystemTime>, Refusal> {
        instant(self.iat.as_ref(), "iat")
    }

    /// `sub`, bounded.
    pub(super) fn subject(&self) -> Result<Box<str>, Refusal> {
        match self.sub.as_deref() {
            Some(text) if text.len() <= TEXT_BYTES_MAX => Ok(text.into()),
            Some(_) => Err(Refusal::BadClaim("sub")),
            None => Ok("".into()),
        }
    }

    /// `scope`: words with spaces between (RFC 8693), or a list.
    pub(super) fn scopes(&self) -> Result<Vec<Box<str>>, Refusal> {
        let words = self.scope.iter().flat_map(Words::iter).flat_map(str::split_ascii_whitespace);
        let scopes: Vec<Box<str>> = words.take(SCOPES_MAX + 1).map(Into::into).collect();
        let fits = scopes.iter().all(|scope| scope.len() <= TEXT_BYTES_MAX);
        if fits && scopes.len() <= SCOPES_MAX {
            Ok(scopes)
        } else {
            Err(Refusal::BadClaim("scope"))
        }
    }

    /// Whether the claims themselves call it something else than an access token. Issuers that
    /// sign refresh, identity or password-reset tokens with the same key mark them so.
    pub(super) fn is_not_for_access(&self, access_types: &[String]) -> bool {
        let marks = [&self.typ, &self.kind, &self.token_use, &self.token_type];
        marks
            .into_iter()
            .flatten()
            .any(|mark| !access_types.iter().any(|allowed| allowed.eq_ignore_ascii_case(mark)))
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed("not base64url"))
}

/// Reads a NumericDate: seconds since 1970, whole or not.
fn instant(
    number: Option<&serde_json::Number>,
    claim: &'static str,
) -> Result<Option<SystemTime>, Refusal> {
    let Some(number) = number else { return Ok(None) };
    let seconds = number.as_f64().ok_or(Refusal::BadClaim(claim))?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(Refusal::BadClaim(claim));
    }
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| Refusal::BadClaim(claim))?;
    UNIX_EPOCH.checked_add(since).map(Some).ok_or(Refusal::BadClaim(claim))
}
