//! A socket that a data thread polls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr};
use socket2::{SockAddr, SockRef, Type};

use super::reactor::{Side, Source};
use super::{DataThread, budget};

/// A socket registered with the reactor of a data thread. Any thread may use it: the reactor's
/// wakes whose task waits for it.
#[derive(Debug)]
pub struct Polled {
    /// `None` once it was taken out.
    fd: Option<OwnedFd>,
    source: Arc<Source>,
}

impl Polled {
    /// Has `thread` poll a socket that does not block.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the socket is closed then.
    pub(in crate::net) fn new(thread: &DataThread, fd: OwnedFd) -> io::Result<Self> {
        let source = thread.reactor().add(fd.as_raw_fd())?;
        Ok(Self { fd: Some(fd), source })
    }

    /// Connects to where `address` is.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub(in crate::net) async fn connect(
        thread: &DataThread,
        address: &SockAddr,
    ) -> io::Result<Self> {
        let socket = socket2::Socket::new(address.domain(), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(address) {
            Err(e) if e.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(e),
            _ => {}
        }
        let polled = Self::new(thread, socket.into())?;
        std::future::poll_fn(|cx| polled.source.poll_ready(cx, Side::Write)).await;
        match SockRef::from(&polled).take_error()? {
            None => Ok(polled),
            Some(error) => Err(error),
        }
    }

    /// Whether the thread this is called on polls it.
    pub(in crate::net) fn is_here(&self) -> bool {
        self.source.reactor().is_here()
    }

    /// Polled by nobody any more.
    pub(in crate::net) fn into_fd(mut self) -> OwnedFd {
        let fd = self.fd.take().expect("invariant: taken once, here");
        self.source.reactor().remove(fd.as_raw_fd());
        fd
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Waits until reading is worth a try.
    pub(in crate::net) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.source.poll_ready(cx, Side::Read).map(drop)
    }

    /// Makes a system call that moves `most` bytes, as soon as it does not say that it would
    /// block. One that moves fewer tells that there is no more to be done now, so the next need
    /// not be made to find that out.
    pub(in crate::net) fn poll_call(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        most: usize,
        mut call: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(budget::poll(cx));
        loop {
            let seen = ready!(self.source.poll_ready(cx, side));
            match retry_on_intr(|| call(self.as_fd())) {
                Ok(done) => {
                    if done > 0 && done < most {
                        self.source.used(side, seen);
                    }
                    budget::spend();
                    return Poll::Ready(Ok(done));
                }
                Err(Errno::WOULDBLOCK) => self.source.exhausted(side, seen),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The same for a call that is not about bytes.
    pub(in crate::net) fn poll_other<T>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        mut call: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let mut result = None;
        let called = self.poll_call(cx, side, 0, |fd| {
            result = Some(call(fd)?);
            Ok(0)
        });
        ready!(called)?;
        Poll::Ready(Ok(result.expect("invariant: set by the call that succeeded")))
    }
}

impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("invariant: taken only by value").as_fd()
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // Closed first: its key is another's from then on.
        drop(self.fd.take());
        self.source.reactor().forget(&self.source);
    }
}
