//! The id of a tenant, and the names PostgreSQL knows it by.

use std::fmt;
use std::sync::Arc;

use super::Role;

/// A tenant's id: `^[a-z0-9_]{1,56}$`, so that `tenant_<id>` fits PostgreSQL's 63 bytes.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// The longest id in bytes: 63 (`NAMEDATALEN - 1`) less the prefix `tenant_`.
const ID_BYTES_MAX: usize = 56;

impl TenantId {
    /// The prefix of every tenant's database.
    pub const DATABASE_PREFIX: &'static str = "tenant_";

    /// Reads an id.
    ///
    /// # Errors
    /// [`BadTenantId`] when `text` is empty, longer than 56 bytes, or has any byte outside
    /// `[a-z0-9_]`.
    pub fn parse(text: &str) -> Result<Self, BadTenantId> {
        let fits = (1..=ID_BYTES_MAX).contains(&text.len());
        let clean = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if fits && clean { Ok(Self(text.into())) } else { Err(BadTenantId) }
    }

    /// Reads the id out of a database name, `tenant_<id>`; `None` for any other name.
    pub fn from_database(name: &str) -> Option<Self> {
        name.strip_prefix(Self::DATABASE_PREFIX).and_then(|id| Self::parse(id).ok())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `tenant_<id>`: the tenant's database.
    pub fn database(&self) -> String {
        format!("{}{}", Self::DATABASE_PREFIX, self.0)
    }

    /// `t_<id>_<role>`: the login role of this tenant for `role`. At most 62 bytes, and never in
    /// PostgreSQL's reserved `pg_` space whatever the id.
    pub fn login_role(&self, role: Role) -> String {
        format!("t_{}_{}", self.0, role.suffix())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a tenant id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant id is 1 to 56 characters of a-z, 0-9 and _")]
pub struct BadTenantId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_postgresql_names() {
        let longest = "a".repeat(56);
        let id = TenantId::parse(&longest).expect("56 is allowed");
        assert_eq!(id.database().len(), 63);
        for role in Role::ALL {
            assert!(id.login_role(role).len() <= 63);
        }
        for bad in ["", "A", "a-b", "é", "a b", "a\0", &"a".repeat(57)] {
            assert_eq!(TenantId::parse(bad), Err(BadTenantId), "{bad:?}");
        }
    }

    #[test]
    fn database_names_round_trip() {
        let id = TenantId::parse("acme_1").expect("valid");
        assert_eq!(TenantId::from_database(&id.database()), Some(id));
        assert_eq!(TenantId::from_database("postgres"), None);
        assert_eq!(TenantId::from_database("tenant_"), None);
        assert_eq!(TenantId::from_database("tenant_A"), None);
    }
}
