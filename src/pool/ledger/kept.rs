//! Idle servers, and how they leave the stack other than by being lent.

use std::time::{Duration, Instant};

use super::Ledger;
use crate::pool::Class;

/// What is known of a server connection for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Stamp {
    /// When its slot was granted.
    pub since: Instant,
    /// When it has grown too old.
    pub retires: Option<Instant>,
    /// The epoch it was made in.
    pub epoch: u32,
    /// When it was last lent.
    pub lent: Instant,
}

/// An idle server.
pub(in crate::pool) struct Kept<V> {
    pub server: V,
    pub stamp: Stamp,
    /// When its last lease ended.
    pub parked: Instant,
}

impl<W, V> Ledger<W, V> {
    /// Takes the server idle for longest, of any class but `except`, to be closed.
    pub(super) fn shut_coldest(&mut self, except: Option<Class>) -> Option<Kept<V>> {
        let stack = self
            .idle
            .iter_mut()
            .enumerate()
            .filter(|(n, _)| except.is_none_or(|class| class.index() != *n))
            .map(|(_, stack)| stack)
            .filter(|stack| !stack.is_empty())
            .min_by_key(|stack| stack[0].parked)?;
        let kept = stack.remove(0);
        self.idle_count -= 1;
        self.closing += 1;
        Some(kept)
    }

    /// Shows each idle server to `look`.
    pub(in crate::pool) fn each_idle(&self, look: &mut dyn FnMut(&V)) {
        self.idle.iter().flatten().for_each(|kept| look(&kept.server));
    }

    /// Takes the coldest idle server for another tenant, if it was idle for `least`.
    pub(in crate::pool) fn evict(&mut self, least: Duration, now: Instant) -> Option<Kept<V>> {
        let coldest = self.idle.iter().filter_map(|stack| stack.first()).map(|k| k.parked).min()?;
        if now.saturating_duration_since(coldest) < least {
            return None;
        }
        self.shut_coldest(None)
    }

    /// Takes every idle server that is dead, too old, idle for too long or of an old epoch.
    pub(in crate::pool) fn sweep(
        &mut self,
        now: Instant,
        mut is_alive: impl FnMut(&mut V) -> bool,
    ) -> Vec<Kept<V>> {
        let (lends, epoch) = (self.lends(), self.epoch);
        let idle_max = self.limits.server_idle_timeout.nonzero();
        let mut spent = Vec::new();
        for stack in &mut self.idle {
            spent.extend(stack.extract_if(.., |kept| {
                !lends
                    || kept.stamp.epoch != epoch
                    || kept.stamp.retires.is_some_and(|at| at <= now)
                    || idle_max.is_some_and(|d| now.saturating_duration_since(kept.parked) >= d)
                    || !is_alive(&mut kept.server)
            }));
        }
        let gone = u32::try_from(spent.len()).unwrap_or(u32::MAX);
        self.idle_count -= gone;
        self.closing += gone;
        spent
    }
}
