//! Which sockets of a data thread are ready, and who waits for it.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use slab::Slab;

use super::lock;

/// The event that is nobody's socket: another thread has something for this one.
pub(super) const RUNG: Token = Token(usize::MAX);

/// What is done with a socket.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) enum Side {
    Read,
    Write,
}

const READ: usize = 1;
const WRITE: usize = 2;
const READ_CLOSED: usize = 4;
const WRITE_CLOSED: usize = 8;

/// What is counted up by every event, above the bits that say what is ready.
const TICK: usize = 16;

impl Side {
    /// Bits of which any makes it worth a try.
    const fn ready(self) -> usize {
        match self {
            Self::Read => READ | READ_CLOSED,
            Self::Write => WRITE | WRITE_CLOSED,
        }
    }

    /// What doing less than one could tells the end of. Not of an end that was heard of: it is
    /// told once.
    const fn used(self) -> usize {
        match self {
            Self::Read => READ,
            Self::Write => WRITE,
        }
    }
}

/// One socket's readiness. Any thread may ask and wait; events come from the thread that polls.
#[derive(Debug)]
pub(super) struct Source {
    reactor: Arc<Reactor>,
    key: usize,
    state: AtomicUsize,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// A readiness as it was seen, to be taken back if nothing has come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(usize);

impl Source {
    /// Whose it is.
    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Whether a try is worth it; the task is woken when it is not yet. Only the task that asked
    /// last is, for each side.
    pub(super) fn poll_ready(&self, cx: &Context<'_>, side: Side) -> Poll<Seen> {
        let state = self.state.load(Ordering::Acquire);
        if state & side.ready() != 0 {
            return Poll::Ready(Seen(state));
        }
        let waker = match side {
            Side::Read => &self.reader,
            Side::Write => &self.writer,
        };
        waker.register(cx.waker());
        // What has come between the look and the registration has woken nobody.
        let state = self.state.load(Ordering::Acquire);
        if state & side.ready() != 0 { Poll::Ready(Seen(state)) } else { Poll::Pending }
    }

    /// There was less to be done than could have been: the next event tells when there is more.
    pub(super) fn used(&self, side: Side, seen: Seen) {
        self.clear(side.used(), seen);
    }

    /// There was nothing to be done.
    pub(super) fn exhausted(&self, side: Side, seen: Seen) {
        self.clear(side.ready(), seen);
    }

    /// An event that has come since is newer than what was found.
    fn clear(&self, bits: usize, Seen(seen): Seen) {
        let mut state = seen;
        while state & !(TICK - 1) == seen & !(TICK - 1) {
            let cleared = state & !bits;
            match self.state.compare_exchange_weak(
                state,
                cleared,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    fn happened(&self, event: &Event) {
        let bit = |is: bool, bit: usize| if is { bit } else { 0 };
        let bits = bit(event.is_readable() || event.is_error(), READ)
            | bit(event.is_writable() || event.is_error(), WRITE)
            | bit(event.is_read_closed(), READ_CLOSED)
            | bit(event.is_write_closed(), WRITE_CLOSED);
        let set = |state: usize| Some((state | bits).wrapping_add(TICK));
        let was = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, set);
        // Who found it ready does not wait.
        let (Ok(was) | Err(was)) = was;
        let newly = |side: Side| bits & side.ready() != 0 && was & side.ready() == 0;
        if newly(Side::Read) {
            self.reader.wake();
        }
        if newly(Side::Write) {
            self.writer.wake();
        }
    }
}

thread_local! {
    /// Where the reactor of this thread is; 0: it has none.
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// The sockets of one data thread.
#[derive(Debug)]
pub(super) struct Reactor {
    registry: Registry,
    sources: Mutex<Slab<Arc<Source>>>,
}

impl Reactor {
    pub(super) fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self { registry, sources: Mutex::default() })
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
    /// When the kernel has no memory for it.
    pub(super) fn add(self: &Arc<Self>, fd: RawFd) -> io::Result<Arc<Source>> {
        let source = {
            let mut sources = lock(&self.sources);
            let entry = sources.vacant_entry();
            let source = Arc::new(Source {
                reactor: Arc::clone(self),
                key: entry.key(),
                state: AtomicUsize::new(0),
                reader: AtomicWaker::new(),
                writer: AtomicWaker::new(),
            });
            entry.insert(Arc::clone(&source));
            source
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let added = self.registry.register(&mut SourceFd(&fd), Token(source.key), interest);
        if let Err(error) = added {
            self.forget(&source);
            return Err(error);
        }
        Ok(source)
    }

    /// The socket is to be polled by another.
    pub(super) fn remove(&self, fd: RawFd) {
        // It was added, or is gone.
        let _ = self.registry.deregister(&mut SourceFd(&fd));
    }

    /// Nobody waits any more. An event on its way finds another's socket at worst, which is tried
    /// once for nothing.
    pub(super) fn forget(&self, source: &Source) {
        let forgotten = lock(&self.sources).try_remove(source.key);
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
