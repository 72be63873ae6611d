//! A progress bar of one line, on a terminal only.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::control::rollout::Tally;

/// Characters between the brackets.
const WIDTH: u64 = 30;

/// Drawn so often at most.
const EVERY: Duration = Duration::from_millis(100);

/// The bar. Nothing is written where there is no terminal.
#[derive(Debug)]
pub(super) struct Bar {
    drawn: bool,
    begun: Instant,
    last: Option<Instant>,
}

impl Bar {
    pub(super) fn new(drawn: bool) -> Self {
        Self { drawn, begun: Instant::now(), last: None }
    }

    /// Draws it anew.
    pub(super) fn show(&mut self, tally: Tally) {
        let recent = self.last.is_some_and(|last| last.elapsed() < EVERY);
        let ended = tally.migrated.saturating_add(tally.failed) >= tally.total;
        if !self.drawn || (recent && !ended) {
            return;
        }
        self.last = Some(Instant::now());
        drop(write!(std::io::stderr(), "\r{}\x1b[K", line(tally, self.begun.elapsed())));
    }

    /// Takes it off the terminal.
    pub(super) fn clear(&mut self) {
        if self.drawn && self.last.is_some() {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

fn line(tally: Tally, spent: Duration) -> String {
    let done = tally.migrated.saturating_add(tally.failed);
    // Tenants made meanwhile may make it more than all.
    let total = tally.total.max(done).max(1);
    let filled = done.saturating_mul(WIDTH) / total;
    let bar: String = (0..WIDTH).map(|at| if at < filled { '#' } else { '-' }).collect();
    let left = match u32::try_from(done) {
        Ok(0) | Err(_) => String::new(),
        Ok(some) => {
            let each = spent / some;
            let rest = u32::try_from(total - done).unwrap_or(u32::MAX);
            format!("  {} s left", each.saturating_mul(rest).as_secs())
        }
    };
    let failed =
        if tally.failed == 0 { String::new() } else { format!("  {} failed", tally.failed) };
    format!("[{bar}] {done} of {total} tenants{failed}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_it_is() {
        let tally = Tally { total: 300, migrated: 149, failed: 1 };
        let half = line(tally, Duration::from_secs(30));
        assert_eq!(
            half,
            "[###############---------------] 150 of 300 tenants  1 failed  30 s left"
        );
        let none = line(Tally::default(), Duration::ZERO);
        assert!(none.ends_with("] 0 of 1 tenants"), "{none}");
    }
}
