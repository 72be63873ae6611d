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

    /// Whether one more server might be pinned now: to be asked before one is dialled that would be
    /// of no use unpinned.
    ///
    /// # Errors
    /// 53400 when pins have taken their share of the tenant's servers or of the budget.
    pub fn may_pin(&self) -> Result<(), Fault> {
        self.try_pin(&self.book(), |budget| budget.may_pin())
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
            self.try_pin(&book, |budget| budget.pin(self.seat, now))?;
        } else if !before.is_empty() && after.is_empty() {
            let mut deeds = Deeds::new();
            self.till.with(&mut deeds, |b, _| b.unpin(self.seat, now));
        }
        book.repin(before, after);
        Ok(())
    }

    fn try_pin(
        &self,
        book: &Book<S>,
        pin: impl FnOnce(&mut Budget) -> Result<(), PinsFull>,
    ) -> Result<(), Fault> {
        let (pinned, most) = (book.counts().pinned, self.pins_max(book));
        if pinned >= most {
            let fault = refusal::pins_of_tenant(pinned, most, book.limits().server_max);
            return Err(self.refused(fault, "pins_tenant"));
        }
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
