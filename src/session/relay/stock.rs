//! Relays not in use, kept by each thread for the next client.

use std::cell::RefCell;
use std::hint::black_box;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Relay;

/// Relays a thread keeps at most.
const KEPT_MAX: usize = 1_024;

/// So few are not worth giving back.
const KEPT_MIN: usize = 16;

/// How often a thread looks what it has kept for nothing.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// The relays a thread keeps, and how few they have been since it last looked: so many were not
/// needed.
#[derive(Default)]
struct Stock {
    #[expect(clippy::vec_box, reason = "they are lent as boxes: moving one is moving a pointer")]
    kept: Vec<Box<Relay>>,
    least: usize,
}

thread_local! {
    static STOCK: RefCell<Stock> = RefCell::default();
}

impl Stock {
    fn take(&mut self) -> Option<Box<Relay>> {
        let relay = self.kept.pop();
        self.least = self.least.min(self.kept.len());
        relay
    }

    fn put(&mut self, relay: Box<Relay>) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(relay);
        }
    }

    /// Gives half of what was not needed back to the allocator, the longest unused first.
    fn trim(&mut self) {
        let spare = self.least.min(self.kept.len().saturating_sub(KEPT_MIN));
        self.kept.drain(..spare.div_ceil(2));
        if self.kept.capacity() > 2 * self.kept.len().max(KEPT_MIN) {
            self.kept.shrink_to_fit();
        }
        self.least = self.kept.len();
    }
}

/// More than the allocator takes from a page with other blocks in it (512 KiB): such a block is a
/// page of its own.
const PAGE_BYTES: usize = 1 << 20;

/// Gives back what this thread keeps for nothing, for as long as it is polled: a storm of clients
/// leaves relays that nobody needs behind it, and pages.
pub async fn trim_stock() {
    let mut ticks = tokio::time::interval(TRIM_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        STOCK.with_borrow_mut(Stock::trim);
        trim_pages();
    }
}

/// mimalloc gives a thread's free pages to the system when a page is taken or given back a second
/// later, on an idle thread never: so one is. And which pages are free it sees, of what other threads
/// have freed, only where the thread looks.
#[expect(unsafe_code, reason = "the allocator's own, which no crate wraps")]
pub(in crate::session) fn trim_pages() {
    // SAFETY: it takes no pointer, and may be called by any thread at any time, one that has
    // another allocator too.
    unsafe { libmimalloc_sys::mi_collect(false) };
    drop(black_box(Vec::<u8>::with_capacity(PAGE_BYTES)));
}

/// A relay borrowed from the thread's stock; goes back when dropped, to whatever thread that is.
#[derive(Debug)]
pub(in crate::session) struct Stocked(Option<Box<Relay>>);

impl Stocked {
    /// Takes a clean one.
    pub(in crate::session) fn take() -> Self {
        let kept = STOCK.with_borrow_mut(Stock::take);
        Self(Some(kept.unwrap_or_else(|| Box::new(Relay::new()))))
    }
}

impl Deref for Stocked {
    type Target = Relay;
    fn deref(&self) -> &Relay {
        self.0.as_ref().expect("invariant: taken only in drop")
    }
}

impl DerefMut for Stocked {
    fn deref_mut(&mut self) -> &mut Relay {
        self.0.as_mut().expect("invariant: taken only in drop")
    }
}

impl Drop for Stocked {
    fn drop(&mut self) {
        let Some(mut relay) = self.0.take() else { return };
        relay.reset();
        // The thread may be ending, its stock gone already.
        let _ = STOCK.try_with(|stock| stock.borrow_mut().put(relay));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(stock: &mut Stock, count: usize) {
        for _ in 0..count {
            stock.put(Box::new(Relay::new()));
        }
    }

    #[test]
    fn what_is_in_use_now_and_then_is_kept_and_the_rest_goes() {
        let mut stock = Stock::default();
        put(&mut stock, 100);
        stock.trim();
        assert_eq!(stock.kept.len(), 100, "nothing is known of them yet");
        // Sixty are in use, now and then.
        let used: Vec<_> = (0..60).filter_map(|_| stock.take()).collect();
        for relay in used {
            stock.put(relay);
        }
        stock.trim();
        assert_eq!(stock.kept.len(), 80);
        // None is from now on.
        (0..10).for_each(|_| stock.trim());
        assert_eq!(stock.kept.len(), KEPT_MIN);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut stock = Stock::default();
        put(&mut stock, KEPT_MAX + 10);
        assert_eq!(stock.kept.len(), KEPT_MAX);
    }
}
