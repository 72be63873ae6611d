//! Which login, and which startup settings, a server connection was made with.

/// A small dense number for the login role of a server connection. Within a tenant, a server is
/// lent only to a client of its own login: PostgreSQL fixes the role at login, and a `SET ROLE`
/// could be undone by the client.
///
/// Usually `Role::index`; a tenant with one login for all (an adopted one) has one class.
///
/// Within a login a server may have a flavour: it was dialled with the startup settings of some
/// clients, and only those may have it. A server without one is for everybody of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    login: u8,
    flavour: u8,
}

/// More logins than roles exist; a bound, so that the ledger's stacks stay a short array.
const LOGINS_MAX: usize = 16;

/// Flavours of one tenant's servers, the plain one included.
pub(super) const FLAVOURS_MAX: usize = 8;

impl Class {
    /// The only class of a tenant with one login.
    pub const ONLY: Self = Self { login: 0, flavour: 0 };

    /// The plain class of the login numbered `login`, taken modulo 16.
    pub fn new(login: usize) -> Self {
        Self { login: u8::try_from(login % LOGINS_MAX).unwrap_or(0), flavour: 0 }
    }

    /// The same login, without a flavour.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { flavour: 0, ..self }
    }

    /// The same login, with the flavour numbered `flavour`; out of range there is none.
    #[must_use]
    pub(super) fn flavoured(self, flavour: usize) -> Self {
        let flavour = u8::try_from(flavour).ok().filter(|f| usize::from(*f) < FLAVOURS_MAX);
        Self { flavour: flavour.unwrap_or(0), ..self }
    }

    /// Whether servers of this class are for everybody of its login.
    pub fn is_plain(self) -> bool {
        self.flavour == 0
    }

    /// Whether a client of this class may have a server of class `other`.
    pub(super) fn takes(self, other: Self) -> bool {
        self.login == other.login && (other.is_plain() || self.flavour == other.flavour)
    }

    /// The number.
    pub(super) fn index(self) -> usize {
        usize::from(self.login) * FLAVOURS_MAX + usize::from(self.flavour)
    }
}
