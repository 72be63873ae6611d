//! The SQLSTATEs pgusher itself sends (PostgreSQL documentation, appendix A).

use std::fmt;

/// Five bytes of class and code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

impl SqlState {
    /// The connection breaks the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    /// The tenant's PostgreSQL cannot be reached.
    pub const CONNECTION_FAILURE: Self = Self("08006");
    /// A feature pgusher does not carry.
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    /// A parameter value is wrong.
    pub const INVALID_PARAMETER_VALUE: Self = Self("22023");
    /// The console has no such command, or not in these words.
    pub const SYNTAX_ERROR: Self = Self("42601");
    /// The operator named nothing that is there.
    pub const UNDEFINED_OBJECT: Self = Self("42704");
    /// The console was told of a prepared statement it does not know.
    pub const UNDEFINED_STATEMENT: Self = Self("26000");
    /// The console was told of a portal it does not know.
    pub const UNDEFINED_CURSOR: Self = Self("34000");
    /// The operator's power does not reach so far.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self("42501");
    /// Token fine, but not for this database, role or transport.
    pub const INVALID_AUTHORIZATION: Self = Self("28000");
    /// Token missing, malformed, expired, revoked, or of the wrong key.
    pub const INVALID_PASSWORD: Self = Self("28P01");
    /// Tenant unknown to the registry.
    pub const INVALID_CATALOG_NAME: Self = Self("3D000");
    /// A limit of the tenant.
    pub const TOO_MANY_CONNECTIONS: Self = Self("53300");
    /// A limit of the server's budget.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self("53400");
    /// A statement outgrew a limit of pgusher.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self("54000");
    /// Session cut by an operator, by revocation, suspension or drain.
    pub const ADMIN_SHUTDOWN: Self = Self("57P01");
    /// Tenant suspended or being moved; or pgusher not ready.
    pub const CANNOT_CONNECT_NOW: Self = Self("57P03");
    /// A session idled too long inside a transaction.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self("25P03");
    /// A transaction lasted too long.
    pub const TRANSACTION_TIMEOUT: Self = Self("25P04");
    /// A session idled too long.
    pub const IDLE_SESSION_TIMEOUT: Self = Self("57P05");
    /// A query was cancelled.
    pub const QUERY_CANCELED: Self = Self("57014");
    /// A file of the configuration cannot be used.
    pub const CONFIG_FILE_ERROR: Self = Self("F0000");
    /// A bug of pgusher.
    pub const INTERNAL_ERROR: Self = Self("XX000");

    /// The five characters.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
