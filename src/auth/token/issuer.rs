//! One issuer at work: its keys, and what its tokens may say.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use super::super::refusal::Refusal;
use super::claims::Unverified;
use super::keyring::Keyring;
use super::source::Source;
use super::{Algorithm, IssuerSettings};
use crate::ident::Role;

/// The kinds of token. Each has audiences of its own, and none passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Opens a tenant's database.
    Tenant,
    /// Opens the console and the ops API.
    Operator,
    /// pgusher's own hand in a tenant's database.
    Sidecar,
}

impl TokenKind {
    /// The `typ` of pgusher's own tokens of this kind.
    pub(super) fn typ(self) -> &'static str {
        match self {
            Self::Tenant => "tdb+jwt",
            Self::Operator => "op+jwt",
            Self::Sidecar => "side+jwt",
        }
    }
}

/// What an issuer's tokens may say, checked and ready for use.
pub(super) struct Issuer {
    keys: Keyring,
    pub(super) source: Option<Arc<Source>>,
    audiences: HashMap<Box<str>, TokenKind>,
    default_role: Option<Role>,
    roles: HashMap<Box<str>, Role>,
    pub(super) legacy_tenant_claim: bool,
    pub(super) access_types: Vec<String>,
    pub(super) lifetime_max: Option<Duration>,
    /// pgusher itself: its tokens carry the `typ` of their kind, and no other will do.
    pub(super) ours: bool,
}

impl Issuer {
    /// pgusher's own issuer.
    pub(super) fn ours(keys: Keyring, audiences: &[(&str, TokenKind)]) -> Self {
        Self {
            keys,
            source: None,
            audiences: audiences.iter().map(|(aud, kind)| ((*aud).into(), *kind)).collect(),
            default_role: None,
            roles: HashMap::new(),
            legacy_tenant_claim: false,
            access_types: Vec::new(),
            lifetime_max: None,
            ours: true,
        }
    }

    /// An issuer of the configuration. Reads its key files: for start-up.
    pub(super) fn from_settings(settings: &IssuerSettings) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut audiences = HashMap::new();
        let tenant = settings.audiences.iter().map(|aud| (aud, TokenKind::Tenant));
        let operator = settings.operator_audiences.iter().map(|aud| (aud, TokenKind::Operator));
        for (aud, kind) in tenant.chain(operator) {
            if aud.is_empty() {
                problems.push("an audience is empty".to_owned());
            }
            let before = audiences.insert(aud.as_str().into(), kind);
            if before.is_some_and(|before| before != kind) {
                problems.push(format!("`{aud}` is an audience of tenants and of operators"));
            }
        }
        if audiences.is_empty() {
            problems.push("`audiences` is empty: no token would be accepted".to_owned());
        }
        let mut role = |text: &str| {
            Role::from_str(text).map_err(|e| problems.push(format!("role `{text}`: {e}"))).ok()
        };
        let default_role = match settings.default_role.as_str() {
            "" => None,
            text => role(text),
        };
        let roles: HashMap<_, _> = (settings.roles.iter())
            .filter_map(|(word, name)| Some((word.as_str().into(), role(name)?)))
            .collect();
        let keys = Keyring::from_settings(&settings.keys).unwrap_or_else(|bad| {
            problems.extend(bad);
            Keyring::default()
        });
        let source = Source::from_settings(settings).unwrap_or_else(|bad| {
            problems.extend(bad);
            None
        });
        if problems.is_empty() && keys.is_empty() && source.is_none() {
            problems.push("no `keys`, `jwks_url` or `jwks_file`: nothing to verify with".into());
        }
        if settings.algorithms.contains(&Algorithm::Hs256) {
            problems.push("`algorithms` is about the JWKS, and HS256 is not possible there".into());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            keys,
            source: source.map(Arc::new),
            audiences,
            default_role,
            roles,
            legacy_tenant_claim: settings.legacy_tenant_claim,
            access_types: settings.access_types.clone(),
            lifetime_max: settings.lifetime_max.nonzero(),
            ours: false,
        })
    }

    /// Checks the token's signature with the key it asks for.
    pub(super) fn verify(&self, token: &Unverified<'_>) -> Result<(), Refusal> {
        let kid = token.kid.as_deref();
        let from_settings = match self.keys.pick(kid, token.algorithm) {
            Ok(key) => return key.verify(token.message, token.signature),
            Err(refusal) => refusal,
        };
        // A key of the configuration that does not fit is an answer; only a miss asks the JWKS.
        let (Refusal::UnknownKey, Some(source)) = (from_settings, &self.source) else {
            return Err(from_settings);
        };
        source.keys()?.pick(kid, token.algorithm)?.verify(token.message, token.signature)
    }

    /// Which kind of token this is, by audience and type.
    pub(super) fn kind(&self, token: &Unverified<'_>) -> Result<TokenKind, Refusal> {
        let aud = token.claims.aud.as_ref().ok_or(Refusal::Missing("aud"))?;
        let mut kinds = aud.iter().filter_map(|aud| self.audiences.get(aud).copied());
        let kind = kinds.next().ok_or(Refusal::Audience)?;
        if kinds.any(|other| other != kind) {
            // One token for two purposes is one purpose too many.
            return Err(Refusal::Audience);
        }
        let typ = token.typ.as_deref().map(|typ| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        });
        let fits = match typ.as_deref() {
            Some(typ) if self.ours => typ == kind.typ(),
            None => !self.ours,
            Some("jwt" | "at+jwt") => true,
            Some(typ) => typ == kind.typ() && kind != TokenKind::Sidecar,
        };
        if fits { Ok(kind) } else { Err(Refusal::TokenType) }
    }

    /// The role a tenant's token asks for. Never the sidecar's.
    pub(super) fn role(&self, word: Option<&str>) -> Result<Role, Refusal> {
        match word {
            Some(word) => self
                .roles
                .get(word)
                .copied()
                .or_else(|| Role::from_str(word).ok())
                .ok_or(Refusal::BadClaim("role")),
            None => self.default_role.ok_or(Refusal::Missing("role")),
        }
    }
}
