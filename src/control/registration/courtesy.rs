//! Registrations give way to tenants at work.
//!
//! A registration takes some 40 ms of a processor, half of it for the hash and half in PostgreSQL: a
//! burst of them would take what tenants' sessions run on. So hashes, which every registration
//! begins with, have turns, and where tenants are at work and the processor is short a turn is
//! followed by a rest. Priorities alone do not do it: they count within one service's group of
//! processes, and PostgreSQL's part has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control::{Refused, failed};

/// Whether tenants are at work now.
pub struct AtWork(pub Box<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for AtWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtWork")
    }
}

/// The turns. Lives as long as the registration.
#[derive(Debug)]
pub(super) struct Courtesy {
    turns: Arc<Semaphore>,
    /// How many turns there are at once.
    at_once: u32,
    /// How many wait for theirs.
    waiting: AtomicUsize,
    at_work: AtWork,
    /// Microseconds of the fastest so far: what one takes on a processor of its own.
    fastest: AtomicU64,
}

/// How many times what a turn takes at best the rest behind it takes: a twenty-fifth of the
/// processors is hashing then, and as much again is PostgreSQL's part. Measured:
/// `docs/DECISIONS.md`.
const REST: u32 = 24;

/// How much longer than at best it takes where the processor is short, in tenths.
const SHORT_TENTHS: u32 = 13;

/// How long the last in line should wait: rests are shortened where it would be longer.
const LINE: Duration = Duration::from_secs(18);

/// How long one may wait for its turn. Less than `http.request_timeout`, so that who is refused
/// knows that nothing was begun.
const PATIENCE: Duration = Duration::from_secs(25);

/// One that waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Courtesy {
    /// One turn at a time for each processor.
    pub(super) fn new(at_work: AtWork) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            at_once: u32::try_from(cores).unwrap_or(u32::MAX),
            waiting: AtomicUsize::new(0),
            at_work,
            fastest: AtomicU64::new(u64::MAX),
        }
    }

    /// Does `work` when its turn has come. Cancel-safe as `work` is.
    ///
    /// # Errors
    /// [`Refused::Busy`] when it does not come in time.
    pub(super) async fn in_turn<T>(&self, work: impl Future<Output = T>) -> Result<T, Refused> {
        let waiting = Waiting::among(&self.waiting);
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await.map_err(|_| Refused::Busy)?;
        drop(waiting);
        let turn = turn.map_err(failed::internal)?;
        let begun = Instant::now();
        let done = work.await;
        self.end(turn, begun.elapsed());
        Ok(done)
    }

    fn end(&self, turn: OwnedSemaphorePermit, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let fastest = self.fastest.fetch_min(micros, Ordering::Relaxed).min(micros);
        let fastest = Duration::from_micros(fastest);
        if took * 10 > fastest * SHORT_TENTHS && (self.at_work.0)() {
            let rest = (fastest * REST).min(self.share_of_line().saturating_sub(took));
            tokio::spawn(async move {
                tokio::time::sleep(rest).await;
                drop(turn);
            });
        }
    }

    /// What a turn and its rest may take so that the last in line waits no longer than [`LINE`].
    fn share_of_line(&self) -> Duration {
        let waiting = u32::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        LINE.saturating_mul(self.at_once) / waiting.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns_left(at_work: bool, took: u64) -> usize {
        let courtesy = Courtesy::new(AtWork(Box::new(move || at_work)));
        let all = courtesy.turns.available_permits();
        for micros in [10_000, took] {
            let turn = Arc::clone(&courtesy.turns).try_acquire_owned().expect("a turn");
            courtesy.end(turn, Duration::from_micros(micros));
        }
        all - courtesy.turns.available_permits()
    }

    #[tokio::test]
    async fn a_turn_rests_where_tenants_work_and_the_processor_is_short() {
        assert_eq!(turns_left(true, 14_000), 1);
        assert_eq!(turns_left(true, 12_000), 0, "it is not short");
        assert_eq!(turns_left(false, 14_000), 0, "nobody is at work");
    }

    #[tokio::test]
    async fn a_long_line_shortens_the_rests() {
        let courtesy = Courtesy::new(AtWork(Box::new(|| true)));
        let waiting: Vec<_> = (0..36).map(|_| Waiting::among(&courtesy.waiting)).collect();
        assert_eq!(courtesy.share_of_line(), Duration::from_millis(500) * courtesy.at_once);
        drop(waiting);
        assert_eq!(courtesy.share_of_line(), LINE * courtesy.at_once);
    }

    #[tokio::test]
    async fn what_was_done_is_given_back() {
        let courtesy = Courtesy::new(AtWork(Box::new(|| true)));
        assert_eq!(courtesy.in_turn(async { 7 }).await.ok(), Some(7));
    }
}
