//! A room and the other processes that serve its tenant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Book, Room};
use crate::pool::deeds::Deeds;
use crate::pool::{Claim, Conn, Holder, News};

/// A server idle for less is about to be used again.
const IDLE_LEAST: Duration = Duration::from_millis(20);

impl<S: Conn> Room<S> {
    /// Tells the other processes that servers are wanted here.
    pub(super) fn claim(&self, book: &Book<S>) {
        let counts = book.counts();
        let wants = book.limits().server_max.saturating_sub(book.used()).min(counts.waiting);
        if wants > 0 {
            let (tenant, held) = (self.tenant.clone(), book.used());
            self.common.tell(News::Wants { tenant, held, wants });
        }
    }

    /// Another process wants servers: what is beyond this one's part is closed, idle ones now and
    /// leased ones as their leases end; and what nobody uses here, as far as it is wanted.
    pub(in crate::pool) fn hear_claim(
        self: &Arc<Self>,
        claim: &Claim,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        book.hear(claim.clone(), now);
        self.pump(&mut book, now, deeds);
        while book.counts().waiting == 0 && book.closing_soon(now) < claim.wants {
            let Some(kept) = book.evict(IDLE_LEAST, now) else { break };
            self.shut(kept.server, kept.stamp, now, deeds);
            self.common.counters.moved("process");
        }
        self.note_idle(&book);
    }

    /// Another process has closed a server of the tenant.
    pub(in crate::pool) fn hear_freed(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) {
        let mut book = self.book();
        book.freed();
        self.pump(&mut book, now, deeds);
    }

    /// Says who holds the cap over all processes.
    pub(in crate::pool) fn set_holder(
        self: &Arc<Self>,
        holder: Holder,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        book.set_holder(holder);
        self.pump(&mut book, now, deeds);
    }

    /// This process is number `place.0`, counted from zero, of `place.1`.
    pub(in crate::pool) fn set_place(
        self: &Arc<Self>,
        place: (u32, u32),
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        book.set_place(place.0, place.1);
        self.pump(&mut book, now, deeds);
    }
}
