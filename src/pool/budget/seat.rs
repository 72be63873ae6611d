//! One tenant's place at a budget.

use std::time::Duration;

use super::order::Key;

/// A tenant's place; good until it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::pool) struct Seat(pub(super) u32);

impl Seat {
    /// A dense number, for arrays by seat.
    pub(in crate::pool) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a tenant has of a budget, for those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::pool) struct Share {
    /// Slots held.
    pub used: u32,
    /// Slots wanted beyond that.
    pub wanted: u32,
    /// Slots pinned.
    pub pinned: u32,
    /// Slots guaranteed, after scaling.
    pub guaranteed: u32,
}

/// The books of one seat.
pub(super) struct Stool {
    /// Slots held, those in transit included.
    pub used: u32,
    /// Slots granted and neither accepted nor declined yet.
    pub transit: u32,
    /// Dials under way, those in transit included.
    pub dialing: u32,
    /// Slots whose connection is being closed.
    pub closing: u32,
    /// Slots the tenant can use beyond what it has accepted.
    pub want: u32,
    /// Slots of those that are promised.
    pub promised: u32,
    pub pinned: u32,
    pub min: u32,
    pub weight: u32,
    /// Contended slot-time per weight.
    pub pass: u128,
    /// Slot-time paid for in advance, one turn a grant.
    pub prepaid: Duration,
    /// The budget's clock when `pass` was last brought up to date.
    pub charged: Duration,
    /// Its place in the order, while it waits unpromised.
    pub key: Option<Key>,
}

/// Pass units a microsecond of one slot costs at weight 1.
const PASS_SCALE: u128 = 1_000;

impl Stool {
    pub(super) fn new(min: u32, weight: u32, pass: u128, clock: Duration) -> Self {
        Self {
            used: 0,
            transit: 0,
            dialing: 0,
            closing: 0,
            want: 0,
            promised: 0,
            pinned: 0,
            min,
            weight: weight.max(1),
            pass,
            prepaid: Duration::ZERO,
            charged: clock,
            key: None,
        }
    }

    /// Slots wanted, neither promised nor on their way.
    pub(super) fn lacks(&self) -> u32 {
        self.want.saturating_sub(self.transit + self.promised)
    }

    /// What `time` of one slot adds to the pass.
    pub(super) fn cost(&self, time: Duration) -> u128 {
        time.as_micros() * PASS_SCALE / u128::from(self.weight)
    }

    /// Charges the time since the last charge, the prepaid part left out. What a move costs, the
    /// dial and the end of the connection, is nobody's: else who moves more often, because of a
    /// smaller weight, would get less than its weight.
    pub(super) fn charge(&mut self, clock: Duration) {
        let passed = clock.saturating_sub(self.charged);
        self.charged = clock;
        let held = passed * self.used.saturating_sub(self.pinned + self.dialing + self.closing);
        let paid = held.min(self.prepaid);
        self.prepaid -= paid;
        self.pass += self.cost(held.saturating_sub(paid));
    }
}
