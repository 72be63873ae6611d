//! Who is served next, and the accounts behind it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Budget, Seat, Share};

/// A waiting tenant's place in the order; the smallest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// 0 below the guaranteed share, else 1.
    pub rank: u8,
    pub pass: u128,
    /// When it came, as a running number.
    pub came: u64,
    pub seat: Seat,
}

/// A slot that a tenant gets when it comes free, and when that tenant came for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub seat: Seat,
    pub came: u64,
}

/// The waiting tenants. A stored pass may lag behind the account, never run ahead of it: the
/// smallest is found by bringing the smallest stored one up to date until it stays.
#[derive(Default)]
pub(super) struct Order {
    keys: BTreeSet<Key>,
    next: u64,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn remove(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.keys.remove(&key);
        }
    }
}

impl Budget {
    /// Brings the clock up to date: it runs only while somebody waits.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Some(before) = self.ticked
            && !(self.order.is_empty() && self.promises.is_empty())
        {
            self.clock += now.saturating_duration_since(before);
        }
        self.ticked = Some(self.ticked.map_or(now, |before| before.max(now)));
    }

    /// Brings a tenant's account up to date.
    pub(super) fn charge(&mut self, seat: Seat) {
        let clock = self.clock;
        self.stool(seat).charge(clock);
    }

    /// Forgets what a tenant owes, or is owed, beyond two turns for each slot it holds. One that
    /// holds none is owed nothing, and owes at most a turn and a half of its own (a turn ends with the
    /// transaction under way: what that took beyond it forgiven, the light would get more than their
    /// weight), or a turn of a lighter one before it: forgiven more, the heavy would. The pass may sink
    /// here, so the caller must rekey.
    pub(super) fn forget(&mut self, seat: Seat) {
        let (turn, front, best) = (self.turn(), self.front, self.best_cost);
        let stool = self.stool(seat);
        let owed = stool.cost(turn * 2 * stool.used);
        let owes = stool.cost(turn * (2 * stool.used + 1) + turn / 2).max(best);
        stool.pass = stool.pass.clamp(front.saturating_sub(owed), front + owes);
    }

    /// Puts the seat where it belongs in the order, or out of it.
    pub(super) fn rekey(&mut self, seat: Seat) {
        let guaranteed = self.guaranteed(seat);
        let came = self.order.next;
        let stool = self.stool(seat);
        let old = stool.key.take();
        if stool.lacks() > 0 {
            let rank = u8::from(stool.used + stool.promised >= guaranteed);
            let came = old.map_or(came, |k| k.came);
            stool.key = Some(Key { rank, pass: stool.pass, came, seat });
        }
        let new = stool.key;
        if old == new {
            return;
        }
        self.order.remove(old);
        if let Some(key) = new {
            self.order.keys.insert(key);
            if old.is_none() {
                self.order.next += 1;
            }
        }
    }

    /// Records what the tenant can use. Who begins to wait starts at the front of the others.
    pub(super) fn set_want(&mut self, seat: Seat, want: u32) {
        self.charge(seat);
        if self.stool(seat).lacks() == 0 && want > 0 {
            self.best();
        }
        self.forget(seat);
        self.stool(seat).want = want;
        // Wanted less than was promised: the promise goes back.
        while self.stool(seat).promised > 0 && {
            let stool = self.stool(seat);
            stool.want < stool.transit + stool.promised
        } {
            let at = self.promises.iter().rposition(|p| p.seat == seat);
            self.promises.remove(at.expect("invariant: every promise is in the list"));
            self.unpromise(seat);
        }
        self.rekey(seat);
    }

    /// The waiting tenant that is next, its account up to date. The front moves up to it.
    pub(super) fn best(&mut self) -> Option<Key> {
        let best = self.next_where(|_, _| true)?;
        let turn = self.turn();
        self.best_cost = self.stool(best.seat).cost(turn);
        if best.rank != 0 {
            self.front = self.front.max(best.pass);
        }
        Some(best)
    }

    /// The first waiting tenant that may dial now.
    fn best_dialer(&mut self) -> Option<Key> {
        self.next_where(Self::may_dial)
    }

    /// Whether a tenant has less than half of the dials for itself.
    fn may_dial(&mut self, seat: Seat) -> bool {
        self.stool(seat).dialing < self.rules.dial_max.div_ceil(2).max(1)
    }

    /// Takes the oldest promise to a tenant that may dial now.
    fn next_promised(&mut self) -> Option<Seat> {
        let at = (0..self.promises.len()).find(|at| self.may_dial(self.promises[*at].seat))?;
        self.promises.remove(at).map(|promise| promise.seat)
    }

    /// The first in the order that `fits`. Those passed over are few: only tenants that have half
    /// the dials for themselves do not fit.
    fn next_where(&mut self, fits: impl Fn(&mut Self, Seat) -> bool) -> Option<Key> {
        let mut after: Option<Key> = None;
        loop {
            let key = match after {
                None => self.order.keys.first().copied()?,
                Some(last) => self.order.keys.range(last..).find(|k| **k != last).copied()?,
            };
            self.charge(key.seat);
            self.rekey(key.seat);
            let fresh = self.stool(key.seat).key?;
            if fresh > key {
                continue;
            }
            if fits(self, key.seat) {
                return Some(fresh);
            }
            after = Some(key);
        }
    }

    /// Grants what is free and promises what will be.
    pub(super) fn settle(&mut self, grants: &mut Vec<Seat>) {
        let turn = self.turn();
        if let Some(now) = self.ticked {
            self.closes.age(now, turn);
        }
        while self.used < self.total() && self.dialing < self.rules.dial_max.max(1) {
            if let Some(seat) = self.next_promised() {
                self.stool(seat).promised -= 1;
                self.grant(seat);
                grants.push(seat);
            } else if let Some(key) = self.best_dialer() {
                self.prepay(key.seat);
                self.grant(key.seat);
                grants.push(key.seat);
            } else {
                break;
            }
        }
        while self.promised() > self.spare() {
            let last = self.promises.pop_back().expect("invariant: promised counts the list");
            self.unpromise(last.seat);
            self.rekey(last.seat);
            self.restore(last);
        }
        // Free slots wait for a dial to end, and are given then; closing ones are promised now.
        while self.used >= self.total() && self.promised() < self.spare() {
            let Some(key) = self.best() else { break };
            self.prepay(key.seat);
            self.stool(key.seat).promised += 1;
            self.promises.push_back(Promise { seat: key.seat, came: key.came });
            self.requeue(key.seat);
        }
    }

    /// Slots that are free or will soon be.
    pub(super) fn spare(&self) -> u32 {
        (self.total() + self.closes.soon()).saturating_sub(self.used)
    }

    /// Whether somebody counts on a close to end.
    pub(in crate::pool) fn owes(&self) -> bool {
        !self.promises.is_empty()
    }

    pub(super) fn promised(&self) -> u32 {
        u32::try_from(self.promises.len()).unwrap_or(u32::MAX)
    }

    fn grant(&mut self, seat: Seat) {
        self.charge(seat);
        self.used += 1;
        self.dialing += 1;
        let stool = self.stool(seat);
        stool.used += 1;
        stool.transit += 1;
        stool.dialing += 1;
        if stool.used == 1 {
            self.holders.push(seat);
        }
        self.requeue(seat);
    }

    pub(super) fn give_back(&mut self, seat: Seat) {
        self.charge(seat);
        let turn = self.turn();
        self.used -= 1;
        let stool = self.stool(seat);
        stool.used -= 1;
        stool.prepaid = stool.prepaid.min(turn * (stool.used + stool.promised));
        if stool.used == 0
            && let Some(at) = self.holders.iter().position(|s| *s == seat)
        {
            self.holders.swap_remove(at);
        }
        self.forget(seat);
        self.rekey(seat);
    }

    pub(super) fn end_dial(&mut self, seat: Seat) {
        self.charge(seat);
        self.dialing -= 1;
        self.stool(seat).dialing -= 1;
    }

    pub(super) fn begin_close(&mut self, seat: Seat, now: Instant) {
        self.charge(seat);
        self.closes.begin(now);
        self.stool(seat).closing += 1;
    }

    pub(super) fn end_close(&mut self, seat: Seat, began: Instant) {
        self.charge(seat);
        self.closes.end(began);
        self.stool(seat).closing -= 1;
    }

    /// Charges a turn in advance; the tenant's pass before it is the new front.
    fn prepay(&mut self, seat: Seat) {
        self.charge(seat);
        let turn = self.turn();
        let stool = self.stool(seat);
        let before = stool.pass;
        stool.pass += stool.cost(turn);
        stool.prepaid += turn;
        self.front = self.front.max(before);
    }

    fn unpromise(&mut self, seat: Seat) {
        self.charge(seat);
        let turn = self.turn();
        let stool = self.stool(seat);
        stool.promised -= 1;
        // What its other slots have used of it meanwhile stays paid.
        let left = stool.prepaid.min(turn);
        stool.pass = stool.pass.saturating_sub(stool.cost(left));
        stool.prepaid -= left;
    }

    /// A promise was taken back: the tenant stands no later than where it stood before it.
    fn restore(&mut self, promise: Promise) {
        let key = self.stool(promise.seat).key.as_mut().filter(|key| promise.came < key.came);
        if let Some(key) = key {
            let before = *key;
            key.came = promise.came;
            let after = *key;
            self.order.remove(Some(before));
            self.order.keys.insert(after);
        }
    }

    /// Puts the seat behind those with an equal pass: it has just been served.
    fn requeue(&mut self, seat: Seat) {
        let key = self.stool(seat).key.take();
        self.order.remove(key);
        self.rekey(seat);
    }

    /// The tenant's guaranteed slots. A tenth of the budget, and one slot at least, is left to
    /// those without a guarantee; guarantees beyond the rest are scaled down together.
    pub(super) fn guaranteed(&self, seat: Seat) -> u32 {
        let Some(stool) = self.stools[seat.index()].as_ref() else { return 0 };
        let most = u64::from(self.rules.total - self.rules.total.div_ceil(10));
        if self.min_sum <= most {
            return stool.min;
        }
        u32::try_from(u64::from(stool.min) * most / self.min_sum).unwrap_or(stool.min)
    }

    /// What a tenant has.
    pub(in crate::pool) fn share(&self, seat: Seat) -> Share {
        self.stools[seat.index()].as_ref().map_or_else(Share::default, |s| Share {
            used: s.used,
            wanted: s.lacks() + s.promised,
            pinned: s.pinned,
            guaranteed: self.guaranteed(seat),
        })
    }
}
