//! When a tenant that asks for nothing is expected to ask again.
//!
//! Where tenants take servers from one another, a server that is closed too early is dialled again:
//! milliseconds of PostgreSQL's processor. The best to close is the one wanted last. For tenants
//! that come round, one after the other, that is the one that has just been; the one idle for
//! longest is the next to be wanted. For those that come as chance has it, it is the one whose
//! rests are long; for those that have left, the one that is long overdue.

use std::time::{Duration, Instant};

/// A tenant's rests: the times without a lease and without anybody in line.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Since when.
    since: Option<Instant>,
    /// How long they take, a moving mean; zero until the first is over.
    mean: Duration,
}

impl Rest {
    /// Nobody has or wants a server any more.
    pub(super) fn begins(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Somebody asks for a server.
    pub(super) fn ends(&mut self, now: Instant) {
        let Some(since) = self.since.take() else { return };
        let took = now.saturating_duration_since(since);
        self.mean = if self.mean.is_zero() { took } else { (self.mean * 3 + took) / 4 };
    }

    /// How far the tenant is from when it is expected, before or behind. `None` while it does not
    /// rest.
    pub(super) fn off(&self, now: Instant) -> Option<Duration> {
        Some(self.mean.abs_diff(now.saturating_duration_since(self.since?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wanted_last_is_furthest_off() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rested = |times: &[(u64, u64)], since| {
            let mut rest = Rest::default();
            for (from, to) in times {
                rest.begins(at(*from));
                rest.ends(at(*to));
            }
            assert_eq!(rest.off(at(since)), None);
            rest.begins(at(since));
            rest.off(at(10_000)).expect("it rests")
        };
        // Both come every four seconds: the one that was here three seconds ago comes first.
        assert!(rested(&[(0, 4_000)], 9_000) > rested(&[(0, 4_000)], 7_000));
        // One comes every few milliseconds, one every four seconds.
        assert!(rested(&[(0, 4_000)], 9_900) > rested(&[(0, 10)], 9_900));
        // One came every few milliseconds, and has left.
        assert!(rested(&[(0, 10)], 2_000) > rested(&[(0, 4_000)], 9_000));
        // Of those that came once, the one longest ago.
        assert!(rested(&[], 2_000) > rested(&[], 9_000));
    }

    #[test]
    fn the_mean_follows() {
        let start = Instant::now();
        let (mut rest, mut now) = (Rest::default(), start);
        for took in [1_000, 100, 100, 100, 100, 100, 100, 100, 100] {
            rest.begins(now);
            now += Duration::from_millis(took);
            rest.ends(now);
        }
        rest.ends(now + Duration::from_secs(9));
        assert!(rest.mean < Duration::from_millis(200), "{:?}", rest.mean);
    }
}
