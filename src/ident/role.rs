//! What a session may do inside its tenant's database.

use std::fmt;
use std::str::FromStr;

/// The PostgreSQL role a session of a tenant runs as.
///
/// The order is the order of power: `Readonly < App < Owner`. [`Role::Sidecar`] stands apart: it
/// is pgusher's own hand in the tenant's database and no tenant token may name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// SELECT.
    Readonly,
    /// DML, also on what the owner creates later.
    App,
    /// Owns schema `public` and its tables; may create.
    Owner,
    /// pgusher itself: DML on `public` and the closed schema `pgusher`.
    Sidecar,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Readonly, Self::App, Self::Owner, Self::Sidecar];

    /// The word for it in tokens, in the registry and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readonly => "readonly",
            Self::App => "app",
            Self::Owner => "owner",
            Self::Sidecar => "sidecar",
        }
    }

    /// Three letters at most, for role names that must fit 63 bytes.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Readonly => "ro",
            Self::App => "app",
            Self::Owner => "own",
            Self::Sidecar => "sys",
        }
    }

    /// A small dense number, for arrays by role.
    pub fn index(self) -> usize {
        match self {
            Self::Readonly => 0,
            Self::App => 1,
            Self::Owner => 2,
            Self::Sidecar => 3,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// Reads a role a tenant may hold; `sidecar` is not one of them.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "readonly" => Ok(Self::Readonly),
            "app" => Ok(Self::App),
            "owner" => Ok(Self::Owner),
            _ => Err(UnknownRole),
        }
    }
}

/// Not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of: owner, app, readonly")]
pub struct UnknownRole;
