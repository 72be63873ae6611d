//! The line of waiting clients: first come, first served.

use std::collections::VecDeque;
use std::time::Instant;

use crate::pool::Class;

/// A waiter's number: running, so that the line is sorted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool) struct WaiterId(u64);

/// One client in line. `W` is how to reach it.
pub(in crate::pool) struct Waiter<W> {
    pub id: WaiterId,
    pub class: Class,
    pub asked: Instant,
    pub reach: W,
}

/// The line itself.
pub(super) struct Line<W> {
    waiters: VecDeque<Waiter<W>>,
    next: u64,
}

impl<W> Line<W> {
    pub(super) fn new() -> Self {
        Self { waiters: VecDeque::new(), next: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.waiters.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn head(&self) -> Option<&Waiter<W>> {
        self.waiters.front()
    }

    pub(super) fn pop(&mut self) -> Option<Waiter<W>> {
        let waiter = self.waiters.pop_front();
        // A line that was long once does not keep its memory: idle rooms are to be small.
        if self.waiters.is_empty() && self.waiters.capacity() > 64 {
            self.waiters = VecDeque::new();
        }
        waiter
    }

    pub(super) fn push(&mut self, class: Class, asked: Instant, reach: W) -> WaiterId {
        let id = WaiterId(self.next);
        self.next += 1;
        self.waiters.push_back(Waiter { id, class, asked, reach });
        id
    }

    /// Puts one that was served in vain back where it stood: ids are never reused, so its old
    /// place is found by its number.
    pub(super) fn put_back(&mut self, waiter: Waiter<W>) {
        let at = self.waiters.partition_point(|w| w.id < waiter.id);
        self.waiters.insert(at, waiter);
    }

    /// Takes a waiter out; `None` if it is not in line.
    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter<W>> {
        self.position(id).and_then(|at| self.waiters.remove(at))
    }

    /// How many stand before it.
    pub(super) fn position(&self, id: WaiterId) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |w| w.id).ok()
    }

    /// Takes out all that `is_gone` picks; the others keep their order.
    pub(super) fn extract(
        &mut self,
        mut is_gone: impl FnMut(&Waiter<W>) -> bool,
    ) -> Vec<Waiter<W>> {
        let (gone, stay) = self.drain().partition::<Vec<_>, _>(|waiter| is_gone(waiter));
        self.waiters = stay.into();
        gone
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiter<W>> {
        std::mem::take(&mut self.waiters).into_iter()
    }
}
