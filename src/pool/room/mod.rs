//! The room of one tenant: its ledger behind its lock, its seat at the server's budget.
//!
//! The lock is held for a few instructions and never across an await. Lending an idle server and
//! taking it back with nobody waiting is one lock and one pop or push, without an allocation.
//! Every method takes the time, so that histories can be tested without waiting for it.

mod flow;
mod late;
mod live;
mod pins;
mod rivals;

pub(super) use flow::Return;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::budget::Seat;
use super::class::FLAVOURS_MAX;
use super::common::Common;
use super::deeds::Deeds;
use super::lease::Lease;
use super::ledger::{Gate, Kept, Ledger, Stamp};
use super::reach::{self, Reach};
use super::refusal;
use super::ticket::Ticket;
use super::till::Till;
use super::{Asker, Attempt, Class, Conn, Grant, Limits, News, Timeouts, lock};
use crate::fault::Fault;
use crate::ident::{ServerKey, TenantId};

/// A tenant's ledger with its parts filled in.
pub(super) type Book<S> = Ledger<Reach<S>, S>;

/// Where a tenant's clients and servers meet.
pub struct Room<S: Conn> {
    tenant: TenantId,
    till: Arc<Till<S>>,
    seat: Seat,
    common: Arc<Common<S>>,
    /// How many servers were idle when the lock was last held. A hint for evictions.
    idle: AtomicU32,
    timeouts: Arc<Timeouts>,
    /// Transactions of its clients.
    transactions: AtomicU64,
    /// Microseconds that those who were served from the line had waited.
    waited_us: AtomicU64,
    /// What the flavours of its classes stand for, from the first on.
    flavours: Mutex<Vec<u128>>,
    book: Mutex<Book<S>>,
}

impl<S: Conn> Room<S> {
    pub(super) fn open(
        tenant: TenantId,
        till: Arc<Till<S>>,
        common: Arc<Common<S>>,
        limits: Limits,
        (is_paused, place): (bool, (u32, u32)),
    ) -> Arc<Self> {
        let mut book = Ledger::new(limits);
        book.set_place(place.0, place.1);
        common.tell(News::Opened(tenant.clone()));
        let (min, weight) = (book.limits().server_min, book.limits().weight);
        book.set_paused(is_paused);
        let timeouts = Arc::<Timeouts>::default();
        timeouts.set(book.limits());
        Arc::new_cyclic(|weak| Self {
            seat: till.join(weak.clone(), min, weight),
            tenant,
            till,
            common,
            idle: AtomicU32::new(0),
            timeouts,
            transactions: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            flavours: Mutex::new(Vec::new()),
            book: Mutex::new(book),
        })
    }

    /// Whose room it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The PostgreSQL server it leads to.
    pub fn server(&self) -> &ServerKey {
        self.till.key()
    }

    /// How long its clients may take.
    pub fn timeouts(&self) -> &Arc<Timeouts> {
        &self.timeouts
    }

    /// Counts transactions that ended, for the statistics.
    pub fn count_transactions(&self, count: u64) {
        self.transactions.fetch_add(count, Ordering::Relaxed);
    }

    /// A client was served after standing in line.
    pub(super) fn count_wait(&self, waited: Duration) {
        self.common.counters.waited(waited);
        let micros = waited.as_secs().saturating_mul(1_000_000);
        let micros = micros.saturating_add(u64::from(waited.subsec_micros()));
        self.waited_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// The flavour of `class` for servers dialled with startup settings of that fingerprint; the
    /// plain class when the tenant's clients have too many different ones.
    pub fn flavour(&self, class: Class, fingerprint: u128) -> Class {
        let mut known = lock(&self.flavours);
        let at = known.iter().position(|known| *known == fingerprint).or_else(|| {
            (known.len() + 1 < FLAVOURS_MAX).then(|| {
                known.push(fingerprint);
                known.len() - 1
            })
        });
        at.map_or(class, |at| class.flavoured(at + 1))
    }

    /// Asks for a server connection of `class`: an idle one, the right to dial one, or a place in
    /// line. `asker` gets the one it had last while nobody else has had it.
    ///
    /// # Errors
    /// 53300 when the tenant's line is full, 57P03 when the tenant is suspended; with the figures.
    pub fn lease(self: &Arc<Self>, class: Class, asker: &Asker) -> Result<Attempt<S>, Fault> {
        self.lease_at(class, asker, super::now())
    }

    pub(super) fn lease_at(
        self: &Arc<Self>,
        class: Class,
        asker: &Asker,
        now: Instant,
    ) -> Result<Attempt<S>, Fault> {
        loop {
            let mut book = self.book();
            let is_roomy = self.till.is_roomy();
            let Some((kept, is_own)) = book.take_idle(class, asker, is_roomy, now) else {
                return self.wait_in_line(book, class, asker, now);
            };
            self.note_idle(&book);
            drop(book);
            let Kept { mut server, stamp, .. } = kept;
            if server.is_alive() {
                let lease = Lease::new(Arc::clone(self), server, stamp, now);
                return Ok(Attempt::Ready(lease.returned(is_own)));
            }
            // It was never lent.
            self.end_lease(server, Stamp { lent: now, ..stamp }, now);
        }
    }

    /// Introduces a session that has just come to an idle server of `class` that `pick` takes: it
    /// has that one first, while nobody else has taken it. `pick` is called under the room's lock,
    /// until it takes one.
    pub fn introduce(&self, class: Class, asker: &mut Asker, mut pick: impl FnMut(&S) -> bool) {
        let mut pick = |server: &mut S| server.is_alive() && pick(server);
        self.book().introduce(class, asker, super::now(), &mut pick);
    }

    fn wait_in_line(
        self: &Arc<Self>,
        mut book: MutexGuard<'_, Book<S>>,
        class: Class,
        asker: &Asker,
        now: Instant,
    ) -> Result<Attempt<S>, Fault> {
        if book.gate() != Gate::Open {
            return Err(self.refused(refusal::suspended(), "suspended"));
        }
        // What was put aside for it is for those who stand before it.
        book.let_go(asker);
        let (reach, reply) = reach::reach();
        let Ok(id) = book.join(class, now, reach) else {
            let fault = refusal::queue_full(book.counts(), book.limits());
            return Err(self.refused(fault, "queue_max"));
        };
        let mut deeds = Deeds::new();
        let has_idle = book.counts().idle > 0;
        if has_idle {
            // First a server of its own, if the budget has one; then one that others have left.
            self.beg(&mut book, now, &mut deeds);
        } else {
            self.pump(&mut book, now, &mut deeds);
        }
        drop(book);
        deeds.perform(now);
        let mut ticket = Ticket::new(Arc::clone(self), id, now, reply);
        let mut claimed = ticket.claim();
        if claimed.is_none() && has_idle {
            let mut deeds = Deeds::new();
            self.pump(&mut self.book(), now, &mut deeds);
            deeds.perform(now);
            claimed = ticket.claim();
        }
        match claimed {
            Some(Ok(Grant::Lease(lease))) => Ok(Attempt::Ready(lease)),
            Some(Ok(Grant::Dial(slot))) => Ok(Attempt::Dial(slot)),
            Some(Err(fault)) => Err(fault),
            None => Ok(Attempt::Wait(ticket)),
        }
    }

    /// A session has ended: the server it had last is for others.
    pub fn forget(self: &Arc<Self>, asker: &Asker) {
        self.forget_at(asker, super::now());
    }

    pub(super) fn forget_at(self: &Arc<Self>, asker: &Asker, now: Instant) {
        if asker.place.is_none() {
            return;
        }
        let mut deeds = Deeds::new();
        let mut book = self.book();
        if let Some(kept) = book.forget(asker, now) {
            self.shut(kept.server, kept.stamp, now, &mut deeds);
        }
        self.pump(&mut book, now, &mut deeds);
        drop(book);
        deeds.perform(now);
    }

    /// Counts a refusal by the limit that made it, and passes it on.
    pub(super) fn refused(&self, fault: Fault, limit: &'static str) -> Fault {
        self.common.counters.refused(limit);
        fault
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book<S>> {
        lock(&self.book)
    }

    /// Whether an idle server was seen here when the lock was last held.
    pub(super) fn seems_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > 0
    }

    /// How far the tenant is from when it is expected to want its idle server again.
    pub(super) fn off(&self, now: Instant) -> Duration {
        self.book().off(now)
    }

    #[cfg(test)]
    pub(super) fn till_figures(&self) -> (super::budget::Share, super::budget::Totals, u32) {
        self.till.figures(self.seat)
    }

    fn note_idle(&self, book: &Book<S>) {
        self.idle.store(book.counts().idle, Ordering::Relaxed);
    }
}

impl<S: Conn> Drop for Room<S> {
    fn drop(&mut self) {
        self.till.leave(self.seat);
    }
}
