//! When a failed login is answered: so that an unknown e-mail, for which no tenant's database is
//! asked, is as slow as a wrong password, on a busy day too. A tenant can make its own logins slow,
//! and does not find out with it who else is known: both kinds are drawn from the same pot, and no
//! failure counts for more than a fixed time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::verifier::random;

/// Failures are answered at whole steps, so that what is left of a difference does not show.
const STEP: Duration = Duration::from_millis(250);

/// The most steps a failure is remembered with, or made to wait.
const STEPS_MAX: u32 = 8;

/// Failures of known e-mails that are remembered.
const REMEMBERED: usize = 32;

/// How long it took lately to find out that a password is wrong, in steps.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    steps: [u32; REMEMBERED],
    seen: usize,
}

impl Pace {
    /// When to answer a failure that was found out now: at a full step, and as late as one of the
    /// known e-mails' lately, drawn by lot, whether or not this one is known.
    pub(super) fn answer_at(&self, begun: Instant, known: bool) -> Instant {
        let took = begun.elapsed().as_millis() / STEP.as_millis();
        let own = u32::try_from(took).unwrap_or(u32::MAX).saturating_add(1);
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without random numbers the oldest will do.
        let lot = random::<1>().map_or(0, |[byte]| usize::from(byte));
        let drawn = recent.drawn(lot).unwrap_or_default();
        if known {
            recent.note(own.min(STEPS_MAX));
        }
        begun + STEP.saturating_mul(drawn.max(own))
    }
}

impl Recent {
    fn note(&mut self, steps: u32) {
        self.steps[self.seen % REMEMBERED] = steps;
        self.seen = self.seen.saturating_add(1);
    }

    fn drawn(&self, lot: usize) -> Option<u32> {
        let held = self.seen.min(REMEMBERED);
        let at = lot.checked_rem(held)?;
        self.steps.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unknown_e_mail_is_as_late_as_a_known_one() {
        let pace = Pace::default();
        let begun = Instant::now();
        assert_eq!(pace.answer_at(begun, false) - begun, STEP, "nothing is known yet");
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(pace.answer_at(begun, true) - begun, STEP * 3);
        let begun = Instant::now();
        for _ in 0..10 {
            assert_eq!(pace.answer_at(begun, false) - begun, STEP * 3);
        }
        for _ in 0..REMEMBERED {
            pace.answer_at(begun, true);
        }
        assert_eq!(pace.answer_at(begun, false) - begun, STEP, "what was is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn who_makes_its_own_logins_slow_makes_all_failures_alike_and_only_so_slow() {
        let pace = Pace::default();
        let begun = Instant::now();
        tokio::time::advance(STEP * 40).await;
        for _ in 0..REMEMBERED {
            assert!(pace.answer_at(begun, true) - begun >= STEP * 41, "as late as it is");
        }
        let begun = Instant::now();
        for known in [false, false, true] {
            assert_eq!(pace.answer_at(begun, known) - begun, STEP * STEPS_MAX, "{known}");
        }
    }
}
