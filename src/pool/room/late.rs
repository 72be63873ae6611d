//! What comes to a room with time alone: pauses that end, clients that have waited too long.

use std::sync::Arc;
use std::time::Instant;

use super::{Book, Room};
use crate::pool::deeds::{Deed, Deeds};
use crate::pool::ledger::WaiterId;
use crate::pool::{Conn, refusal};

impl<S: Conn> Room<S> {
    /// Looks at the room again: its alarm has gone off.
    pub(in crate::pool) fn look(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) {
        let mut book = self.book();
        // Another may be set by now: this one was forgotten for an earlier one, or was that one.
        book.alarm = book.alarm.filter(|at| *at > now);
        while let Some(id) = book.overdue(now) {
            self.refuse_late(&mut book, id, now, deeds);
        }
        self.pump(&mut book, now, deeds);
    }

    /// A client has waited too long: out of the line with it, and the reason why.
    fn refuse_late(&self, book: &mut Book<S>, id: WaiterId, now: Instant, deeds: &mut Deeds<S>) {
        let Some(position) = book.position(id) else { return };
        let counts = book.counts();
        let Some(gone) = book.abandon(id, now) else { return };
        let (share, totals, total) = self.till.figures(self.seat);
        let waited = now.saturating_duration_since(gone.asked);
        let wait = refusal::Wait { position, waited };
        let limit = refusal::limit(book, totals.is_full);
        let fault = match limit {
            refusal::Limit::Paused => refusal::paused(counts, wait),
            refusal::Limit::Tenant => refusal::tenant_full(counts, book.limits(), wait),
            refusal::Limit::Processes => refusal::processes_full(counts, book.cap(), wait),
            refusal::Limit::Dial(of) => refusal::postgres_full(of, counts, wait),
            refusal::Limit::Unreachable => refusal::unreachable_after(wait),
            refusal::Limit::Budget => refusal::budget_full(share, totals, total, wait),
        };
        deeds.push(Deed::Refuse(gone.reach, self.refused(fault, limit.as_str())));
    }

    /// The time of one in line is up.
    #[cfg(test)]
    pub(in crate::pool) fn expire(self: &Arc<Self>, id: WaiterId, now: Instant) {
        let mut deeds = Deeds::new();
        let mut book = self.book();
        self.refuse_late(&mut book, id, now, &mut deeds);
        self.pump(&mut book, now, &mut deeds);
        drop(book);
        deeds.perform(now);
    }
}
