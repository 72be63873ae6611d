//! How long a tenant's clients may take, to be read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Limits;
use crate::units::Span;

/// The timeouts of one tenant in force, in milliseconds; 0: none. Changed live, read by whoever
/// looks after sessions.
#[derive(Debug, Default)]
pub struct Timeouts([AtomicU64; 4]);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Of a query.
    Query,
    /// Of a transaction.
    Transaction,
    /// Of a client idle inside a transaction.
    IdleInTransaction,
    /// Of a client idle outside of one.
    ClientIdle,
}

impl Timeouts {
    pub(super) fn set(&self, limits: &Limits) {
        let spans = [
            limits.query_timeout,
            limits.transaction_timeout,
            limits.idle_in_transaction_timeout,
            limits.client_idle_timeout,
        ];
        for (slot, span) in self.0.iter().zip(spans) {
            slot.store(millis(span), Ordering::Relaxed);
        }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.0.iter().any(|slot| slot.load(Ordering::Relaxed) > 0)
    }

    /// Whether what has lasted for `millis` has lasted too long.
    pub fn is_over(&self, which: Timeout, millis: u64) -> bool {
        let limit = self.0[which as usize].load(Ordering::Relaxed);
        limit > 0 && millis >= limit
    }
}

/// No timeout is shorter than a millisecond, but for none.
fn millis(span: Span) -> u64 {
    span.nonzero().map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1))
}
