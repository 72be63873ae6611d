//! One PostgreSQL server's connections, shared among its tenants. Pure: no I/O, and the time is
//! an argument.
//!
//! **Slots.** A slot is a connection from its dial to its end of file. `used <= total` always.
//!
//! **Order of service.** Every tenant has a *pass*: slot-seconds held while the budget was
//! contended, per weight, from the end of a dial to the beginning of the close. The waiting tenant with the smallest pass is next; equal ones in the
//! order they came. That is "the smallest share in use per weight is next", summed over time: with
//! more tenants than slots all waiting tenants hold nothing, and with 10 slots for weights 1:2:4
//! no whole number of slots is right, so the share at an instant cannot decide alone. Pinned
//! slots are not counted. A grant charges one *turn* in advance, so tenants take turns one slot at
//! a time, and what is held beyond the prepaid turn is charged as it passes. Nobody saves up and
//! nobody sinks: a tenant is never owed more than two turns for each slot it holds (so one that
//! comes anew starts where the others are), and never owes more than that and a turn and a half of its
//! own, or a turn of the one it waits behind.
//!
//! **Turns.** A moved connection costs PostgreSQL a fork (about 5 ms of CPU), so a slot stays for
//! a turn, ten times what a dial takes here: a contended budget spends at most about a tenth of
//! its slot time on dialing however many tenants rotate. After its turn a tenant gives the slot up
//! at the end of a lease once it leads the best waiting tenant by half a turn (of the lighter of the
//! two). Without that lead, N+1 tenants on N slots would move every slot every turn; with it, one
//! slot at a time. With a whole turn, two tenants on one slot would keep it for two turns each.
//! An idle slot of a tenant ahead of the waiting one is taken once it was idle as long as a dial
//! takes (waiting as long as the move costs is at most twice as bad as knowing the future), of a
//! tenant behind it after a turn: a client that thinks for a millisecond keeps its server.
//!
//! **Promises.** A slot whose connection is being closed is promised at once to the tenant it will
//! go to, so that no more connections are closed than are wanted. One that has not ended within a turn
//! may never end: its promise is taken back, and the tenant waits in its old place for another. And no
//! idle one is taken before its slot can be dialled with: until then its own tenant may want it again.
//!
//! **Guarantees.** A tenant below its `server_min` goes before all others and is not made to
//! yield; its idle servers are taken only after a second, since it would get them back first. A
//! tenth of the budget is never guaranteed; minima beyond the rest are scaled down together.

mod full;
mod order;
mod pins;
mod seat;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use full::Full;
use order::{Order, Promise};
pub(super) use pins::{PinsFull, Totals};
use seat::Stool;
pub(super) use seat::{Seat, Share};

use super::closes::Closes;

/// How a budget is shared; from `[pool]` and `[pins]`.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Slots in all.
    pub total: u32,
    /// Dials under way at once.
    pub dial_max: u32,
    /// The shortest turn.
    pub turn_min: Duration,
    /// The longest turn.
    pub turn_max: Duration,
    /// Slots that pins may take.
    pub pin_max: u32,
    /// The longest pause between two tries at a server that is full.
    pub pause_max: Duration,
}

/// What a slot was when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    /// Its dial had not succeeded.
    Dialing,
    /// PostgreSQL had refused its dial: the whole server is full.
    Refused,
    /// Its connection was being closed, since then.
    Closing(Instant),
}

/// The books of one server. See the module's text.
pub(super) struct Budget {
    rules: Rules,
    stools: Vec<Option<Stool>>,
    vacant: Vec<u32>,
    /// Seats with `used > 0`, in no order.
    holders: Vec<Seat>,
    order: Order,
    /// To whom a slot was promised, oldest first.
    promises: VecDeque<Promise>,
    /// When idle servers were last taken from their tenants, oldest first.
    taken: VecDeque<Instant>,
    used: u32,
    dialing: u32,
    closes: Closes,
    pinned: u32,
    min_sum: u64,
    /// Time passed while somebody waited.
    clock: Duration,
    ticked: Option<Instant>,
    /// The smallest pass of those who wait, or of who was served last: where newcomers start. It
    /// never sinks.
    front: u128,
    /// What a turn costs the waiting tenant that was last found to be next.
    best_cost: u128,
    /// Mean time of a dial.
    dial_mean: Duration,
    /// PostgreSQL has fewer connections than the budget says.
    full: Option<Full>,
}

/// What is known of a dial before the first one: loopback, SCRAM with few iterations.
const DIAL_GUESS: Duration = Duration::from_millis(5);
/// A turn is worth this many dials.
const TURN_DIALS: u32 = 10;
/// An idle server is left to its tenant no longer than this before a waiting one may have it.
const LINGER_MAX: Duration = Duration::from_millis(50);
/// The same, at least: what a client's next statement takes to come.
const LINGER_MIN: Duration = Duration::from_millis(1);
/// How long an idle server within a guaranteed share is left to its tenant.
const GUARANTEED_IDLE: Duration = Duration::from_secs(1);

impl Budget {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            stools: Vec::new(),
            vacant: Vec::new(),
            holders: Vec::new(),
            order: Order::default(),
            promises: VecDeque::new(),
            taken: VecDeque::new(),
            used: 0,
            dialing: 0,
            closes: Closes::default(),
            pinned: 0,
            min_sum: 0,
            clock: Duration::ZERO,
            ticked: None,
            front: 0,
            best_cost: 0,
            dial_mean: DIAL_GUESS,
            full: None,
        }
    }

    /// Gives a tenant a seat.
    pub(super) fn join(&mut self, min: u32, weight: u32) -> Seat {
        let stool = Stool::new(min, weight, self.front, self.clock);
        self.min_sum += u64::from(min);
        if let Some(n) = self.vacant.pop() {
            self.stools[n as usize] = Some(stool);
            return Seat(n);
        }
        self.stools.push(Some(stool));
        Seat(u32::try_from(self.stools.len() - 1).expect("invariant: fewer than 2^32 seats"))
    }

    /// Takes the seat back. The tenant holds and wants nothing.
    pub(super) fn leave(&mut self, seat: Seat) {
        if let Some(stool) = self.stools.get_mut(seat.index()).and_then(Option::take) {
            self.min_sum -= u64::from(stool.min);
            self.pinned -= stool.pinned;
            self.order.remove(stool.key);
            self.vacant.push(seat.0);
        }
    }

    /// Changes a tenant's guaranteed share and weight.
    pub(super) fn reweigh(&mut self, seat: Seat, min: u32, weight: u32, now: Instant) {
        self.tick(now);
        self.charge(seat);
        let stool = self.stool(seat);
        let before = u64::from(std::mem::replace(&mut stool.min, min));
        stool.weight = weight.max(1);
        self.min_sum = self.min_sum - before + u64::from(min);
        self.rekey(seat);
    }

    /// Changes the rules; a smaller total takes effect as slots come back.
    pub(super) fn reform(&mut self, rules: Rules, now: Instant, grants: &mut Vec<Seat>) {
        self.tick(now);
        self.rules = rules;
        self.settle(grants);
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The tenant can use `slots` more than it has accepted. What is granted to whom is added to
    /// `grants`; every grant must be accepted or declined.
    pub(super) fn want(&mut self, seat: Seat, slots: u32, now: Instant, grants: &mut Vec<Seat>) {
        self.tick(now);
        self.set_want(seat, slots);
        self.settle(grants);
    }

    /// The tenant dials with a slot it was granted, and can use `want` more.
    pub(super) fn accept(&mut self, seat: Seat, want: u32, now: Instant, grants: &mut Vec<Seat>) {
        self.tick(now);
        self.stool(seat).transit -= 1;
        self.set_want(seat, want);
        self.settle(grants);
    }

    /// The tenant has no use for a slot it was granted any more.
    pub(super) fn decline(&mut self, seat: Seat, want: u32, now: Instant, grants: &mut Vec<Seat>) {
        self.tick(now);
        self.stool(seat).transit -= 1;
        self.set_want(seat, want);
        self.end_dial(seat);
        self.give_back(seat);
        self.settle(grants);
    }

    /// A dial succeeded after `took`.
    pub(super) fn opened(
        &mut self,
        seat: Seat,
        took: Duration,
        now: Instant,
        grants: &mut Vec<Seat>,
    ) {
        self.tick(now);
        self.dial_mean = (self.dial_mean * 15 + took.min(Duration::from_secs(5))) / 16;
        self.full = None;
        self.end_dial(seat);
        self.settle(grants);
    }

    /// A connection of the tenant is about to be closed; its slot is promised on.
    pub(super) fn closing(&mut self, seat: Seat, now: Instant, grants: &mut Vec<Seat>) {
        self.tick(now);
        self.begin_close(seat, now);
        self.settle(grants);
    }

    /// A slot is free again, and the tenant can use `want` more.
    pub(super) fn close(
        &mut self,
        seat: Seat,
        was: Was,
        want: u32,
        now: Instant,
        grants: &mut Vec<Seat>,
    ) {
        self.tick(now);
        match was {
            Was::Dialing | Was::Refused => self.end_dial(seat),
            Was::Closing(began) => self.end_close(seat, began),
        }
        self.give_back(seat);
        if was == Was::Refused {
            self.refused(now);
        }
        self.set_want(seat, want);
        self.settle(grants);
    }

    /// Whether the server's connections were more than the budget leaves to this process: one more
    /// is closed at the end of its lease. It is counted as closing then.
    pub(super) fn sheds(&mut self, seat: Seat, now: Instant, grants: &mut Vec<Seat>) -> bool {
        let excess = self.is_over();
        if excess {
            self.closing(seat, now, grants);
        }
        excess
    }

    /// Whether more connections are held than the rules allow: they allowed more before.
    pub(super) fn is_over(&self) -> bool {
        self.used - self.closes.all() > self.rules.total
    }

    /// How many tenants wait for a slot that has to be taken from another. Zero: nobody needs to
    /// think of the budget, but for [`Budget::look`] while there are promises.
    pub(super) fn pressed(&self) -> usize {
        if self.spare() > self.promised() { 0 } else { self.order.len() }
    }

    /// Whether nobody waits and less than half of it is in use: a slot is cheap.
    pub(super) fn is_roomy(&self) -> bool {
        self.order.is_empty() && self.used < self.rules.total / 2
    }

    /// Whether the tenant must give up a slot it has held for `age`, at the end of a lease. If
    /// so the slot is counted as closing and promised to whom it goes.
    pub(super) fn yields(
        &mut self,
        seat: Seat,
        age: Duration,
        now: Instant,
        grants: &mut Vec<Seat>,
    ) -> bool {
        self.tick(now);
        if self.spare() > self.promised() || self.order.is_empty() {
            return false;
        }
        self.charge(seat);
        let Some(best) = self.best().filter(|b| b.seat != seat) else { return false };
        self.forget(seat);
        self.rekey(seat);
        let (turn, floor) = (self.turn(), self.guaranteed(seat));
        let lead = self.stool(best.seat).cost(turn).max(self.stool(seat).cost(turn)) / 2;
        let stool = self.stool(seat);
        if stool.used <= floor {
            return false;
        }
        // What was paid for when turns were longer is used, too.
        let leads = stool.prepaid.is_zero() && stool.pass >= best.pass + lead;
        if best.rank != 0 && (age < turn || !leads) {
            return false;
        }
        self.begin_close(seat, now);
        self.settle(grants);
        true
    }

    /// How long an idle connection of `seat` must have been idle to be closed for whoever waits;
    /// `None` when nobody waits, or nobody could dial with its slot yet: closed before that, it
    /// might be wanted again before that.
    pub(super) fn spares(&mut self, seat: Seat, now: Instant) -> Option<Duration> {
        self.tick(now);
        if self.is_over() {
            return Some(Duration::ZERO);
        }
        if self.spare() > self.promised() || !self.moves_more(now) {
            return None;
        }
        let best = self.best()?;
        self.charge(seat);
        self.forget(seat);
        self.rekey(seat);
        if self.stool(seat).used <= self.guaranteed(seat) {
            return Some(GUARANTEED_IDLE);
        }
        Some(match best.rank {
            0 => Duration::ZERO,
            _ if self.stool(seat).pass >= best.pass => self.linger(),
            _ => self.turn(),
        })
    }

    /// Whether a slot that is freed for a waiting tenant can be dialled with soon. Servers taken
    /// within the last turn count as on their way until they are dialled; one that takes longer to
    /// close (its PostgreSQL may never end it) holds up no others.
    pub(super) fn moves_more(&mut self, now: Instant) -> bool {
        let turn = self.turn();
        while self.taken.front().is_some_and(|at| now.saturating_duration_since(*at) >= turn) {
            self.taken.pop_front();
        }
        let taken = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        self.dialing + self.promised().min(taken) < self.rules.dial_max.max(1)
    }

    /// An idle server is taken from its tenant for whoever waits.
    pub(super) fn takes(&mut self, now: Instant) {
        if self.taken.len() < self.rules.dial_max.max(1) as usize {
            self.taken.push_back(now);
        }
    }

    /// The tenants whose idle servers may be taken, and how far each is above its share.
    pub(super) fn victims(&self) -> impl Iterator<Item = (u64, Seat)> {
        self.holders.iter().filter_map(|seat| {
            let stool = self.stools[seat.index()].as_ref()?;
            let above = stool.used.saturating_sub(self.guaranteed(*seat));
            Some((u64::from(above) * 1_000 / u64::from(stool.weight), *seat))
        })
    }

    /// A turn now: ten dials, within the rules.
    pub(super) fn turn(&self) -> Duration {
        (self.dial_mean * TURN_DIALS).clamp(self.rules.turn_min, self.rules.turn_max)
    }

    fn linger(&self) -> Duration {
        self.dial_mean.clamp(LINGER_MIN, LINGER_MAX)
    }

    fn stool(&mut self, seat: Seat) -> &mut Stool {
        self.stools[seat.index()].as_mut().expect("invariant: a seat in use has its stool")
    }
}
