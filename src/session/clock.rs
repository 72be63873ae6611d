//! What a session is at and since when, for whoever looks after its timeouts.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::pool::{Timeout, Timeouts};

/// What a session is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Doing {
    /// The client is idle outside of a transaction.
    #[default]
    Idle,
    /// It waits for a server; that has a timeout of its own.
    Waiting,
    /// Its query runs.
    Query,
    /// The client is idle inside a transaction.
    IdleInTransaction,
}

/// Milliseconds of this process, and in the lowest bits what has been done since then.
///
/// Written by the session when that changes, with the time only where its tenant has a timeout; read by
/// the one task that looks over all sessions, which tells the time of what was begun before there was
/// one. So nobody has a timer.
#[derive(Debug, Default)]
pub(super) struct Clock {
    since: AtomicU64,
    /// When the transaction began; 0: there is none.
    transaction: AtomicU64,
    /// The `since` of the query that was cancelled.
    cancelled: AtomicU64,
}

/// What is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The query, now for the first time.
    Query,
    /// The session.
    Session(Timeout),
}

const BITS: u64 = 2;

/// Never 0, which says that there is no time.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX >> BITS).saturating_add(1)
}

impl Clock {
    /// The session is at something else now, or at the next of the same.
    pub(super) fn turn(&self, doing: Doing) {
        let now = now();
        self.since.store(now << BITS | doing as u64, Ordering::Relaxed);
        match doing {
            Doing::Idle => self.transaction.store(0, Ordering::Relaxed),
            // In a transaction that it has begun without a server, perhaps.
            Doing::Waiting => {}
            Doing::Query | Doing::IdleInTransaction => {
                // Left as it is when it is running.
                let order = Ordering::Relaxed;
                let _ = self.transaction.compare_exchange(0, now, order, order);
            }
        }
    }

    /// As [`Self::turn`], where it need not be known since when.
    pub(super) fn untimed(&self, doing: Doing) {
        self.since.store(doing as u64, Ordering::Relaxed);
    }

    /// The query was not cancelled after all.
    pub(super) fn not_cancelled(&self) {
        self.cancelled.store(0, Ordering::Relaxed);
    }

    /// One transaction has ended; if the next is in hand, it begins now.
    pub(super) fn transaction_ended(&self) {
        self.transaction.store(0, Ordering::Relaxed);
    }

    /// What is overdue by these timeouts.
    pub(super) fn overdue(&self, timeouts: &Timeouts) -> Option<Overdue> {
        self.overdue_at(now(), timeouts)
    }

    fn overdue_at(&self, now: u64, timeouts: &Timeouts) -> Option<Overdue> {
        let stamp = self.since.load(Ordering::Relaxed);
        let doing = stamp & ((1 << BITS) - 1);
        if stamp >> BITS == 0 {
            // The timeout is newer than what the session is at: from here on it counts.
            let order = Ordering::Relaxed;
            let timed = self.since.compare_exchange(stamp, now << BITS | doing, order, order);
            let is_open = [Doing::Query as u64, Doing::IdleInTransaction as u64].contains(&doing);
            if timed.is_ok() && is_open {
                let _ = self.transaction.compare_exchange(0, now, order, order);
            }
            return None;
        }
        let lasted = now.saturating_sub(stamp >> BITS);
        let over = |which| timeouts.is_over(which, lasted);
        let began = self.transaction.load(Ordering::Relaxed);
        if began > 0 && timeouts.is_over(Timeout::Transaction, now.saturating_sub(began)) {
            return Some(Overdue::Session(Timeout::Transaction));
        }
        if doing == Doing::Idle as u64 && over(Timeout::ClientIdle) {
            return Some(Overdue::Session(Timeout::ClientIdle));
        }
        if doing == Doing::IdleInTransaction as u64 && over(Timeout::IdleInTransaction) {
            return Some(Overdue::Session(Timeout::IdleInTransaction));
        }
        let query = doing == Doing::Query as u64 && over(Timeout::Query);
        (query && self.cancelled.swap(stamp, Ordering::Relaxed) != stamp).then_some(Overdue::Query)
    }
}
