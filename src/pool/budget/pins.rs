//! The part of a budget that pins may take.

use std::time::Instant;

use super::{Budget, Seat};

/// Pins have taken their whole part of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct PinsFull {
    /// Slots pinned, all tenants together.
    pub pinned: u32,
    /// Slots that may be.
    pub most: u32,
}

impl Budget {
    /// Whether a slot that comes free may be pinned: the pins have something left, or may have
    /// everything, and then whoever frees a slot frees a pin.
    pub(in crate::pool) fn may_be_pinned(&self) -> Result<(), PinsFull> {
        if self.rules.pin_max >= self.rules.total { Ok(()) } else { self.has_pin_left() }
    }

    fn has_pin_left(&self) -> Result<(), PinsFull> {
        let (pinned, most) = (self.pinned, self.rules.pin_max);
        if pinned < most { Ok(()) } else { Err(PinsFull { pinned, most }) }
    }

    /// Counts one more pinned slot.
    pub(in crate::pool) fn pin(&mut self, seat: Seat, now: Instant) -> Result<(), PinsFull> {
        self.has_pin_left()?;
        self.tick(now);
        self.charge(seat);
        self.pinned += 1;
        self.stool(seat).pinned += 1;
        Ok(())
    }

    /// Counts one less.
    pub(in crate::pool) fn unpin(&mut self, seat: Seat, now: Instant) {
        self.tick(now);
        self.charge(seat);
        self.pinned -= 1;
        self.stool(seat).pinned -= 1;
    }

    /// Slots in use, wanted, closing and pinned, and the sum of guarantees.
    pub(in crate::pool) fn totals(&self) -> Totals {
        Totals {
            used: self.used,
            dialing: self.dialing,
            closing: self.closes.all(),
            pinned: self.pinned,
            waiting: self.order.len(),
            min_sum: self.min_sum,
            is_full: self.is_full(),
        }
    }
}

/// A budget's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pool) struct Totals {
    pub used: u32,
    pub dialing: u32,
    pub closing: u32,
    pub pinned: u32,
    /// Tenants waiting without a promise.
    pub waiting: usize,
    pub min_sum: u64,
    /// Whether PostgreSQL had no connection left when it was last asked.
    pub is_full: bool,
}
