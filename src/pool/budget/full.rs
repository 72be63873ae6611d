//! A PostgreSQL server that refuses connections the budget still had: others take part in its
//! `max_connections`. The budget is as small as what was held then until it proves otherwise.

use std::time::{Duration, Instant};

use super::Budget;

/// What is known of a full server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// Connections held when it refused one more.
    most: u32,
    /// Until then none beyond those is tried; then one.
    until: Instant,
    streak: u32,
}

/// The pause after the first refusal; doubled with each that follows.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

impl Budget {
    /// PostgreSQL refused a dial; its slot was given back.
    pub(super) fn refused(&mut self, now: Instant) {
        let streak = self.full.map_or(0, |full| full.streak.saturating_add(1));
        let pause = PAUSE_FIRST.saturating_mul(1 << streak.min(10));
        let pause = pause.min(self.rules.pause_max.max(PAUSE_FIRST));
        self.full = Some(Full { most: self.used, until: now + pause, streak });
    }

    /// Slots there are: the rules', or as many as PostgreSQL was seen to give.
    pub(super) fn total(&self) -> u32 {
        let Some(full) = self.full else { return self.rules.total };
        let tries = self.ticked.is_some_and(|now| now >= full.until);
        full.most.saturating_add(u32::from(tries)).min(self.rules.total)
    }

    /// Whether the server was full when last asked.
    pub(in crate::pool) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// When one more connection may be tried; `None` where nobody waits for that.
    pub(in crate::pool) fn tries_at(&self) -> Option<Instant> {
        let full = self.full.filter(|_| !self.order.is_empty())?;
        self.ticked.is_none_or(|now| now < full.until).then_some(full.until)
    }

    /// Looks again: a pause may be over, or a close may take too long.
    pub(in crate::pool) fn look(&mut self, now: Instant, grants: &mut Vec<super::Seat>) {
        if self.full.is_some() || self.owes() {
            self.tick(now);
            self.settle(grants);
        }
    }
}
