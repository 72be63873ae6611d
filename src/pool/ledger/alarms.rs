//! When a room has to be looked at although nobody does anything in it.
//!
//! One alarm is set at a time, and none while an earlier one is: it is looked then, and the next
//! one set. So a line that moves on sets one alarm in as long as its clients may wait, not one per
//! client.

use std::time::Instant;

use super::{Dials, Ledger, Waiter, WaiterId};

impl<W, V> Ledger<W, V> {
    /// When something may come for the line by itself: a pause of the dials is over, a server is no
    /// longer held for its session, or one may be closed to make way, or instead of one that does not
    /// end.
    pub(in crate::pool) fn wakes(&self, now: Instant) -> Option<Instant> {
        if self.line.is_empty() || self.is_paused {
            return None;
        }
        let resumes = self.dials.resumes().filter(|at| *at > now);
        let opens = self.clearing.opens().filter(|at| *at > now);
        let ages = self.closes.ages(now, super::CLOSE);
        let times = resumes.into_iter().chain(opens).chain(ages).chain(self.idle.releases(now));
        times.chain(self.rivals.ends(now)).min()
    }

    /// When the first in line will have waited too long. All may wait for the same time, so the
    /// others will have later.
    pub(in crate::pool) fn expires(&self) -> Option<Instant> {
        self.line.head().and_then(|head| self.gives_up(head))
    }

    /// Who has waited too long.
    pub(in crate::pool) fn overdue(&self, now: Instant) -> Option<WaiterId> {
        let head = self.line.head()?;
        self.gives_up(head).filter(|at| *at <= now).map(|_| head.id)
    }

    /// A span that leaves the clock's range is for ever.
    fn gives_up(&self, waiter: &Waiter<W>) -> Option<Instant> {
        waiter.asked.checked_add(self.limits.queue_timeout.nonzero()?)
    }

    /// The alarm to set, if there is none that is early enough. From here on it counts as set.
    pub(in crate::pool) fn set_alarm(&mut self, now: Instant) -> Option<Instant> {
        let mut at = self.expires();
        // Most often there is nothing else to wait for: this is on the way of every transaction.
        let is_plain = self.idle.len() == 0 && !self.has_rivals() && self.dials == Dials::Open;
        if !is_plain && let Some(wakes) = self.wakes(now) {
            at = Some(at.map_or(wakes, |at| at.min(wakes)));
        }
        let at = at?;
        if self.alarm.is_some_and(|set| set <= at) {
            return None;
        }
        self.alarm = Some(at);
        Some(at)
    }
}
