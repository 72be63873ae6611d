//! What all rooms share: settings, alarms, counters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::counters::Counters;
use super::room::Room;
use super::{Conn, News, PinSettings, PoolSettings, lock};

/// Shared by the rooms of one [`super::Pools`].
pub(super) struct Common<S: Conn> {
    pub pool: PoolSettings,
    pub pins: PinSettings,
    pub counters: Arc<Counters>,
    alarms: Mutex<BinaryHeap<Reverse<Alarm<S>>>>,
    /// Rung when the housekeeping has to look sooner than it planned.
    pub bell: Notify,
    /// Rung when a paused room has given back its last server.
    pub stilled: Notify,
    /// Whether the housekeeping looks every few milliseconds as it is.
    pub is_ticking: AtomicBool,
    /// How many processes there are.
    pub parts: AtomicU32,
    news: OnceLock<mpsc::Sender<News>>,
    dice: AtomicU64,
}

impl<S: Conn> Common<S> {
    pub(super) fn new(pool: PoolSettings, pins: PinSettings, counters: Arc<Counters>) -> Self {
        let seed = std::collections::hash_map::RandomState::new().hash_one(0_u8);
        Self {
            pool,
            pins,
            counters,
            alarms: Mutex::new(BinaryHeap::new()),
            bell: Notify::new(),
            stilled: Notify::new(),
            is_ticking: AtomicBool::new(false),
            parts: AtomicU32::new(1),
            news: OnceLock::new(),
            dice: AtomicU64::new(seed),
        }
    }

    /// `span`, give or take a tenth.
    pub(super) fn jittered(&self, span: Duration) -> Duration {
        // A step of splitmix64: spread is all that is asked of it.
        let mut z = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let permille = 900 + u32::try_from((z >> 33) % 201).unwrap_or(100);
        span.saturating_mul(permille) / 1_000
    }

    /// From now on somebody hears the news. The first one stays.
    pub(super) fn report_to(&self, sender: mpsc::Sender<News>) {
        let _ = self.news.set(sender);
    }

    /// Tells news, unless nobody hears it or it would concern only others and there are none.
    /// What does not fit is dropped: who still wants says so again.
    pub(super) fn tell(&self, news: News) {
        let alone = self.parts.load(Ordering::Relaxed) <= 1;
        if alone && !matches!(news, News::Opened(_)) {
            return;
        }
        if let Some(sender) = self.news.get() {
            let _ = sender.try_send(news);
        }
    }

    pub(super) fn set_alarm(&self, room: &Arc<Room<S>>, at: Instant) {
        lock(&self.alarms).push(Reverse(Alarm { at, room: Arc::downgrade(room) }));
        self.bell.notify_one();
    }

    /// The rooms whose alarm has gone off.
    pub(super) fn due(&self, now: Instant) -> Vec<Arc<Room<S>>> {
        let mut alarms = lock(&self.alarms);
        let mut rooms = Vec::new();
        while alarms.peek().is_some_and(|Reverse(alarm)| alarm.at <= now) {
            rooms.extend(alarms.pop().map(|Reverse(alarm)| alarm.room));
        }
        drop(alarms);
        rooms.iter().filter_map(Weak::upgrade).collect()
    }

    /// Forgets the alarms of rooms that are no more. An alarm keeps its room's memory until it goes
    /// off, `queue_timeout` after somebody stood in line there.
    pub(super) fn sweep_alarms(&self) {
        let mut alarms = lock(&self.alarms);
        alarms.retain(|Reverse(alarm)| alarm.room.strong_count() > 0);
        if alarms.capacity() > 4 * alarms.len() {
            alarms.shrink_to_fit();
        }
    }

    /// Has the housekeeping look every few milliseconds, if it does not yet.
    pub(super) fn stir(&self) {
        if !self.is_ticking.load(Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    /// How many are set.
    #[cfg(test)]
    pub(super) fn alarms(&self) -> usize {
        lock(&self.alarms).len()
    }

    /// When the next alarm goes off.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        lock(&self.alarms).peek().map(|Reverse(alarm)| alarm.at)
    }
}

struct Alarm<S: Conn> {
    at: Instant,
    room: Weak<Room<S>>,
}

impl<S: Conn> PartialEq for Alarm<S> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<S: Conn> Eq for Alarm<S> {}

impl<S: Conn> PartialOrd for Alarm<S> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: Conn> Ord for Alarm<S> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
