//! How servers flow through a room: granted, dialed, lent, returned, closed.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::{Book, Room};
use crate::fault::Fault;
use crate::pool::budget::Was;
use crate::pool::deeds::{Deed, Deeds};
use crate::pool::lease::Lease;
use crate::pool::ledger::{FullOf, Gate, Kept, Next, Stamp, Waiter, WaiterId};
use crate::pool::reach::{self, Reach};
use crate::pool::slot::{Order, Phase, Slot};
use crate::pool::ticket::Ticket;
use crate::pool::{Class, Conn, Grant, News, refusal};

/// Who gives a server back, and whether it is put aside for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Return {
    /// 0 for one that does not come again.
    pub session: u64,
    pub hold: bool,
    /// For how long it had it.
    pub lent: Duration,
}

impl<S: Conn> Room<S> {
    /// Serves the head of the line as far as it goes and tells the budget what is still wanted.
    pub(super) fn pump(self: &Arc<Self>, book: &mut Book<S>, now: Instant, deeds: &mut Deeds<S>) {
        book.forget_rivals(now);
        self.serve(book, false, now, deeds);
        self.beg(book, now, deeds);
    }

    /// Tells the budget what is wanted.
    pub(super) fn beg(self: &Arc<Self>, book: &mut Book<S>, now: Instant, deeds: &mut Deeds<S>) {
        let want = book.want(now);
        if want != book.told_want {
            book.told_want = want;
            self.till.with(deeds, |b, grants| b.want(self.seat, want, now, grants));
        }
        if self.till.is_pressed() && want > 0 {
            self.serve(book, true, now, deeds);
            self.seek(deeds);
        } else if self.till.owes() {
            self.common.stir();
        }
        if let Some(at) = book.set_alarm(now) {
            deeds.push(Deed::Alarm(Arc::clone(self), at));
        }
        self.note_idle(book);
    }

    /// Looks for a server that others leave idle: now, and every few milliseconds from now on.
    fn seek(&self, deeds: &mut Deeds<S>) {
        deeds.push(Deed::Evict(Arc::clone(&self.till)));
        self.common.stir();
    }

    fn serve(
        self: &Arc<Self>,
        book: &mut Book<S>,
        starved: bool,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        loop {
            match book.next(starved, now) {
                Next::Serve(waiter, mut kept) => {
                    if !kept.server.is_alive() {
                        book.unserve(waiter, now);
                        self.shut(kept.server, kept.stamp, now, deeds);
                        continue;
                    }
                    let lease = Lease::new(Arc::clone(self), kept.server, kept.stamp, now);
                    deeds.push(Deed::Hand(waiter.reach, Grant::Lease(lease)));
                }
                Next::Shut(kept) => self.shut(kept.server, kept.stamp, now, deeds),
                Next::Rest => break,
            }
        }
    }

    /// Closes a server the ledger counts as closing: its slot is promised on now and given back at
    /// its end of file.
    pub(super) fn shut(
        self: &Arc<Self>,
        server: S,
        stamp: Stamp,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        self.till.with(deeds, |b, grants| b.closing(self.seat, now, grants));
        self.shut_promised(server, stamp, now, deeds);
    }

    fn shut_promised(
        self: &Arc<Self>,
        server: S,
        stamp: Stamp,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let slot = Slot::closing(Arc::clone(self), server.class(), stamp, now);
        deeds.push(Deed::Shut(server, slot));
    }

    /// The budget granted a slot: the head of the line dials.
    pub(in crate::pool) fn granted(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) {
        let mut book = self.book();
        let dial = book.dial(now);
        let want = book.want(now);
        book.told_want = want;
        let Some((waiter, class, epoch)) = dial else {
            self.till.with(deeds, |b, grants| b.decline(self.seat, want, now, grants));
            return;
        };
        self.till.with(deeds, |b, grants| b.accept(self.seat, want, now, grants));
        let stamp = Stamp { since: now, retires: None, epoch, lent: now, is_worn: false };
        let order = Order { id: waiter.id, class: waiter.class, asked: waiter.asked };
        let slot = Slot::dialing(Arc::clone(self), order, class, stamp);
        deeds.push(Deed::Hand(waiter.reach, Grant::Dial(slot)));
        // An idle server may fit who is the head now.
        self.pump(&mut book, now, deeds);
    }

    /// A dial became a server.
    pub(in crate::pool) fn opened(
        self: &Arc<Self>,
        server: S,
        mut stamp: Stamp,
        now: Instant,
    ) -> Lease<S> {
        let took = now.saturating_duration_since(stamp.since);
        let mut deeds = Deeds::new();
        let mut book = self.book();
        book.opened();
        // A turn begins when there is something to use.
        stamp.since = now;
        let lifetime = book.limits().server_lifetime.nonzero();
        stamp.retires = lifetime.and_then(|span| now.checked_add(self.common.jittered(span)));
        self.till.with(&mut deeds, |b, grants| b.opened(self.seat, took, now, grants));
        self.pump(&mut book, now, &mut deeds);
        if self.till.is_pressed() {
            // There is a dial to spare: one of those who wait may have another's idle server.
            deeds.push(Deed::Evict(Arc::clone(&self.till)));
        }
        drop(book);
        self.common.counters.dialed("opened", took);
        let lease = Lease::new(Arc::clone(self), server, stamp, now);
        deeds.perform(now);
        lease
    }

    /// A slot came to its end.
    pub(in crate::pool) fn slot_ended(
        self: &Arc<Self>,
        phase: Phase,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let mut book = self.book();
        let was = match phase {
            Phase::Dialing => {
                book.dial_ended();
                book.dial_unknown(now);
                Was::Dialing
            }
            Phase::Closing(began) => {
                book.closed(began);
                if book.has_rivals() {
                    self.common.tell(News::Freed(self.tenant.clone()));
                }
                Was::Closing(began)
            }
        };
        self.free(&mut book, was, now, deeds);
    }

    fn free(
        self: &Arc<Self>,
        book: &mut MutexGuard<'_, Book<S>>,
        was: Was,
        now: Instant,
        deeds: &mut Deeds<S>,
    ) {
        let want = book.want(now);
        book.told_want = want;
        self.till.with(deeds, |b, grants| b.close(self.seat, was, want, now, grants));
        self.pump(book, now, deeds);
        if book.is_paused() && book.used() == 0 {
            self.common.stilled.notify_waiters();
        }
    }

    /// A dial with the login of `class` failed: the slot is given back, and those in line with
    /// nothing to hope for are told.
    pub(in crate::pool) fn dial_failed(self: &Arc<Self>, class: Class, why: &Fault, now: Instant) {
        let mut deeds = Deeds::new();
        let mut book = self.book();
        book.dial_ended();
        for waiter in book.dial_failed(class, now, self.common.pool.dial_backoff_max.get()) {
            deeds.push(Deed::Refuse(waiter.reach, refusal::unreachable(why)));
        }
        self.free(&mut book, Was::Dialing, now, &mut deeds);
        drop(book);
        self.common.counters.dialed("failed", std::time::Duration::ZERO);
        deeds.perform(now);
    }

    /// PostgreSQL was full: the client that dialed goes back to its place in line, if the tenant
    /// was not suspended meanwhile.
    pub(in crate::pool) fn refused_full(
        self: &Arc<Self>,
        order: Order,
        of: FullOf,
        now: Instant,
    ) -> Ticket<S> {
        let (reach, reply) = reach::reach();
        let mut deeds = Deeds::new();
        let mut book = self.book();
        book.dial_ended();
        if book.gate() == Gate::Open {
            let waiter = Waiter { id: order.id, class: order.class, asked: order.asked, reach };
            book.refused_full(waiter, of, now, self.common.pool.dial_backoff_max.get());
        } else {
            // Behind a closed gate nobody waits.
            deeds.push(Deed::Refuse(reach, self.refused(refusal::suspended(), "suspended")));
        }
        let was = match of {
            FullOf::Tenant => Was::Dialing,
            FullOf::Server => Was::Refused,
        };
        self.free(&mut book, was, now, &mut deeds);
        if of == FullOf::Tenant {
            self.claim(&book);
        } else {
            // The housekeeping knows when to try again.
            self.common.bell.notify_one();
        }
        drop(book);
        self.common.counters.dialed("full", std::time::Duration::ZERO);
        deeds.perform(now);
        Ticket::new(Arc::clone(self), order.id, order.asked, reply)
    }

    /// A lease ended well: the server goes to the next in line, to the idle ones, or, when another
    /// tenant's turn has come, away. Returns where it lies idle, if it does.
    pub(in crate::pool) fn finished(
        self: &Arc<Self>,
        server: S,
        stamp: Stamp,
        end: Return,
        now: Instant,
    ) -> Option<u32> {
        let class = server.class();
        let pressed = self.till.is_pressed();
        let mut book = self.book();
        book.leased_time += end.lent;
        book.forget_rivals(now);
        let spent = book.is_spent(&stamp, now) || stamp.is_worn && end.session == 0;
        let over = self.till.is_over();
        let (mut deeds, mut place) = (Deeds::new(), None);
        if !pressed && !spent && !over {
            if book.has_nobody_in_line() {
                let kept = Kept { server, stamp, parked: now, session: end.session };
                let place = book.park(class, kept, end.hold);
                self.note_idle(&book);
                return Some(place);
            }
            if !end.hold
                && let Some(waiter) = book.hand_on(class)
            {
                self.beg(&mut book, now, &mut deeds);
                drop(book);
                let lease = Lease::new(Arc::clone(self), server, stamp, now);
                deeds.hand(waiter.reach, Grant::Lease(lease), now);
                deeds.perform(now);
                return None;
            }
        }
        let age = now.saturating_duration_since(stamp.since);
        if spent {
            book.shut_leased(now);
            self.shut(server, stamp, now, &mut deeds);
        } else if over && self.till.with(&mut deeds, |b, grants| b.sheds(self.seat, now, grants)) {
            book.shut_leased(now);
            self.shut_promised(server, stamp, now, &mut deeds);
            self.common.counters.moved("split");
        } else if pressed
            && self.till.with(&mut deeds, |b, grants| b.yields(self.seat, age, now, grants))
        {
            book.shut_leased(now);
            self.shut_promised(server, stamp, now, &mut deeds);
            self.common.counters.moved("turn");
        } else {
            let kept = Kept { server, stamp, parked: now, session: end.session };
            place = Some(book.park(class, kept, end.hold));
        }
        self.pump(&mut book, now, &mut deeds);
        drop(book);
        deeds.perform(now);
        place
    }

    /// A lease ended, and its server with it.
    pub(in crate::pool) fn end_lease(self: &Arc<Self>, server: S, stamp: Stamp, now: Instant) {
        let mut deeds = Deeds::new();
        let mut book = self.book();
        book.leased_time += now.saturating_duration_since(stamp.lent);
        book.shut_leased(now);
        self.shut(server, stamp, now, &mut deeds);
        self.pump(&mut book, now, &mut deeds);
        drop(book);
        deeds.perform(now);
    }

    /// Closes idle servers for other tenants, as the budget's rules ask. Whether others need be asked
    /// for theirs.
    pub(in crate::pool) fn give_way(self: &Arc<Self>, now: Instant, deeds: &mut Deeds<S>) -> bool {
        let mut book = self.book();
        let mut more = true;
        while book.counts().idle > 0 {
            let Some(least) = self.till.with(deeds, |b, _| b.spares(self.seat, now)) else {
                more = false;
                break;
            };
            let Some(kept) = book.evict(least, now) else { break };
            self.till.with(deeds, |b, _| b.takes(now));
            self.shut(kept.server, kept.stamp, now, deeds);
            self.common.counters.moved("idle");
        }
        self.note_idle(&book);
        more
    }

    /// A client gave up. What was on its way to it is passed on by whoever sends it.
    pub(in crate::pool) fn abandoned(self: &Arc<Self>, id: WaiterId, now: Instant) {
        let mut deeds = Deeds::new();
        let mut book = self.book();
        let gone: Option<Waiter<Reach<S>>> = book.abandon(id, now);
        if gone.is_some() {
            self.pump(&mut book, now, &mut deeds);
        }
        drop(book);
        drop(gone);
        deeds.perform(now);
    }
}
