//! The sockets of a data thread, as its poller knows them.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use slab::Slab;

use super::lock;
use super::source::Source;

/// The event that is nobody's socket: another thread has something for this one.
pub(super) const RUNG: Token = Token(usize::MAX);

thread_local! {
    /// Where the reactor of this thread is; 0: it has none.
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// The sockets of one data thread.
#[derive(Debug)]
pub(super) struct Reactor {
    registry: Registry,
    sources: Mutex<Slab<Arc<Source>>>,
    /// How often what was staged has been sent, and one.
    run: AtomicU64,
}

impl Reactor {
    pub(super) fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self { registry, sources: Mutex::default(), run: AtomicU64::new(1) })
    }

    /// A number for what is staged until it is sent.
    pub(super) fn run(&self) -> u64 {
        self.run.load(Ordering::Acquire)
    }

    /// What was staged has been sent. On the thread that polls.
    pub(super) fn sent(&self) {
        self.run.store(self.run.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// It is polled by the thread this is called on, until [`Self::leave`].
    pub(super) fn come_here(self: &Arc<Self>) {
        PLACE.set(Arc::as_ptr(self).addr());
    }

    pub(super) fn leave() {
        PLACE.set(0);
    }

    /// Whether the thread this is called on polls it.
    pub(super) fn is_here(self: &Arc<Self>) -> bool {
        PLACE.get() == Arc::as_ptr(self).addr()
    }

    /// Has a socket polled, from now to [`Self::remove`] or its closing.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the socket is closed then.
    pub(super) fn add(self: &Arc<Self>, fd: OwnedFd) -> io::Result<Arc<Source>> {
        let source = {
            let mut sources = lock(&self.sources);
            let entry = sources.vacant_entry();
            let source = Arc::new(Source::new(fd, Arc::clone(self), entry.key()));
            entry.insert(Arc::clone(&source));
            source
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = source.as_fd().as_raw_fd();
        let added = self.registry.register(&mut SourceFd(&fd), Token(source.key()), interest);
        if let Err(error) = added {
            self.forget(&source);
            return Err(error);
        }
        Ok(source)
    }

    /// The socket is to be polled by another.
    pub(super) fn remove(&self, source: &Source) {
        // It was added, or is gone.
        let _ = self.registry.deregister(&mut SourceFd(&source.as_fd().as_raw_fd()));
        self.forget(source);
    }

    /// Nobody waits any more. An event on its way finds another's socket at worst, which is tried
    /// once for nothing.
    pub(super) fn forget(&self, source: &Source) {
        let forgotten = lock(&self.sources).try_remove(source.key());
        drop(forgotten);
    }

    /// Wakes who waited for these; `true` when the thread was rung, too.
    pub(super) fn take(&self, events: &Events) -> bool {
        let mut rung = false;
        let sources = lock(&self.sources);
        for event in events {
            if event.token() == RUNG {
                rung = true;
            } else if let Some(source) = sources.get(event.token().0) {
                source.happened(event);
            }
        }
        rung
    }
}
