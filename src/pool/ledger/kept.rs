//! Idle servers: how they come, how they are lent, how they are closed.

use std::time::{Duration, Instant};

use super::{Dials, Ledger, Waiter};
use crate::pool::{Asker, Class};

/// What is known of a server connection for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Stamp {
    /// When its slot was granted; once it is open, when that was.
    pub since: Instant,
    /// When it has grown too old.
    pub retires: Option<Instant>,
    /// The epoch it was made in.
    pub epoch: u32,
    /// When it was last lent.
    pub lent: Instant,
    /// A session has left something in its process that no command undoes: it ends with it.
    pub is_worn: bool,
}

/// An idle server.
pub(in crate::pool) struct Kept<V> {
    pub server: V,
    pub stamp: Stamp,
    /// When its last lease ended.
    pub parked: Instant,
    /// Whose that was; 0 for one that will not come back.
    pub session: u64,
}

impl<W, V> Ledger<W, V> {
    /// An idle server for a client of `class`, and whether it is the one it had last with nobody
    /// in between. Nobody who stands in line is passed by, except by a client that has to have
    /// its own server, held for it. `None` also when one may be dialed rather than taken from a
    /// session that is expected back: only where `is_roomy`.
    pub(in crate::pool) fn take_idle(
        &mut self,
        class: Class,
        asker: &Asker,
        is_roomy: bool,
        now: Instant,
    ) -> Option<(Kept<V>, bool)> {
        let passes = self.line.is_empty() || asker.is_held && asker.returns;
        if !passes || !self.lends() {
            return None;
        }
        let (kept, is_own) = match self.idle.take_own(class, asker) {
            Some(own) => (own, !asker.is_introduced),
            None if !self.line.is_empty() => return None,
            None => {
                let grows = is_roomy && !asker.is_stranger() && self.headroom() > 0;
                let picky = grows && matches!(self.dials, Dials::Open);
                (self.idle.take(class, picky, now)?, false)
            }
        };
        self.leased += 1;
        self.leases += 1;
        self.rest.ends(now);
        Some((kept, is_own))
    }

    /// Introduces a new session to an idle server that `pick` takes: it finds that one as if it had
    /// had it, but is told that it had not.
    pub(in crate::pool) fn introduce(
        &mut self,
        class: Class,
        asker: &mut Asker,
        now: Instant,
        pick: &mut dyn FnMut(&mut V) -> bool,
    ) {
        if self.line.is_empty() && self.lends() {
            asker.place = self.idle.introduce((class, asker.session), now, pick);
            asker.is_introduced = true;
        }
    }

    /// A lease ended well; the server is idle. With `hold`, it is put aside for its session.
    /// Returns where it lies.
    pub(in crate::pool) fn park(&mut self, class: Class, kept: Kept<V>, hold: bool) -> u32 {
        self.leased -= 1;
        self.note_rest(kept.parked);
        self.idle.put(class, kept, hold)
    }

    /// A lease of a server of `class` ended well, and it may be lent again: who gets it next, if it
    /// goes straight to the head of the line. That is where it would come to from the shelf, too,
    /// when it is the only one there.
    pub(in crate::pool) fn hand_on(&mut self, class: Class) -> Option<Waiter<W>> {
        let fits = self.line.head().is_some_and(|head| head.class.takes(class));
        if !fits || self.idle.len() > 0 {
            return None;
        }
        self.leases += 1;
        self.line.pop()
    }

    /// Takes the server idle for longest, but none that a client of `except` may have, to be
    /// closed.
    pub(super) fn shut_coldest(&mut self, except: Option<Class>, now: Instant) -> Option<Kept<V>> {
        let (at, _) = self.idle.coldest(except, except.is_none())?;
        self.shut_at(at, now)
    }

    fn shut_at(&mut self, at: u32, now: Instant) -> Option<Kept<V>> {
        let kept = self.idle.take_at(at)?;
        self.closes.begin(now);
        Some(kept)
    }

    /// Shows each idle server to `look`.
    pub(in crate::pool) fn each_idle(&self, look: &mut dyn FnMut(&V)) {
        self.idle.iter().for_each(|kept| look(&kept.server));
    }

    /// A rest begins if nobody has or wants a server.
    pub(super) fn note_rest(&mut self, now: Instant) {
        if self.leased == 0 && self.line.is_empty() {
            self.rest.begins(now);
        }
    }

    /// How far the tenant is from when it is expected to want its coldest idle server again. Where it
    /// has others at work, it wants that one the less the longer it has been idle.
    pub(in crate::pool) fn off(&self, now: Instant) -> Duration {
        let surplus = || {
            let (_, parked) = self.idle.coldest(None, false)?;
            Some(now.saturating_duration_since(parked))
        };
        self.rest.off(now).or_else(surplus).unwrap_or_default()
    }

    /// Takes the coldest idle server for another tenant, if it was idle for `least`.
    pub(in crate::pool) fn evict(&mut self, least: Duration, now: Instant) -> Option<Kept<V>> {
        self.idle.settle_all(now);
        let (at, parked) = self.idle.coldest(None, false)?;
        if now.saturating_duration_since(parked) < least {
            return None;
        }
        self.shut_at(at, now)
    }

    /// Its last server is no longer put aside for a session that asks for something else.
    pub(in crate::pool) fn let_go(&mut self, asker: &Asker) {
        self.idle.release(asker, false);
    }

    /// A session has ended: its last server is for others, or, worn, to be closed.
    pub(in crate::pool) fn forget(&mut self, asker: &Asker, now: Instant) -> Option<Kept<V>> {
        let at = self.idle.release(asker, true)?;
        self.shut_at(at, now)
    }

    /// Takes every idle server that is dead, too old, idle for too long or of an old epoch.
    pub(in crate::pool) fn sweep(
        &mut self,
        now: Instant,
        mut is_alive: impl FnMut(&mut V) -> bool,
    ) -> Vec<Kept<V>> {
        let (lends, epoch) = (self.lends(), self.epoch);
        let idle_max = self.limits.server_idle_timeout.nonzero();
        let spent = self.idle.extract(|kept| {
            !lends
                || kept.stamp.epoch != epoch
                || kept.stamp.retires.is_some_and(|at| at <= now)
                || idle_max.is_some_and(|d| now.saturating_duration_since(kept.parked) >= d)
                || !is_alive(&mut kept.server)
        });
        for _ in &spent {
            self.closes.begin(now);
        }
        spent
    }
}
