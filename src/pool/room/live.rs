//! What is done to a room while it works: other limits, suspension, recycling, sweeping.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Room;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::pool::deeds::{Deed, Deeds};
use crate::pool::figures::RoomFigures;
use crate::pool::ledger::Gate;
use crate::pool::{Conn, Limits, refusal};

impl<S: Conn> Room<S> {
    /// Counts a client in.
    pub(in crate::pool) fn count_in(&self, limits: &Limits) -> Result<(), Fault> {
        let mut book = self.book();
        if book.gate() != Gate::Open {
            return Err(self.refused(refusal::suspended(), "suspended"));
        }
        if !book.enter(limits.client_max) {
            return Err(
                self.refused(refusal::client_max(book.counts().clients, limits), "client_max")
            );
        }
        Ok(())
    }

    /// Sets the alarm for this room.
    pub(in crate::pool) fn set_alarm(self: &Arc<Self>, at: Instant) {
        self.common.set_alarm(self, at);
    }

    /// Whether nobody and nothing is here.
    pub(in crate::pool) fn is_empty(&self) -> bool {
        let book = self.book();
        book.counts().clients == 0 && book.used() == 0
    }

    /// Puts other limits in force. Dials stop at once where there are too many, idle servers
    /// beyond the cap are closed, leased ones as their leases end.
    pub(in crate::pool) fn relimit(
        self: &Arc<Self>,
        limits: &Limits,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        if book.limits() == limits {
            return;
        }
        self.till.with(deeds, |b, _| b.reweigh(self.seat, limits.server_min, limits.weight, now));
        book.relimit(limits.clone());
        self.timeouts.set(limits);
        self.pump(&mut book, now, deeds);
    }

    /// Opens or closes the gate. Behind a closed one nobody waits and nothing is idle.
    pub(in crate::pool) fn set_gate(
        self: &Arc<Self>,
        gate: Gate,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        book.set_gate(gate);
        if gate != Gate::Open {
            for waiter in book.dismiss() {
                let fault = self.refused(refusal::suspended(), "suspended");
                deeds.push(Deed::Refuse(waiter.reach, fault));
            }
        }
        self.pump(&mut book, now, deeds);
    }

    /// Stops serving, or goes on. While paused, those who ask wait in line, and servers are closed
    /// as they come back.
    pub(in crate::pool) fn set_paused(
        self: &Arc<Self>,
        is_paused: bool,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        book.set_paused(is_paused);
        self.pump(&mut book, now, deeds);
    }

    /// Whether it is paused and holds no server any more, or not paused at all.
    pub(in crate::pool) fn is_still(&self) -> bool {
        let book = self.book();
        !book.is_paused() || book.used() == 0
    }

    /// Shows each idle server to `look`. Under the lock: keep it short.
    pub(in crate::pool) fn each_idle(&self, look: &mut dyn FnMut(&TenantId, &S)) {
        self.book().each_idle(&mut |server| look(&self.tenant, server));
    }

    /// Lends none of its present servers again: idle ones are closed now, the others when their
    /// leases end.
    pub(in crate::pool) fn recycle(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) {
        self.book().recycle();
        self.sweep(now, deeds);
    }

    /// Closes idle servers that are dead or have had their time.
    pub(in crate::pool) fn sweep(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) {
        let mut book = self.book();
        for kept in book.sweep(now, S::is_alive) {
            self.shut(kept.server, kept.stamp, now, deeds);
        }
        self.pump(&mut book, now, deeds);
        let empty = book.counts().clients == 0 && book.used() == 0 && book.counts().waiting == 0;
        book.empty_since = empty.then(|| book.empty_since.unwrap_or(now));
    }

    /// Whether nobody and nothing has been here for `grace`.
    pub(in crate::pool) fn is_vacant(&self, grace: Duration, now: Instant) -> bool {
        let book = self.book();
        let since = book.empty_since.is_some_and(|at| now.saturating_duration_since(at) >= grace);
        since && book.counts().clients == 0 && book.used() == 0 && book.counts().waiting == 0
    }

    /// Its figures now.
    pub(in crate::pool) fn figures(&self, now: Instant) -> RoomFigures {
        let book = self.book();
        let counts = book.counts();
        let waits_for = (counts.waiting > 0).then(|| {
            let (_, totals, total) = self.till.figures(self.seat);
            refusal::waits_for(&book, totals, total)
        });
        RoomFigures {
            tenant: self.tenant.clone(),
            server: self.till.key().clone(),
            suspended: book.gate() != Gate::Open,
            paused: book.is_paused(),
            limits: book.limits().clone(),
            clients: counts.clients,
            waiting: counts.waiting,
            idle: counts.idle,
            leased: counts.leased,
            pinned: counts.pinned,
            dialing: counts.dialing,
            closing: counts.closing,
            pins: book.pins(),
            leases: book.leases,
            leased_time: book.leased_time,
            wait_time: Duration::from_micros(self.waited_us.load(Ordering::Relaxed)),
            transactions: self.transactions.load(Ordering::Relaxed),
            waits_for,
            oldest_wait: book.oldest().map(|at| now.saturating_duration_since(at)),
        }
    }
}
