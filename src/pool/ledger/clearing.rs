//! Making way at PostgreSQL's limit: an idle server is closed for a client of another class whose
//! dial was refused.
//!
//! It may not help: the limit may be the login's own, or somebody else takes what comes free. So
//! one is closed at a time, the next when a dial has succeeded or a second later, and after some
//! that were closed in vain later still.

use std::time::{Duration, Instant};

/// How long none is closed after one that may have been closed in vain; doubled with each that was.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// Not doubled more often than this: who is at the head meanwhile may be another.
const DOUBLINGS_MAX: u32 = 3;

/// What came of the servers closed so.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    /// When the last one was closed.
    made: Option<Instant>,
    /// No dial has told yet whether that helped.
    is_tried: bool,
    /// How many in a row did not.
    vain: u32,
}

impl Clearing {
    /// Whether one was closed, and no dial has succeeded since.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_tried || self.vain > 0
    }

    /// Whether one may be closed now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.opens().is_none_or(|at| at <= now)
    }

    /// When the next one may be closed, if it has to wait for that.
    pub(super) fn opens(&self) -> Option<Instant> {
        let made = self.made.filter(|_| self.is_doubtful())?;
        Some(made + PAUSE_FIRST * (1 << self.vain.saturating_sub(1).min(DOUBLINGS_MAX)))
    }

    /// One is closed.
    pub(super) fn made(&mut self, now: Instant) {
        self.made = Some(now);
        self.is_tried = true;
    }

    /// A dial was refused all the same.
    pub(super) fn failed(&mut self) {
        self.vain = self.vain.saturating_add(u32::from(std::mem::take(&mut self.is_tried)));
    }

    /// A dial succeeded.
    pub(super) fn helped(&mut self) {
        (self.is_tried, self.vain) = (false, 0);
    }
}
