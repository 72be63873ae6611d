//! How a tenant's dials have fared, and when the next one may be tried.

use std::time::{Duration, Instant};

use super::{Ledger, Waiter};
use crate::pool::Class;

/// Whose connection limit a dial ran into (SQLSTATE 53300, told apart by the error's routine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullOf {
    /// The tenant's database or role: another pgusher, or somebody else, holds the rest.
    Tenant,
    /// The PostgreSQL server as a whole.
    Server,
}

/// The state of a tenant's dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Dials {
    /// As many as are wanted.
    Open,
    /// The tenant's limit is reached at PostgreSQL: none until then, or until a server is released.
    Full { until: Instant, streak: u32 },
    /// They fail: one at a time, none until then.
    Failing { until: Instant, streak: u32 },
}

/// The first pause after a failed dial; doubled with each one that follows.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// The pause after the `streak`th failure in a row.
pub(super) fn pause(streak: u32, most: Duration) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << streak.min(10)).min(most.max(PAUSE_FIRST))
}

impl Dials {
    /// How many dials may be under way, of `headroom` that the limits allow.
    pub(super) fn allowed(self, now: Instant, headroom: u32, dialing: u32) -> u32 {
        match self {
            Self::Open => headroom,
            Self::Full { until, .. } | Self::Failing { until, .. } if now < until => 0,
            Self::Full { .. } | Self::Failing { .. } => headroom.min(1_u32.saturating_sub(dialing)),
        }
    }

    /// When the pause ends, while there is one.
    pub(super) fn resumes(self) -> Option<Instant> {
        match self {
            Self::Open => None,
            Self::Full { until, .. } | Self::Failing { until, .. } => Some(until),
        }
    }

    pub(super) fn full(self, now: Instant, most: Duration) -> Self {
        let streak = match self {
            Self::Full { streak, .. } => streak + 1,
            _ => 0,
        };
        Self::Full { until: now + pause(streak, most), streak }
    }

    pub(super) fn failed(self, now: Instant, most: Duration) -> Self {
        let streak = match self {
            Self::Failing { streak, .. } => streak + 1,
            _ => 0,
        };
        Self::Failing { until: now + pause(streak, most), streak }
    }
}

/// The longest pause between two dials of a tenant that holds no server, when its limit is reached.
const PAUSE_BARE: Duration = Duration::from_millis(250);

impl<W, V> Ledger<W, V> {
    /// A dial became a server, leased to the client that dialed.
    pub(in crate::pool) fn opened(&mut self) {
        self.dialing -= 1;
        self.leased += 1;
        self.leases += 1;
        self.dials = Dials::Open;
        self.clearing.helped();
    }

    /// A dial was given up or failed.
    pub(in crate::pool) fn dial_ended(&mut self) {
        self.dialing -= 1;
    }

    /// PostgreSQL refused a dial for being full: its client goes back to its place in line. Of a
    /// full server the budget knows what to do.
    pub(in crate::pool) fn refused_full(
        &mut self,
        waiter: Waiter<W>,
        of: FullOf,
        now: Instant,
        pause_max: Duration,
    ) {
        if of == FullOf::Tenant {
            // Who holds nothing is soon let in by the others.
            let pause_max = if self.used() == 0 { pause_max.min(PAUSE_BARE) } else { pause_max };
            self.dials = self.dials.full(now, pause_max);
            self.clearing.failed();
        }
        self.line.put_back(waiter);
    }

    /// A dial with the login of `class` failed. Those in line with that login cannot be served
    /// either, unless an idle server fits them or servers are leased that will come back: they are
    /// to be told. Another login may still be let in. Behind a pause all wait for its end.
    pub(in crate::pool) fn dial_failed(
        &mut self,
        class: Class,
        now: Instant,
        pause_max: Duration,
    ) -> Vec<Waiter<W>> {
        self.dials = self.dials.failed(now, pause_max);
        if self.leased > 0 || self.is_paused {
            return Vec::new();
        }
        let idle = &self.idle;
        self.line.extract(|w| w.class.plain() == class.plain() && !idle.has(w.class))
    }

    /// A dial slot ended without telling how the dial went: the next may try at once.
    pub(in crate::pool) fn dial_unknown(&mut self, now: Instant) {
        if let Dials::Failing { streak, .. } = self.dials {
            self.dials = Dials::Failing { until: now, streak };
        }
    }
}
