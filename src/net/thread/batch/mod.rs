//! What the tasks of one run write, handed to the kernel at its end by one system call.
//!
//! Each write wakes whoever waits for it, and behind each system call the kernel may let that one
//! have the processor. Where clients and PostgreSQL share the machine, a data thread that wrote
//! message by message lost it for every third transaction (docs/DECISIONS.md, "net: what is written
//! in one run is sent by one call").

use std::cell::RefCell;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::reactor::Reactor;
use super::source::Source;

#[cfg(all(target_os = "linux", target_endian = "little", target_pointer_width = "64"))]
mod aio;

/// Elsewhere each write has its own call.
#[cfg(not(all(target_os = "linux", target_endian = "little", target_pointer_width = "64")))]
mod aio {
    #[derive(Debug)]
    pub(super) struct Aio(std::convert::Infallible);

    impl Aio {
        pub(super) fn new(_: usize) -> Result<Self, rustix::io::Errno> {
            Err(rustix::io::Errno::NOSYS)
        }

        pub(super) fn write<'a>(
            &mut self,
            _: impl Iterator<Item = (std::os::fd::BorrowedFd<'a>, &'a [u8])>,
            _: impl FnMut(usize, Result<usize, rustix::io::Errno>),
        ) {
            match self.0 {}
        }
    }
}

/// So many sockets are written to by one call. The first of them waits for the last to be staged.
const WRITES_MAX: usize = 32;

/// What is copied here by one write at most; more is not worth copying.
pub(super) const BYTES_MAX: usize = 4 << 10;

/// Bytes of all of them.
const ALL_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// The writes that wait for the end of the run.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    staged: Vec<Staged>,
    aio: Option<aio::Aio>,
}

/// One of them. It keeps its socket open.
#[derive(Debug)]
struct Staged {
    source: Arc<Source>,
    range: Range<usize>,
}

/// Has the thread this is called on send by one call what is staged together.
pub(super) fn open() {
    let aio = aio::Aio::new(WRITES_MAX);
    if let Err(error) = &aio {
        tracing::info!(%error, "io_setup(2) failed: messages are sent one by one");
    }
    BATCH.with_borrow_mut(|batch| batch.aio = aio.ok());
}

/// Whether nothing is staged on the thread this is called on.
pub(super) fn is_empty() -> bool {
    BATCH.with_borrow(|batch| batch.staged.is_empty())
}

/// Takes in a write to a socket that the thread this is called on polls, and that may be written to;
/// `last` is the number of the run it wrote in last. `false`: others had to be sent first, and now it
/// may be that it cannot be written to.
pub(super) fn stage(source: &Arc<Source>, last: &mut u64, parts: &[IoSlice<'_>]) -> bool {
    BATCH.with_borrow_mut(|batch| {
        let run = source.reactor().run();
        // Two writes to one socket are one, or else what becomes of the first decides on the second.
        let extends = *last == run && batch.is_last(source);
        if batch.is_full() || (*last == run && !extends) {
            batch.flush(source.reactor());
            return false;
        }
        let from = batch.bytes.len();
        for part in parts {
            batch.bytes.extend_from_slice(part);
        }
        let to = batch.bytes.len();
        match batch.staged.last_mut() {
            Some(staged) if extends => staged.range.end = to,
            _ => batch.staged.push(Staged { source: Arc::clone(source), range: from..to }),
        }
        *last = run;
        true
    })
}

/// Sends what is staged on the thread this is called on, which polls `reactor`.
pub(super) fn send(reactor: &Reactor) {
    BATCH.with_borrow_mut(|batch| batch.flush(reactor));
}

impl Batch {
    fn is_full(&self) -> bool {
        self.staged.len() == WRITES_MAX || self.bytes.len() > ALL_BYTES_MAX - BYTES_MAX
    }

    fn is_last(&self, source: &Arc<Source>) -> bool {
        self.staged.last().is_some_and(|staged| Arc::ptr_eq(&staged.source, source))
    }

    fn flush(&mut self, reactor: &Reactor) {
        let Self { bytes, staged, aio } = self;
        if staged.is_empty() {
            return;
        }
        let mut told = 0_u32;
        if let Some(aio) = aio
            && staged.len() > 1
        {
            let writes = staged.iter().map(|one| (one.source.as_fd(), &bytes[one.range.clone()]));
            aio.write(writes, |place, written| {
                let Some(one) = staged.get(place) else { return };
                told |= 1 << place;
                one.source.wrote(&bytes[one.range.clone()], written);
            });
        }
        // One alone, and what the kernel did not take.
        for (place, one) in staged.iter().enumerate() {
            if told & 1 << place == 0 {
                one.source.wrote(&bytes[one.range.clone()], Ok(0));
            }
        }
        staged.clear();
        bytes.clear();
        reactor.sent();
    }
}

/// Has this thread send one by one, as where there is no `io_setup(2)`.
#[cfg(test)]
pub(super) fn close() {
    BATCH.with_borrow_mut(|batch| batch.aio = None);
}

#[cfg(test)]
mod tests;
