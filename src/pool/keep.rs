//! The housekeeping of the pool: one task, woken when there is something to do.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::deeds::Deeds;
use super::till::Till;
use super::{Conn, Pools};

/// How often idle servers are looked over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How often, while tenants wait for others' servers, it is checked whether one may be taken now.
const TICK: Duration = Duration::from_millis(5);

impl<S: Conn> Pools<S> {
    /// Runs the housekeeping until it is dropped: ends the pauses of failed dials, refuses those who
    /// have waited too long, takes back promises that are not kept, moves idle servers to waiting
    /// tenants once they may be, closes what is dead or has had its time. One such task must run, on
    /// the runtime that owns the sockets.
    pub async fn keep(&self) {
        let common = &self.0.common;
        let mut sweep_at = super::now() + SWEEP_EVERY;
        loop {
            let now = super::now();
            self.tick(now);
            if now >= sweep_at {
                self.sweep(now);
                sweep_at = now + SWEEP_EVERY;
            }
            // Said before it is looked, so that whoever becomes pressed after the look rings.
            common.is_ticking.store(false, Ordering::SeqCst);
            let busy = |till: &Till<S>| till.is_pressed() || till.owes() || till.is_over();
            let ticks = self.tills().iter().any(|till| busy(till));
            common.is_ticking.store(ticks, Ordering::SeqCst);
            let mut wake = common.next_alarm().map_or(sweep_at, |at| at.min(sweep_at));
            wake = self.tills().iter().filter_map(|till| till.tries_at()).fold(wake, Instant::min);
            if ticks {
                wake = wake.min(now + TICK);
            }
            let sleep = tokio::time::sleep_until(tokio::time::Instant::from_std(wake));
            tokio::select! {
                () = sleep => {}
                () = common.bell.notified() => {}
            }
        }
    }

    /// When the next alarm goes off.
    #[cfg(test)]
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.0.common.next_alarm()
    }

    /// Ends pauses that are over and moves what may be moved.
    pub(super) fn tick(&self, now: Instant) {
        let mut deeds = Deeds::new();
        for room in self.0.common.due(now) {
            room.look(now, &mut deeds);
        }
        for till in self.tills() {
            till.with(&mut deeds, |b, grants| b.look(now, grants));
            till.evict(now, &mut deeds);
        }
        deeds.perform(now);
    }

    /// Closes idle servers that are dead, too old or idle for too long, and drops empty rooms.
    pub(super) fn sweep(&self, now: Instant) {
        for room in self.all_rooms() {
            let mut deeds = Deeds::new();
            room.sweep(now, &mut deeds);
            deeds.perform(now);
            self.drop_vacant(&room, now);
        }
        self.0.common.sweep_alarms();
    }
}
