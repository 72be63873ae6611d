//! One tenant's books: its clients, its servers by what they do, its line. Pure: no I/O, and the
//! time is an argument.
//!
//! Every server is in exactly one state: dialing, idle, leased (pinned or not), closing; each
//! holds a slot, and the sum never exceeds `server_max`. Idle servers lie on a shelf, where a
//! session finds the one it had last. Clients wait in one line, whatever their class: when the one
//! at its head needs another class than is idle and nothing else can be had, an idle server is
//! closed for it; at PostgreSQL's own limit, one at a time.
//!
//! The ledger owns the servers (`V`) and the waiters' addresses (`W`) as values and knows neither:
//! the room uses sockets and channels, the tests numbers.

mod alarms;
mod clearing;
mod dials;
mod kept;
mod line;
mod rest;
mod rivals;
mod shelf;

use std::time::{Duration, Instant};

use clearing::Clearing;
pub(super) use dials::Dials;
pub use dials::FullOf;
pub(super) use kept::{Kept, Stamp};
use line::Line;
pub(super) use line::{Waiter, WaiterId};
use rest::Rest;
use rivals::Rivals;
pub use rivals::{Claim, Holder};
#[cfg(test)]
pub(super) use shelf::HOLD;
use shelf::Shelf;

use super::closes::Closes;
use super::pin::{Pin, Pins};
use super::{Class, Limits};

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everybody.
    Open,
    /// The tenant is suspended or being moved.
    Suspended,
}

/// What to do next for the head of the line.
pub(super) enum Next<W, V> {
    /// Give it this server.
    Serve(Waiter<W>, Kept<V>),
    /// Close this one: nobody may have it, or its slot is needed for another class.
    Shut(Kept<V>),
    /// Nothing until something changes.
    Rest,
}

/// For how long after clients of different flavours met in a full room its new servers have none.
const CLASH: Duration = Duration::from_secs(60);

/// How long a close takes at most, but for those that may never end.
const CLOSE: Duration = Duration::from_millis(250);

/// See the module's text.
pub(super) struct Ledger<W, V> {
    limits: Limits,
    gate: Gate,
    /// Nobody is served: those who ask wait, servers are closed as they come back.
    is_paused: bool,
    dials: Dials,
    rivals: Rivals,
    /// What they leave of `server_max`.
    cap: u32,
    epoch: u32,
    clients: u32,
    idle: Shelf<V>,
    leased: u32,
    pinned: u32,
    pins: [u32; Pin::ALL.len()],
    dialing: u32,
    closes: Closes,
    line: Line<W>,
    /// When a server was last closed for a client that could not have its flavour.
    clashed: Option<Instant>,
    clearing: Clearing,
    rest: Rest,
    /// What the budget was last told.
    pub(super) told_want: u32,
    /// The alarm that is set.
    pub(super) alarm: Option<Instant>,
    /// Since when there has been neither client nor server.
    pub(super) empty_since: Option<Instant>,
    /// Leases given since the room was opened.
    pub(super) leases: u64,
    /// How long leases that ended were held, all together.
    pub(super) leased_time: Duration,
}

impl<W, V> Ledger<W, V> {
    pub(super) fn new(limits: Limits) -> Self {
        let rivals = Rivals::new();
        Self {
            cap: rivals.cap(limits.server_max),
            limits,
            gate: Gate::Open,
            is_paused: false,
            dials: Dials::Open,
            rivals,
            epoch: 0,
            clients: 0,
            idle: Shelf::new(),
            leased: 0,
            pinned: 0,
            pins: [0; Pin::ALL.len()],
            dialing: 0,
            closes: Closes::default(),
            line: Line::new(),
            clashed: None,
            clearing: Clearing::default(),
            rest: Rest::default(),
            told_want: 0,
            alarm: None,
            empty_since: None,
            leases: 0,
            leased_time: Duration::ZERO,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            clients: self.clients,
            waiting: self.line.len(),
            idle: self.idle.len(),
            leased: self.leased,
            pinned: self.pinned,
            dialing: self.dialing,
            closing: self.closes.all(),
        }
    }

    pub(super) fn pins(&self) -> [u32; Pin::ALL.len()] {
        self.pins
    }

    pub(super) fn gate(&self) -> Gate {
        self.gate
    }

    pub(super) fn dials(&self) -> Dials {
        self.dials
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether servers may be lent at all.
    fn lends(&self) -> bool {
        self.gate == Gate::Open && !self.is_paused
    }

    /// Slots taken.
    pub(super) fn used(&self) -> u32 {
        self.idle.len() + self.leased + self.dialing + self.closes.all()
    }

    /// Servers being closed whose slots are about to come free.
    pub(super) fn closing_soon(&mut self, now: Instant) -> u32 {
        self.closes.age(now, CLOSE);
        self.closes.soon()
    }

    /// Whether a server that may be lent again has nobody to go to.
    pub(super) fn has_nobody_in_line(&self) -> bool {
        self.line.is_empty()
    }

    /// Counts a client in, unless there are `most`.
    pub(super) fn enter(&mut self, most: u32) -> bool {
        let fits = self.clients < most;
        self.clients += u32::from(fits);
        self.empty_since = None;
        fits
    }

    /// Counts a client out.
    pub(super) fn leave(&mut self) {
        self.clients -= 1;
    }

    /// Puts a client at the end of the line, unless `queue_max` is reached. One that could be
    /// given a dial at once is let in whatever `queue_max` says: it does not really wait.
    pub(super) fn join(&mut self, class: Class, now: Instant, reach: W) -> Result<WaiterId, W> {
        let open = self.line.is_empty() && self.headroom() > 0 && !self.is_paused;
        if self.line.len() >= self.limits.queue_max && !open {
            return Err(reach);
        }
        self.rest.ends(now);
        Ok(self.line.push(class, now, reach))
    }

    /// Takes a client out of the line; `None` if it was served already.
    pub(super) fn abandon(&mut self, id: WaiterId, now: Instant) -> Option<Waiter<W>> {
        let gone = self.line.remove(id);
        self.note_rest(now);
        gone
    }

    /// How many stand before a waiter.
    pub(super) fn position(&self, id: WaiterId) -> Option<usize> {
        self.line.position(id)
    }

    /// When the one waiting longest asked.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.line.head().map(|w| w.asked)
    }

    /// Everybody in line, taken out: they are to be refused.
    pub(super) fn dismiss(&mut self) -> Vec<Waiter<W>> {
        self.line.drain().collect()
    }

    /// What to do for the head of the line. Called until it says `Rest`. `starved` says that no
    /// slot is to be had from the budget.
    pub(super) fn next(&mut self, starved: bool, now: Instant) -> Next<W, V> {
        if self.idle.len() == 0 {
            return Next::Rest;
        }
        let excess = (self.used() - self.closes.all()) > self.cap();
        if excess || !self.lends() {
            return self.shut_coldest(None, now).map_or(Next::Rest, Next::Shut);
        }
        if self.is_paused {
            return Next::Rest;
        }
        let Some(class) = self.line.head().map(|w| w.class) else { return Next::Rest };
        if let Some(kept) = self.idle.take(class, false, now) {
            self.leased += 1;
            self.leases += 1;
            let waiter = self.line.pop().expect("invariant: the line has a head");
            return Next::Serve(waiter, kept);
        }
        // Only servers of other classes are idle. One of them makes room if nothing else does,
        // but not more of them than there are clients in line.
        // At PostgreSQL's limit one makes way although the cap has room; but one at a time.
        let is_full = matches!(self.dials, Dials::Full { .. });
        let is_careful = is_full || self.clearing.is_doubtful();
        let bound = is_full || self.headroom() == 0 || starved;
        let bound = bound && (!is_careful || self.clearing.is_open(now));
        let hopeless = matches!(self.dials, Dials::Failing { .. });
        if bound && !hopeless && self.closing_soon(now) < self.line.len() {
            self.idle.settle_all(now);
            let Some(shut) = self.shut_coldest(Some(class), now) else { return Next::Rest };
            self.clashed = Some(now);
            if is_careful {
                self.clearing.made(now);
            }
            return Next::Shut(shut);
        }
        Next::Rest
    }

    /// The server it was to have is dead, and being closed: it stands where it stood.
    pub(super) fn unserve(&mut self, waiter: Waiter<W>, now: Instant) {
        self.leases -= 1;
        self.line.put_back(waiter);
        self.shut_leased(now);
    }

    /// How many slots beyond those it has the tenant can use now.
    pub(super) fn want(&self, now: Instant) -> u32 {
        if !self.lends() {
            return 0;
        }
        let headroom = self.dials.allowed(now, self.headroom(), self.dialing);
        headroom.min(self.line.len())
    }

    /// Uses a slot for a dial by the head of the line; `None` when there is no use for it any
    /// more.
    ///
    /// With the class to dial: where clients of several flavours take servers from one another, it
    /// is one for all of them.
    pub(super) fn dial(&mut self, now: Instant) -> Option<(Waiter<W>, Class, u32)> {
        if self.want(now) == 0 {
            return None;
        }
        let waiter = self.line.pop()?;
        self.dialing += 1;
        let clash = |at| now.saturating_duration_since(at) < CLASH;
        let class =
            if self.clashed.is_some_and(clash) { waiter.class.plain() } else { waiter.class };
        Some((waiter, class, self.epoch))
    }

    /// Whether a server may not be lent again.
    pub(super) fn is_spent(&self, stamp: &Stamp, now: Instant) -> bool {
        !self.lends()
            || stamp.epoch != self.epoch
            || stamp.retires.is_some_and(|at| at <= now)
            || self.used() - self.closes.all() > self.cap()
    }

    /// A lease ended, and its server is being closed.
    pub(super) fn shut_leased(&mut self, now: Instant) {
        self.leased -= 1;
        self.closes.begin(now);
        self.note_rest(now);
    }

    /// A server that was being closed since `began` has come to its end of file. If PostgreSQL was
    /// full, it has room now.
    pub(super) fn closed(&mut self, began: Instant) {
        self.closes.end(began);
        if matches!(self.dials, Dials::Full { .. }) {
            self.dials = Dials::Open;
        }
    }

    /// Counts a lease's pins from `before` to `after`. Says how the number of pinned leases
    /// changed.
    pub(super) fn repin(&mut self, before: Pins, after: Pins) {
        for pin in Pin::ALL {
            let count = &mut self.pins[pin.index()];
            *count = *count + u32::from(after.has(pin)) - u32::from(before.has(pin));
        }
        self.pinned = self.pinned + u32::from(!after.is_empty()) - u32::from(!before.is_empty());
    }

    /// Changes the limits.
    pub(super) fn relimit(&mut self, limits: Limits) {
        self.limits = limits;
        self.recap();
    }

    /// Opens or closes the gate.
    pub(super) fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
        self.dials = Dials::Open;
    }

    /// Stops serving, or goes on.
    pub(super) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Starts a new epoch: servers of the old one are not lent again.
    pub(super) fn recycle(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn headroom(&self) -> u32 {
        self.cap().saturating_sub(self.used())
    }
}

/// A tenant's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub clients: u32,
    pub waiting: u32,
    pub idle: u32,
    pub leased: u32,
    pub pinned: u32,
    pub dialing: u32,
    pub closing: u32,
}

impl Counts {
    /// Slots taken.
    pub(super) fn held(&self) -> u32 {
        self.idle + self.leased + self.dialing + self.closing
    }
}
