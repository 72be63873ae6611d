//! The share of a tenant's servers, and of the budget, that may be pinned.

use std::time::Instant;

use super::{Book, Room};
use crate::fault::Fault;
use crate::pool::budget::{Budget, PinsFull};
use crate::pool::deeds::Deeds;
use crate::pool::pin::Pins;
use crate::pool::settings::PinSettings;
use crate::pool::{Conn, refusal};

impl<S: Conn> Room<S> {
    /// Servers pinned, and how many may be.
    pub fn pin_use(&self) -> (u32, u32) {
        let book = self.book();
        (book.counts().pinned, self.pins_max(&book))
    }

    /// Whether a server that comes free might be pinned: to be asked before one is dialled, or
    /// waited for, that would be of no use unpinned. A tenant whose pins hold all its servers
    /// stands in line for one of them: whoever ends makes room for a pin as well.
    ///
    /// # Errors
    /// 53400 when pins have taken their share of the tenant's servers or of the budget.
    pub fn may_pin(&self) -> Result<(), Fault> {
        let book = self.book();
        if book.counts().pinned >= book.limits().server_max {
            return Ok(());
        }
        self.has_pin_left(&book)?;
        self.in_budget(|budget| budget.may_be_pinned())
    }

    /// Counts a lease's reasons to be pinned from `before` to `after`.
    pub(in crate::pool) fn repin(
        &self,
        before: Pins,
        after: Pins,
        now: Instant,
    ) -> Result<(), Fault> {
        let mut book = self.book();
        if before.is_empty() && !after.is_empty() {
            self.has_pin_left(&book)?;
            self.in_budget(|budget| budget.pin(self.seat, now))?;
        } else if !before.is_empty() && after.is_empty() {
            let mut deeds = Deeds::new();
            self.till.with(&mut deeds, |b, _| b.unpin(self.seat, now));
        }
        book.repin(before, after);
        Ok(())
    }

    fn has_pin_left(&self, book: &Book<S>) -> Result<(), Fault> {
        let (pinned, most) = (book.counts().pinned, self.pins_max(book));
        if pinned < most {
            return Ok(());
        }
        let fault = refusal::pins_of_tenant(pinned, most, book.limits().server_max);
        Err(self.refused(fault, "pins_tenant"))
    }

    fn in_budget(
        &self,
        pin: impl FnOnce(&mut Budget) -> Result<(), PinsFull>,
    ) -> Result<(), Fault> {
        // No slot moves by it.
        let mut deeds = Deeds::new();
        self.till.with(&mut deeds, |budget, _| pin(budget)).map_err(|full| {
            self.refused(refusal::pins_of_budget(full.pinned, full.most), "pins_budget")
        })
    }

    fn pins_max(&self, book: &Book<S>) -> u32 {
        PinSettings::of(self.common.pins.tenant_share, book.limits().server_max)
    }
}
