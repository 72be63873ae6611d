//! A cache that asks once, remembers "no", and outlives its source.
//!
//! Reads are synchronous and never wait; a load runs as a task of the control runtime, so that a
//! caller who goes away cancels nobody's load and no registry socket lives on the data runtime.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use moka::sync::Cache;
use tokio::runtime::Handle;

use crate::fault::Fault;

/// Reads one key from the source.
pub(super) type Load<K, V> =
    Box<dyn Fn(K) -> BoxFuture<'static, Result<Option<V>, Fault>> + Send + Sync>;

/// What a lookup ended with.
#[derive(Debug, Clone)]
pub(super) enum Found<V> {
    /// Remembered and fresh.
    Hit(Option<Arc<V>>),
    /// Read just now.
    Loaded(Option<Arc<V>>),
    /// Remembered, older than it should be; the source is away.
    Stale(Arc<V>),
    /// Not remembered, and the source is away.
    Away,
}

/// How a cache is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) entries_max: u64,
    pub(super) fresh: Duration,
    pub(super) negative: Duration,
}

type Flight<V> = Shared<BoxFuture<'static, Result<Option<Arc<V>>, ()>>>;

/// The cache of one kind of row.
pub(super) struct Remembered<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    entries: Cache<K, Entry<V>>,
    /// Loads under way. Never longer than the number of keys being asked for at once.
    flights: Mutex<HashMap<K, Flight<V>>>,
    /// Raised by every `forget`: a load that began before it may have read the old row.
    epoch: AtomicU64,
    /// Raised by `age_all`: entries loaded under an older generation are no longer fresh.
    generation: AtomicU64,
    bounds: Bounds,
    load: Load<K, V>,
    control: Handle,
}

struct Entry<V> {
    value: Option<Arc<V>>,
    loaded_at: Instant,
    generation: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), loaded_at: self.loaded_at, generation: self.generation }
    }
}

/// How often a load is repeated because its row changed meanwhile.
const LOADS_MAX: usize = 3;

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(bounds: Bounds, control: Handle, load: Load<K, V>) -> Self {
        Self(Arc::new(Inner {
            entries: Cache::new(bounds.entries_max.max(1)),
            flights: Mutex::default(),
            epoch: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            bounds,
            load,
            control,
        }))
    }

    /// What is remembered and fresh, "no" aside. Never waits.
    pub(super) fn cached(&self, key: &K) -> Option<Arc<V>> {
        self.0.fresh(key)?.value
    }

    /// Whether looking it up begins no load, or the load of a row that is remembered: whoever asks,
    /// there are no more such loads than rows.
    pub(super) fn knows(&self, key: &K) -> bool {
        self.0.fresh(key).is_some()
            || self.0.entries.get(key).is_some_and(|entry| entry.value.is_some())
            || self.0.flights().contains_key(key)
    }

    /// The row, from memory or from the source.
    pub(super) async fn find(&self, key: &K) -> Found<V> {
        self.find_with(key, ()).await
    }

    /// As [`Remembered::find`]. What the load is made with is kept until it has ended, though who
    /// asked goes away.
    pub(super) async fn find_with(&self, key: &K, with: impl Send + 'static) -> Found<V> {
        if let Some(entry) = self.0.fresh(key) {
            return Found::Hit(entry.value);
        }
        let flight = self.0.flight(key, with);
        match flight.await {
            Ok(value) => Found::Loaded(value),
            // A remembered "no" is not served stale: the tenant may have been made since.
            Err(()) => match self.0.entries.get(key).and_then(|entry| entry.value) {
                Some(value) => Found::Stale(value),
                None => Found::Away,
            },
        }
    }

    /// Drops one row: it changed.
    pub(super) fn forget(&self, key: &K) {
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        self.0.entries.invalidate(key);
    }

    /// Some rows may have changed: reads each again when it is next asked for, and serves the old
    /// one only if that fails.
    pub(super) fn age_all(&self) {
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        self.0.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn fresh(&self, key: &K) -> Option<Entry<V>> {
        let entry = self.entries.get(key)?;
        let age_max = if entry.value.is_some() { self.bounds.fresh } else { self.bounds.negative };
        let fresh = entry.generation == self.generation.load(Ordering::Acquire)
            && entry.loaded_at.elapsed() < age_max;
        fresh.then_some(entry)
    }

    /// Joins the load of `key` that is under way, or begins one.
    fn flight(self: &Arc<Self>, key: &K, with: impl Send + 'static) -> Flight<V> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let (inner, wanted) = (Arc::clone(self), key.clone());
        let task = self.control.spawn(async move {
            // Whatever way the load ends, by panic too, its place is free again.
            let _with = with;
            let _done = Landing { inner: &inner, key: &wanted };
            inner.loaded(&wanted).await
        });
        let flight = task.map(|joined| joined.unwrap_or(Err(()))).boxed().shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn loaded(&self, key: &K) -> Result<Option<Arc<V>>, ()> {
        let mut value = None;
        for _ in 0..LOADS_MAX {
            let epoch = self.epoch.load(Ordering::Acquire);
            let generation = self.generation.load(Ordering::Acquire);
            value = match (self.load)(key.clone()).await {
                Ok(value) => value.map(Arc::new),
                Err(fault) => {
                    fault.log();
                    return Err(());
                }
            };
            let entry = Entry { value: value.clone(), loaded_at: Instant::now(), generation };
            self.entries.insert(key.clone(), entry);
            if self.epoch.load(Ordering::Acquire) == epoch {
                return Ok(value);
            }
            // Something changed while the row was on its way; it may have been this one.
            self.entries.invalidate(key);
        }
        Ok(value)
    }
}

struct Landing<'a, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    inner: &'a Inner<K, V>,
    key: &'a K,
}

impl<K, V> Drop for Landing<'_, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.inner.flights().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Blame, SqlState};
    use std::sync::atomic::AtomicBool;
    use tokio::sync::Semaphore;

    struct Source {
        asked: AtomicU64,
        away: AtomicBool,
        gate: Semaphore,
    }

    fn remembered(fresh: Duration) -> (Arc<Source>, Remembered<u32, u64>) {
        let source = Arc::new(Source {
            asked: AtomicU64::new(0),
            away: AtomicBool::new(false),
            gate: Semaphore::new(1000),
        });
        let shared = Arc::clone(&source);
        let load: Load<u32, u64> = Box::new(move |key| {
            let source = Arc::clone(&shared);
            async move {
                let turn = source.asked.fetch_add(1, Ordering::SeqCst) + 1;
                let _permit = source.gate.acquire().await;
                if source.away.load(Ordering::SeqCst) {
                    return Err(Fault::new(Blame::Control, SqlState::CANNOT_CONNECT_NOW, "away"));
                }
                Ok((key != 404).then_some(turn))
            }
            .boxed()
        });
        let bounds = Bounds { entries_max: 100, fresh, negative: Duration::from_secs(60) };
        (source, Remembered::new(bounds, Handle::current(), load))
    }

    fn value(found: &Found<u64>) -> Option<u64> {
        match found {
            Found::Hit(value) | Found::Loaded(value) => value.as_deref().copied(),
            Found::Stale(value) => Some(**value),
            Found::Away => panic!("away"),
        }
    }

    #[tokio::test]
    async fn many_askers_are_one_question() {
        let (source, cache) = remembered(Duration::from_secs(60));
        source.gate.forget_permits(1000);
        let asks = (0..50).map(|_| cache.find(&1));
        let (all, ()) = tokio::join!(futures_util::future::join_all(asks), async {
            while source.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            source.gate.add_permits(1);
        });
        assert!(all.iter().all(|found| value(found) == Some(1)));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        assert!(matches!(cache.find(&1).await, Found::Hit(Some(_))));
    }

    #[tokio::test]
    async fn what_a_load_is_made_with_is_kept_until_it_ends_whoever_leaves() {
        let (source, cache) = remembered(Duration::from_secs(60));
        source.gate.forget_permits(1000);
        let (with, other) = (Arc::new(()), Arc::new(()));
        assert!(!cache.knows(&1));
        assert!(cache.find_with(&1, Arc::clone(&with)).now_or_never().is_none());
        // Who asked has left. Who comes next joins it, and brings nothing to it.
        assert!(cache.knows(&1));
        let joined = cache.find_with(&1, Arc::clone(&other));
        let (found, ()) = tokio::join!(joined, async {
            tokio::task::yield_now().await;
            assert_eq!((Arc::strong_count(&with), Arc::strong_count(&other)), (2, 1));
            source.gate.add_permits(1);
        });
        assert_eq!(value(&found), Some(1));
        assert_eq!(Arc::strong_count(&with), 1);
        // However old.
        cache.age_all();
        assert!(cache.knows(&1));
        source.gate.add_permits(1);
        cache.find(&404).await;
        assert!(cache.knows(&404));
        cache.age_all();
        assert!(!cache.knows(&404), "an old \"no\" is no row");
    }

    #[tokio::test]
    async fn no_is_remembered_too() {
        let (source, cache) = remembered(Duration::from_secs(60));
        assert_eq!(value(&cache.find(&404).await), None);
        assert!(matches!(cache.find(&404).await, Found::Hit(None)));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        cache.forget(&404);
        assert!(matches!(cache.find(&404).await, Found::Loaded(None)));
    }

    #[tokio::test]
    async fn the_known_are_served_while_the_source_is_away() {
        let (source, cache) = remembered(Duration::from_secs(60));
        assert_eq!(value(&cache.find(&1).await), Some(1));
        source.away.store(true, Ordering::SeqCst);
        cache.age_all();
        assert!(cache.cached(&1).is_none());
        assert!(matches!(cache.find(&1).await, Found::Stale(_)));
        assert!(matches!(cache.find(&2).await, Found::Away));
        source.away.store(false, Ordering::SeqCst);
        assert!(matches!(cache.find(&1).await, Found::Loaded(Some(_))));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_served_stale() {
        let (source, cache) = remembered(Duration::from_secs(60));
        assert_eq!(value(&cache.find(&1).await), Some(1));
        source.away.store(true, Ordering::SeqCst);
        cache.forget(&1);
        assert!(matches!(cache.find(&1).await, Found::Away));
    }

    #[tokio::test]
    async fn a_row_that_changes_while_it_is_read_is_read_again() {
        let (source, cache) = remembered(Duration::from_secs(60));
        source.gate.forget_permits(1000);
        let (found, ()) = tokio::join!(cache.find(&1), async {
            while source.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            cache.forget(&1);
            source.gate.add_permits(1);
        });
        assert_eq!(value(&found), Some(2));
        assert!(matches!(cache.find(&1).await, Found::Hit(Some(_))));
    }

    #[tokio::test]
    async fn an_old_entry_is_read_again() {
        let (source, cache) = remembered(Duration::ZERO);
        cache.find(&1).await;
        cache.find(&1).await;
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    }
}
