//! Connections that are being closed, told apart by how long that has taken.
//!
//! A close takes milliseconds, and what comes free by it can be given away at once. One that takes
//! longer may never end (its backend traps the cancel, its host is gone): nobody is to wait for it.
//! Where one after the other does not end, the host is slow or frozen, and closing more of them
//! gains nothing: each is given twice as long as the one before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The closes of a budget or of a tenant.
#[derive(Debug, Default)]
pub(super) struct Closes {
    /// Those that were begun lately, by when.
    fresh: BTreeMap<Instant, u32>,
    soon: u32,
    all: u32,
    /// How often the time they are given has been doubled, and when it last was.
    doubled: u32,
    doubled_at: Option<Instant>,
    /// So many have ended in time since.
    in_time: u32,
}

/// The time a close is given is doubled so often at most.
const DOUBLED_MAX: u32 = 6;

/// When so many have ended in time, one after the other, the first time is enough again.
const IN_TIME: u32 = 8;

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
        self.in_time += 1;
        if self.in_time >= IN_TIME {
            self.doubled = 0;
        }
    }

    /// Expects no more of those that were begun `most` ago, or longer than that where others had not
    /// ended in time.
    pub(super) fn age(&mut self, now: Instant, most: Duration) {
        let given = self.given(most);
        while let Some(oldest) = self.fresh.first_entry()
            && now.saturating_duration_since(*oldest.key()) >= given
        {
            // Those that were under way together are one sign, not many.
            if self.doubled_at.is_none_or(|at| at <= *oldest.key()) {
                self.doubled = (self.doubled + 1).min(DOUBLED_MAX);
                self.doubled_at = Some(now);
            }
            self.in_time = 0;
            self.soon -= oldest.remove();
        }
    }

    /// When the next of them has taken as long as it is given.
    pub(super) fn ages(&self, now: Instant, most: Duration) -> Option<Instant> {
        let given = self.given(most);
        self.fresh.keys().map(|began| *began + given).find(|at| *at > now)
    }

    fn given(&self, most: Duration) -> Duration {
        most * (1 << self.doubled)
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
        closes.end(at(0));
        assert_eq!((closes.soon(), closes.all()), (1, 1));
        closes.end(at(50));
        assert_eq!((closes.soon(), closes.all(), closes.ages(at(0), most)), (0, 0, None));
    }

    #[test]
    fn where_none_ends_in_time_each_is_given_longer_until_some_do() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let most = Duration::from_millis(100);
        let mut closes = Closes::default();
        closes.begin(at(0));
        closes.begin(at(10));
        closes.age(at(110), most);
        assert_eq!(closes.soon(), 0, "both, and they are one sign");
        closes.begin(at(110));
        assert_eq!(closes.ages(at(110), most), Some(at(310)));
        closes.age(at(309), most);
        assert_eq!(closes.soon(), 1);
        closes.age(at(310), most);
        assert_eq!(closes.soon(), 0);
        for n in 0..8 {
            assert_eq!(closes.given(most), Duration::from_millis(400), "{n}");
            closes.begin(at(400 + n));
            closes.end(at(400 + n));
        }
        assert_eq!(closes.given(most), most);
        for _ in 0..100 {
            let ms = u64::try_from(closes.given(most).as_millis()).expect("small");
            let began = closes.doubled_at.expect("doubled");
            closes.begin(began);
            closes.age(began + Duration::from_millis(ms), most);
        }
        assert_eq!(closes.given(most), most * 64);
    }
}
