//! What failing costs, per address and per key id.
//!
//! Only failures are slowed: who presents something valid passes at once, whatever their
//! neighbours behind the same address did. So nobody is locked out, and guessing gets slow: after
//! a burst each failure's answer waits longer, and when too many answers wait already the
//! connection is dropped without one. Memory is bounded, entries fade.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::AuthMetrics;
use crate::net::network;
use crate::units::Span;

/// `[auth.throttle]`: what failed logins cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleSettings {
    /// Whether failures are slowed at all.
    pub enabled: bool,
    /// How many failures in a row cost nothing.
    pub burst: u32,
    /// How long until one failure is forgotten.
    pub forget_every: Span,
    /// How much longer each failure above the burst waits for its answer.
    pub delay_step: Span,
    /// The longest wait for an answer.
    pub delay_max: Span,
    /// How many answers may wait at once; beyond it connections are dropped without one.
    pub delayed_max: usize,
    /// How many addresses and key ids are remembered.
    pub entries_max: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            burst: 10,
            forget_every: Span::secs(1),
            delay_step: Span::millis(250),
            delay_max: Span::secs(5),
            delayed_max: 1_024,
            entries_max: 65_536,
        }
    }
}

/// What to do with a failure's answer.
#[derive(Debug)]
#[must_use = "the seat is given back when the penalty is dropped: hold it while waiting"]
pub enum Penalty {
    /// Send it now.
    None,
    /// Wait this long, holding the seat, then send it.
    Wait(Duration, Seat),
    /// Close without an answer.
    Drop,
}

/// A place among the answers that wait; given back when dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    /// An IPv4 address, or the /64 an IPv6 address is in: that is what one customer holds.
    Address(IpAddr),
    Key(u64),
}

/// A bucket that fills with failures and leaks; `empty_at` says all of it.
type EmptyAt = Instant;

const SHARDS: usize = 16;

/// The failures remembered.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    shards: [Mutex<HashMap<Source, EmptyAt>>; SHARDS],
    hasher: RandomState,
    delayed: Arc<AtomicUsize>,
    metrics: AuthMetrics,
}

impl Throttle {
    /// Nobody has failed yet.
    pub fn new(settings: ThrottleSettings, metrics: AuthMetrics) -> Self {
        Self {
            settings,
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            delayed: Arc::default(),
            metrics,
        }
    }

    /// Takes note of a failed login from `address` (`None`: a local socket, which is not slowed)
    /// with the API key id `key`, if one was named; says what to do with the answer.
    pub fn failed(&self, address: Option<IpAddr>, key: Option<&str>, now: Instant) -> Penalty {
        if !self.settings.enabled {
            return Penalty::None;
        }
        let address = address.map(|ip| self.fill(Source::Address(network(ip)), now));
        // The key's bucket slows a guesser who has many addresses.
        let key = key.map(|id| self.fill(Source::Key(self.hasher.hash_one(id)), now));
        let wait = address.max(key).unwrap_or_default();
        if wait.is_zero() {
            return Penalty::None;
        }
        let seated = self.delayed.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(Arc::clone(&self.delayed));
        if seated >= self.settings.delayed_max {
            self.metrics.penalties.with_label_values(&["dropped"]).inc();
            return Penalty::Drop;
        }
        self.metrics.penalties.with_label_values(&["delayed"]).inc();
        Penalty::Wait(wait, seat)
    }

    /// How many addresses and key ids are remembered.
    pub fn remembered(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Pours one failure into the bucket of `source`; gives the wait it has earned.
    fn fill(&self, source: Source, now: Instant) -> Duration {
        let one = self.settings.forget_every.get().max(Duration::from_millis(1));
        let steps_max = self.steps_max();
        let index = usize::try_from(self.hasher.hash_one(&source) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(index) else { return Duration::ZERO };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(&mut shard, &source, now);
        let empty_at = shard.entry(source).or_insert(now);
        let level = empty_at.saturating_duration_since(now);
        // A bucket does not fill past what earns the longest wait: it empties in bounded time.
        let full = one.saturating_mul(self.settings.burst.saturating_add(steps_max));
        let level = level.saturating_add(one).min(full);
        *empty_at = now.checked_add(level).unwrap_or(now);
        drop(shard);
        let failures = u32::try_from(level.as_nanos() / one.as_nanos()).unwrap_or(u32::MAX);
        let above = failures.saturating_sub(self.settings.burst);
        self.settings.delay_step.get().saturating_mul(above).min(self.settings.delay_max.get())
    }

    /// How many failures above the burst earn the longest wait.
    fn steps_max(&self) -> u32 {
        let step = self.settings.delay_step.get().as_nanos().max(1);
        u32::try_from(self.settings.delay_max.get().as_nanos() / step).unwrap_or(u32::MAX).max(1)
    }

    /// Keeps a shard within its share: first the faded go, then any. An attacker with that many
    /// addresses is not slowed by address anyway, but by the seats.
    fn make_room(&self, shard: &mut HashMap<Source, EmptyAt>, source: &Source, now: Instant) {
        let share = (self.settings.entries_max / SHARDS).max(1);
        if shard.len() < share || shard.contains_key(source) {
            return;
        }
        shard.retain(|_, empty_at| *empty_at > now);
        if shard.len() >= share
            && let Some(victim) = shard.keys().next().cloned()
        {
            shard.remove(&victim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(settings: ThrottleSettings) -> Throttle {
        let metrics = AuthMetrics::new(&prometheus::Registry::new()).expect("metrics");
        Throttle::new(settings, metrics)
    }

    fn wait(penalty: &Penalty) -> Option<Duration> {
        match penalty {
            Penalty::None => Some(Duration::ZERO),
            Penalty::Wait(wait, _) => Some(*wait),
            Penalty::Drop => None,
        }
    }

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_burst_is_free_then_waits_grow_to_a_limit_and_fade() {
        let throttle = throttle(ThrottleSettings::default());
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(wait(&throttle.failed(Some(V4), None, now)), Some(Duration::ZERO));
        }
        let waits: Vec<_> =
            (0..30).map(|_| wait(&throttle.failed(Some(V4), None, now)).expect("seat")).collect();
        assert_eq!(waits[0], Duration::from_millis(250));
        assert_eq!(waits[1], Duration::from_millis(500));
        assert_eq!(waits[29], Duration::from_secs(5));
        let other = "192.0.2.2".parse().ok();
        assert_eq!(wait(&throttle.failed(other, None, now)), Some(Duration::ZERO));
        let later = now + Duration::from_secs(60);
        assert_eq!(wait(&throttle.failed(Some(V4), None, later)), Some(Duration::ZERO));
    }

    #[test]
    fn a_key_id_is_slowed_across_addresses_and_a_v6_block_counts_as_one() {
        let throttle = throttle(ThrottleSettings { burst: 1, ..ThrottleSettings::default() });
        let now = Instant::now();
        let ip = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        assert_eq!(wait(&throttle.failed(ip(1), Some("k"), now)), Some(Duration::ZERO));
        assert_ne!(wait(&throttle.failed(ip(2), Some("k"), now)), Some(Duration::ZERO));
        let v6 = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(wait(&throttle.failed(v6("2001:db8::1"), None, now)), Some(Duration::ZERO));
        assert_ne!(wait(&throttle.failed(v6("2001:db8::2"), None, now)), Some(Duration::ZERO));
        let mapped = v6("::ffff:192.0.2.1");
        assert_ne!(wait(&throttle.failed(mapped, None, now)), Some(Duration::ZERO));
    }

    #[test]
    fn memory_and_waiting_answers_are_bounded() {
        let settings = ThrottleSettings {
            burst: 0,
            delayed_max: 3,
            entries_max: 64,
            ..ThrottleSettings::default()
        };
        let throttle = throttle(settings);
        let now = Instant::now();
        let mut seats: Vec<_> = (0..3).map(|_| throttle.failed(Some(V4), None, now)).collect();
        assert!(seats.iter().all(|penalty| matches!(penalty, Penalty::Wait(..))));
        assert!(matches!(throttle.failed(Some(V4), None, now), Penalty::Drop));
        seats.pop();
        assert!(matches!(throttle.failed(Some(V4), None, now), Penalty::Wait(..)));
        for n in 0..100_000_u32 {
            let _ = throttle.failed(Some(IpAddr::from(n.to_be_bytes())), None, now);
        }
        assert!(throttle.remembered() <= 64, "{}", throttle.remembered());
    }

    #[test]
    fn switched_off_it_does_nothing() {
        let throttle =
            throttle(ThrottleSettings { enabled: false, burst: 0, ..ThrottleSettings::default() });
        assert!(matches!(throttle.failed(Some(V4), None, Instant::now()), Penalty::None));
        assert_eq!(throttle.remembered(), 0);
    }
}
