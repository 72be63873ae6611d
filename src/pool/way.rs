//! How a tenant's servers are reached and entered, as far as the pool has to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ident::ServerKey;

/// A tenant's way to its servers, as somebody read it.
#[derive(Debug, Clone)]
pub struct Way {
    /// Whose budget the servers are taken from.
    pub server: ServerKey,
    /// Another number for another address, database or login.
    pub mark: u64,
    /// Greater where it was read later.
    pub read: u64,
}

/// What a way means to a room that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the room's own.
    Same,
    /// It was read later, and is the room's from now on: the servers of before are not lent again.
    Changed,
    /// The room's was read later.
    Stale,
}

/// The way a room's servers are dialled. Its members see it change.
#[derive(Debug)]
pub(super) struct Kept {
    mark: Arc<AtomicU64>,
    read: u64,
}

impl Kept {
    pub(super) fn new(way: &Way) -> Self {
        Self { mark: Arc::new(AtomicU64::new(way.mark)), read: way.read }
    }

    pub(super) fn is_newer_than(&self, way: &Way) -> bool {
        self.mark.load(Ordering::Acquire) != way.mark && self.read > way.read
    }

    pub(super) fn take(&mut self, way: &Way) -> Taken {
        if self.is_newer_than(way) {
            return Taken::Stale;
        }
        self.read = self.read.max(way.read);
        let before = self.mark.swap(way.mark, Ordering::AcqRel);
        if before == way.mark { Taken::Same } else { Taken::Changed }
    }

    /// For a member that came by it.
    pub(super) fn pass(&self) -> Pass {
        Pass { now: Arc::clone(&self.mark), mark: self.mark.load(Ordering::Acquire) }
    }
}

/// The way a member came by, beside its room's now.
#[derive(Debug)]
pub(super) struct Pass {
    now: Arc<AtomicU64>,
    mark: u64,
}

impl Pass {
    pub(super) fn is_good(&self) -> bool {
        self.now.load(Ordering::Acquire) == self.mark
    }
}
