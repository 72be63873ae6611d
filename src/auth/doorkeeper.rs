//! What is worth remembering: what comes a second time.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Things seen lately that can be told apart.
const SLOTS: usize = 4_096;

/// Keeps what comes once out of a cache: an entry costs some hundred bytes for a minute, and most
/// tenants of many come once. The term is TinyLFU's. It forgets, and takes no more memory for it.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    hash: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Default for Doorkeeper {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { hash: RandomState::new(), slots }
    }
}

impl Doorkeeper {
    /// Whether it has come before, as far as that is remembered.
    pub(super) fn knows(&self, key: impl Hash) -> bool {
        // Never that of an empty slot.
        let mark = self.hash.hash_one(key) | 1;
        let place = usize::try_from(mark >> 32).unwrap_or(0) % SLOTS;
        self.slots[place].swap(mark, Ordering::Relaxed) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_known() {
        let door = Doorkeeper::default();
        assert!(!door.knows("a"));
        assert!(door.knows("a"));
        assert!(door.knows("a"));
        assert!(!door.knows("b"));
    }

    #[test]
    fn what_comes_once_is_not_whatever_comes_between() {
        let door = Doorkeeper::default();
        assert_eq!((0..100_000).filter(|n| door.knows(n)).count(), 0);
        // Some of the last are still there.
        let again = (99_000..100_000).filter(|n| door.knows(n)).count();
        assert!((500..=1_000).contains(&again), "{again}");
    }
}
