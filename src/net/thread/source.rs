//! A socket of a data thread: whether it is ready, who waits for it, what is still to be sent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use mio::event::Event;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::lock;
use super::reactor::Reactor;

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

/// Something that was staged is not sent yet: it cannot be written to, whatever the kernel says.
const UNSENT: usize = 16;

/// Something that was staged could not be sent.
const FAILED: usize = 32;

/// What is counted up by every event, above the bits.
const TICK: usize = 64;

/// Who writes to a socket that is closed is told so by the call. Where there is no such flag, the
/// signal is ignored by the whole process, as Rust's runtime has it.
#[cfg(not(target_vendor = "apple"))]
pub(in crate::net) const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(in crate::net) const NO_SIGNAL: SendFlags = SendFlags::empty();

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

/// A socket and its readiness. Any thread may ask and wait; events come from the thread that polls.
#[derive(Debug)]
pub(super) struct Source {
    fd: OwnedFd,
    reactor: Arc<Reactor>,
    key: usize,
    state: AtomicUsize,
    reader: AtomicWaker,
    writer: AtomicWaker,
    unsent: Mutex<Option<Box<Unsent>>>,
}

/// What became of a write that its task takes for done.
#[derive(Debug)]
enum Unsent {
    /// The rest goes out as soon as the kernel takes it.
    Bytes(Vec<u8>),
    /// The next write is told.
    Failed(Errno),
}

/// A readiness as it was seen, to be taken back if nothing has come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(usize);

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Source {
    /// A socket under that key, of which nothing is known yet.
    pub(super) fn new(fd: OwnedFd, reactor: Arc<Reactor>, key: usize) -> Self {
        let (reader, writer) = (AtomicWaker::new(), AtomicWaker::new());
        let (state, unsent) = (AtomicUsize::new(0), Mutex::default());
        Self { fd, reactor, key, state, reader, writer, unsent }
    }

    /// What the reactor knows it by.
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// The socket itself.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

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

    /// Waits until nothing that was staged is left, as far as that is known: what is staged in the
    /// present run is not asked for.
    ///
    /// # Errors
    /// What kept it from being sent.
    pub(super) fn poll_sent(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.load(Ordering::Acquire);
        if state & UNSENT != 0 {
            self.writer.register(cx.waker());
            state = self.state.load(Ordering::Acquire);
        }
        if state & UNSENT != 0 { Poll::Pending } else { Poll::Ready(self.told(Seen(state))) }
    }

    /// Whether what was staged could be sent.
    ///
    /// # Errors
    /// What kept it from being sent.
    pub(super) fn told(&self, Seen(state): Seen) -> io::Result<()> {
        if state & FAILED == 0 {
            return Ok(());
        }
        match lock(&self.unsent).as_deref() {
            Some(Unsent::Failed(error)) => Err((*error).into()),
            _ => Ok(()),
        }
    }

    /// The kernel took so much of what was staged; the rest is sent now, or as soon as may be. On the
    /// thread that polls.
    pub(super) fn wrote(&self, staged: &[u8], written: Result<usize, Errno>) {
        let sent = match written {
            Ok(sent) if sent >= staged.len() => return,
            Ok(sent) => sent,
            Err(Errno::WOULDBLOCK | Errno::INTR) => 0,
            Err(error) => return self.fail(error),
        };
        let mut rest = &staged[sent..];
        match self.send(&mut rest) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                *lock(&self.unsent) = Some(Box::new(Unsent::Bytes(rest.to_vec())));
                self.state.fetch_and(!Side::Write.ready(), Ordering::AcqRel);
                self.state.fetch_or(UNSENT, Ordering::AcqRel);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Sends until nothing is left, or there is a reason not to. Only who is told `WOULDBLOCK` hears
    /// from the kernel when it may go on.
    fn send(&self, rest: &mut &[u8]) -> Result<(), Errno> {
        while !rest.is_empty() {
            match send(&self.fd, rest, NO_SIGNAL) {
                // It always takes some, or says why not.
                Ok(0) => return Err(Errno::IO),
                Ok(sent) => *rest = &rest[sent.min(rest.len())..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what is left; `true` when it is still not all.
    fn send_unsent(&self) -> bool {
        let mut unsent = lock(&self.unsent);
        let Some(Unsent::Bytes(bytes)) = unsent.as_deref_mut() else { return false };
        let mut rest = &bytes[..];
        let sent = self.send(&mut rest);
        let left = rest.len();
        if sent == Err(Errno::WOULDBLOCK) {
            bytes.drain(..bytes.len() - left);
            return true;
        }
        *unsent = None;
        drop(unsent);
        // Before anybody is woken who waits for that.
        self.state.fetch_and(!UNSENT, Ordering::AcqRel);
        if let Err(error) = sent {
            self.fail(error);
        }
        false
    }

    /// Whoever writes next is told, and whoever waits looks again; who only reads finds the end behind
    /// what has come.
    fn fail(&self, error: Errno) {
        // Fails where there is no connection any more.
        let _ = shutdown(&self.fd, Shutdown::Both);
        *lock(&self.unsent) = Some(Box::new(Unsent::Failed(error)));
        self.raise(FAILED | READ | WRITE);
    }

    /// Takes in what the kernel says. On the thread that polls.
    pub(super) fn happened(&self, event: &Event) {
        let bit = |is: bool, bit: usize| if is { bit } else { 0 };
        let mut bits = bit(event.is_readable() || event.is_error(), READ)
            | bit(event.is_writable() || event.is_error(), WRITE)
            | bit(event.is_read_closed(), READ_CLOSED)
            | bit(event.is_write_closed(), WRITE_CLOSED);
        let is_unsent = self.state.load(Ordering::Acquire) & UNSENT != 0;
        if is_unsent && bits & Side::Write.ready() != 0 && self.send_unsent() {
            bits &= !Side::Write.ready();
        }
        self.raise(bits);
    }

    /// Sets them, and wakes who waited for one.
    fn raise(&self, bits: usize) {
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
