//! Reasons to end a live session from outside.

use super::live::Live;
use super::settings::TokenExpiry;
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::Timeout;

/// Why a live session is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its token or key was revoked.
    Revoked,
    /// Its tenant was suspended.
    Suspended,
    /// Its tenant's subscription lets it do less, or more, than when it came.
    Subscription,
    /// Its tenant is gone from the registry.
    Dropped,
    /// pgusher is shutting down.
    Drain,
    /// Its token expired and the settings say so.
    Expired,
    /// An operator ended it.
    Killed,
    /// Something took longer than its tenant's may.
    Overdue(Timeout),
}

impl Cut {
    const ALL: [Self; 11] = [
        Self::Revoked,
        Self::Suspended,
        Self::Subscription,
        Self::Dropped,
        Self::Drain,
        Self::Expired,
        Self::Killed,
        Self::Overdue(Timeout::Query),
        Self::Overdue(Timeout::Transaction),
        Self::Overdue(Timeout::IdleInTransaction),
        Self::Overdue(Timeout::ClientIdle),
    ];

    /// The code of a reason; 0 is none.
    pub(super) fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|cut| *cut == self).unwrap_or(0);
        u8::try_from(place + 1).unwrap_or(u8::MAX)
    }

    /// The reason of a code.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether a session may go on with it for a while: it may turn out to be over, or be outlasted
    /// by a transaction.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Overdue(_) | Self::Expired)
    }

    /// What the client is told. Its SQLSTATE is 57P01 whatever the reason, but for timeouts, which
    /// are told as PostgreSQL tells its own.
    pub fn fault(self) -> Fault {
        if let Self::Overdue(which) = self {
            return overdue(which);
        }
        let (blame, text) = match self {
            Self::Revoked => (Blame::Tenant, "the session's token was revoked"),
            Self::Suspended => (Blame::Tenant, "the tenant was suspended"),
            Self::Subscription => (Blame::Tenant, "the tenant's subscription has changed"),
            Self::Dropped => (Blame::Tenant, "the tenant no longer exists"),
            Self::Drain => (Blame::Tenant, "the proxy is shutting down"),
            Self::Expired => (Blame::Client, "the session's token has expired"),
            Self::Killed => (Blame::Tenant, "the session was ended by an operator"),
            Self::Overdue(_) => (Blame::Tenant, "the session took too long"),
        };
        Fault::new(blame, SqlState::ADMIN_SHUTDOWN, text)
    }
}

impl Live {
    /// Whether the transaction that the client is in, of which no server knows, is waited for.
    pub(super) fn outlasts(&self, why: Cut) -> bool {
        why == Cut::Expired && self.outlives(self.deferred.is_open())
    }

    /// Whether the session goes on although its token has expired.
    pub(super) fn outlives(&self, is_busy: bool) -> bool {
        is_busy && self.shared.parts.settings.token_expiry == TokenExpiry::Idle
    }
}

fn overdue(which: Timeout) -> Fault {
    let (state, text) = match which {
        Timeout::Query => (SqlState::QUERY_CANCELED, "canceling statement due to query timeout"),
        Timeout::Transaction => {
            (SqlState::TRANSACTION_TIMEOUT, "terminating connection due to transaction timeout")
        }
        Timeout::IdleInTransaction => (
            SqlState::IDLE_IN_TRANSACTION_TIMEOUT,
            "terminating connection due to idle-in-transaction timeout",
        ),
        Timeout::ClientIdle => {
            (SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout")
        }
    };
    let detail = "It is a limit of the tenant's, kept by the proxy.";
    Fault::new(Blame::Client, state, text).detail(detail)
}
