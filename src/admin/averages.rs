//! `SHOW STATS_AVERAGES`: what was done per second in the last whole period.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ident::TenantId;
use crate::pool::RoomFigures;

/// Running totals of one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) leases: u64,
    pub(super) transactions: u64,
    pub(super) leased_us: u64,
    pub(super) wait_us: u64,
}

impl Totals {
    pub(super) fn of(room: &RoomFigures) -> Self {
        Self {
            leases: room.leases,
            transactions: room.transactions,
            leased_us: micros(room.leased_time),
            wait_us: micros(room.wait_time),
        }
    }

    /// These and those.
    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What came since `before`. A room that was opened anew began at zero again.
    fn since(self, before: Self) -> Self {
        if self.leases < before.leases || self.transactions < before.transactions {
            return self;
        }
        self.with(before, u64::saturating_sub)
    }

    fn with(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            leases: join(self.leases, other.leases),
            transactions: join(self.transactions, other.transactions),
            leased_us: join(self.leased_us, other.leased_us),
            wait_us: join(self.wait_us, other.wait_us),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// One tenant's averages: counts per second, times per event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Average {
    pub(super) leases: u64,
    pub(super) transactions: u64,
    pub(super) leased_us: u64,
    pub(super) wait_us: u64,
}

/// The last period's averages, and the totals it ended with.
#[derive(Debug, Default)]
pub(super) struct Averages {
    taken: Option<Instant>,
    totals: HashMap<TenantId, Totals>,
    averages: HashMap<TenantId, Average>,
}

impl Averages {
    /// Ends a period.
    pub(super) fn sample(&mut self, rooms: &[RoomFigures], now: Instant) {
        let totals = rooms.iter().map(|room| (room.tenant.clone(), Totals::of(room))).collect();
        self.end_period(totals, now);
    }

    fn end_period(&mut self, totals: HashMap<TenantId, Totals>, now: Instant) {
        let span = self.taken.map_or(0, |at| micros(now.saturating_duration_since(at)));
        self.averages.clear();
        for (tenant, total) in totals.iter().filter(|_| span > 0) {
            let before = self.totals.get(tenant).copied().unwrap_or_default();
            self.averages.insert(tenant.clone(), average(total.since(before), span));
        }
        (self.taken, self.totals) = (Some(now), totals);
    }

    /// A tenant's averages; zeros before the first period has ended.
    pub(super) fn of(&self, tenant: &TenantId) -> Average {
        self.averages.get(tenant).copied().unwrap_or_default()
    }
}

fn average(done: Totals, span_us: u64) -> Average {
    let per_second = |count: u64| {
        let scaled = u128::from(count) * 1_000_000 / u128::from(span_us.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    };
    Average {
        leases: per_second(done.leases),
        transactions: per_second(done.transactions),
        leased_us: done.leased_us / done.transactions.max(done.leases).max(1),
        wait_us: done.wait_us / done.leases.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_of_the_last_whole_period() {
        let start = Instant::now();
        let tenant = TenantId::parse("a").expect("valid");
        let totals = |leases, transactions, leased_us, wait_us| {
            let total = Totals { leases, transactions, leased_us, wait_us };
            HashMap::from([(tenant.clone(), total)])
        };
        let mut averages = Averages::default();
        averages.end_period(totals(10, 10, 0, 0), start);
        assert_eq!(averages.of(&tenant), Average::default());
        averages.end_period(totals(30, 30, 4_000, 100), start + Duration::from_secs(10));
        let expected = Average { leases: 2, transactions: 2, leased_us: 200, wait_us: 5 };
        assert_eq!(averages.of(&tenant), expected);
        // The room was closed and opened again in between.
        averages.end_period(totals(10, 10, 100, 0), start + Duration::from_secs(20));
        assert_eq!(averages.of(&tenant).transactions, 1);
    }
}
