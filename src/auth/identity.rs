//! The proof that somebody is who they say.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::ident::{Role, TenantId};
use crate::units::hex;

/// The longest token id kept as it is; a longer one is kept as its digest.
const TOKEN_ID_BYTES_MAX: usize = 128;

/// What was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON web token.
    Jwt,
    /// An API key, by SCRAM.
    ApiKey,
}

impl Kind {
    /// The word for it in logs and in the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
        }
    }
}

/// What revocation calls a token or key by: the `jti`, or the id of an API key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// The id of a token with this `jti`, or of an API key with this id. An overlong one becomes
    /// its SHA-256, so that every process names it alike and none holds it whole.
    pub fn new(text: &str) -> Self {
        if text.len() <= TOKEN_ID_BYTES_MAX {
            Self(text.into())
        } else {
            Self::of_digest(super::digest(text.as_bytes()).as_ref())
        }
    }

    /// The id of a token without `jti`: the digest of what was signed. The signature is not part of
    /// it: of an ECDSA signature whoever has one can make another.
    pub(super) fn of_signed(message: &[u8]) -> Self {
        Self::of_digest(super::digest(message).as_ref())
    }

    fn of_digest(digest: &[u8]) -> Self {
        Self(hex(digest).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A proven identity: whose database, as which role, until when.
///
/// Only this room can make one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Proof>);

/// What an [`Identity`] is made of.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) kind: Kind,
    pub(super) renewable: bool,
    pub(super) tenant: TenantId,
    pub(super) role: Role,
    pub(super) subject: Box<str>,
    pub(super) token_id: TokenId,
    pub(super) issued_at: Option<SystemTime>,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) scopes: Vec<Box<str>>,
}

impl Identity {
    /// The one constructor: for the code of this room that has just verified `proof`.
    pub(super) fn proven(proof: Proof) -> Self {
        Self(Arc::new(proof))
    }

    /// An identity nobody proved, for the tests of the rooms above.
    #[cfg(test)]
    pub(crate) fn unproven(tenant: &TenantId, role: Role) -> Self {
        Self::proven(Proof {
            kind: Kind::Jwt,
            renewable: true,
            tenant: tenant.clone(),
            role,
            subject: "test".into(),
            token_id: TokenId::new("test"),
            issued_at: None,
            expires_at: None,
            scopes: Vec::new(),
        })
    }

    /// Whether a JWT or an API key proved it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether it is a token of pgusher's own, which a login has anew: its end is not its holder's.
    pub fn is_renewable(&self) -> bool {
        self.0.renewable
    }

    /// Whose database it opens.
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// As which role.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Who holds it: the token's `sub` (an admin's id), or the id of the API key.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What revocation calls it by.
    pub fn token_id(&self) -> &TokenId {
        &self.0.token_id
    }

    /// When it was issued, if it says so.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.0.issued_at
    }

    /// When it ends; `None` for an API key without end.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    /// The scopes it was given.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scopes.iter().map(|scope| &**scope)
    }

    /// Whether it was given `scope`.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|held| held == scope)
    }
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Power {
    /// Look.
    Stats,
    /// Look, and act.
    Admin,
}

impl Power {
    /// The word for it in tokens and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "stats" => Some(Self::Stats),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A proven operator. Opens the console and the ops API, and no tenant.
#[derive(Debug, Clone)]
pub struct Operator {
    pub(super) power: Power,
    pub(super) subject: Box<str>,
    pub(super) token_id: TokenId,
    pub(super) expires_at: SystemTime,
}

impl Operator {
    /// What they may do.
    pub fn power(&self) -> Power {
        self.power
    }

    /// Who they are, for the audit log.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What revocation calls the token by.
    pub fn token_id(&self) -> &TokenId {
        &self.token_id
    }

    /// When the token ends.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_are_bounded_and_the_same_everywhere() {
        assert_eq!(TokenId::new("abc").as_str(), "abc");
        let long = "x".repeat(5_000);
        assert_eq!(TokenId::new(&long), TokenId::new(&long));
        assert_eq!(TokenId::new(&long).as_str().len(), 64);
    }
}
