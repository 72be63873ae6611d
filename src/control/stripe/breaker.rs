//! A circuit breaker: who fails again and again is left alone for a while. Pure: the clock is an
//! argument.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max: failures_max.max(1), pause, failures: 0, open_until: None }
    }

    /// How many calls may be made now: none while it is open, one to try when the pause is over,
    /// else `wanted`.
    pub(super) fn allows(&self, wanted: usize, now: Instant) -> usize {
        match self.open_until {
            Some(until) if now < until => 0,
            Some(_) => wanted.min(1),
            None => wanted,
        }
    }

    /// Whether it is open.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// They answer.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// They do not.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failures_max {
            self.open_until = now.checked_add(self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_tries_once_and_closes() {
        let (start, pause) = (Instant::now(), Duration::from_secs(30));
        let mut breaker = Breaker::new(3, pause);
        for _ in 0..2 {
            breaker.failed(start);
            assert_eq!(breaker.allows(10, start), 10);
        }
        breaker.failed(start);
        assert!(breaker.is_open(start));
        assert_eq!(breaker.allows(10, start + pause / 2), 0);
        assert_eq!(breaker.allows(10, start + pause), 1, "one to try");
        breaker.failed(start + pause);
        assert_eq!(breaker.allows(10, start + pause), 0, "and it is open again");
        breaker.succeeded();
        assert_eq!(breaker.allows(10, start + pause), 10);
    }
}
