//! Which login a server connection was made with.

/// A small dense number for the login role of a server connection. Within a tenant, a server is
/// lent only to a client of its own class: PostgreSQL fixes the role at login, and a `SET ROLE`
/// could be undone by the client.
///
/// Usually `Role::index`; a tenant with one login for all (an adopted one) has one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(u8);

/// More classes than roles exist; a bound, so that the ledger's stacks stay a short array.
const CLASSES_MAX: usize = 16;

impl Class {
    /// The only class of a tenant with one login.
    pub const ONLY: Self = Self(0);

    /// The class numbered `index`, taken modulo 16.
    pub fn new(index: usize) -> Self {
        Self(u8::try_from(index % CLASSES_MAX).unwrap_or(0))
    }

    /// The number.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
