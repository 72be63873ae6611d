//! Connections that are being closed, told apart by how long that has taken.
//!
//! A close takes milliseconds, and what comes free by it can be given away at once. One that takes
//! longer may never end (its backend traps the cancel, its host is gone): nobody is to wait for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The closes of a budget or of a tenant.
#[derive(Debug, Default)]
pub(super) struct Closes {
    /// Those that were begun lately, by when.
    fresh: BTreeMap<Instant, u32>,
    soon: u32,
    all: u32,
}

impl Closes {
    /// All of them.
    pub(super) fn all(&self) -> u32 {
        self.all
    }

    /// Those that are expected to end soon, as of when they were last aged.
    pub(super) fn soon(&self) -> u32 {
        self.soon
    }

    pub(super) fn begin(&mut self, now: Instant) {
        *self.fresh.entry(now).or_default() += 1;
        self.soon += 1;
        self.all += 1;
    }

    /// One that was begun then has ended. Those begun in the same instant are alike.
    pub(super) fn end(&mut self, began: Instant) {
        self.all -= 1;
        let Some(count) = self.fresh.get_mut(&began) else { return };
        *count -= 1;
        self.soon -= 1;
        if *count == 0 {
            self.fresh.remove(&began);
        }
    }

    /// Expects no more of those that were begun `most` ago.
    pub(super) fn age(&mut self, now: Instant, most: Duration) {
        while let Some(oldest) = self.fresh.first_entry()
            && now.saturating_duration_since(*oldest.key()) >= most
        {
            self.soon -= oldest.remove();
        }
    }

    /// When the next of them has taken `most`.
    pub(super) fn ages(&self, now: Instant, most: Duration) -> Option<Instant> {
        self.fresh.keys().map(|began| *began + most).find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_is_expected_to_end_for_a_while_only() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let most = Duration::from_millis(100);
        let mut closes = Closes::default();
        for ms in [0, 0, 50] {
            closes.begin(at(ms));
        }
        closes.end(at(0));
        assert_eq!((closes.soon(), closes.all()), (2, 2));
        assert_eq!(closes.ages(at(60), most), Some(at(100)));
        closes.age(at(100), most);
        assert_eq!((closes.soon(), closes.all()), (1, 2));
        assert_eq!(closes.ages(at(100), most), Some(at(150)));
        closes.end(at(0));
        assert_eq!((closes.soon(), closes.all()), (1, 1));
        closes.end(at(50));
        assert_eq!((closes.soon(), closes.all(), closes.ages(at(0), most)), (0, 0, None));
    }
}
