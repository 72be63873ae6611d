//! A socket that a data thread polls.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, Shutdown, send, sendmsg, shutdown};
use socket2::{SockAddr, SockRef, Type};

use super::source::{NO_SIGNAL, Side, Source};
use super::{DataThread, batch, budget};

/// A socket registered with the reactor of a data thread. Any thread may use it: the reactor's
/// wakes whose task waits for it.
#[derive(Debug)]
pub struct Polled {
    /// `None` once the socket was taken out.
    source: Option<Arc<Source>>,
    /// The run of the data thread in which something was last staged.
    staged: u64,
}

impl Polled {
    /// Has `thread` poll a socket that does not block.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the socket is closed then.
    pub(in crate::net) fn new(thread: &DataThread, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { source: Some(thread.reactor().add(fd)?), staged: 0 })
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
        std::future::poll_fn(|cx| polled.source().poll_ready(cx, Side::Write)).await;
        match SockRef::from(&polled).take_error()? {
            None => Ok(polled),
            Some(error) => Err(error),
        }
    }

    /// Whether the thread this is called on polls it.
    pub(in crate::net) fn is_here(&self) -> bool {
        self.source().reactor().is_here()
    }

    /// Polled by nobody any more.
    ///
    /// # Errors
    /// When something that was staged is still to be sent, or could not be; the socket is closed
    /// then.
    pub(in crate::net) fn into_fd(mut self) -> io::Result<OwnedFd> {
        let sent = self.poll_all_sent(&Context::from_waker(Waker::noop()));
        let is_sent = matches!(sent, Poll::Ready(Ok(())));
        let source = self.source.take().expect("invariant: taken once, here");
        source.reactor().remove(&source);
        // What another thread has staged has the socket, too.
        let source = Arc::into_inner(source).filter(|_| is_sent);
        source.map(Source::into_fd).ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        self.source.as_ref().expect("invariant: taken only by value")
    }

    /// Whether something it wrote is to be sent at the end of the present run.
    fn is_staged(&self) -> bool {
        self.staged == self.source().reactor().run()
    }

    /// Writes `parts`, one behind the other. A small write on the thread that polls is taken in whole,
    /// and sent with those of others at the end of its run; what keeps it from being sent is told by
    /// the next call.
    pub(in crate::net) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let small = (1..=batch::BYTES_MAX).contains(&bytes);
        // Where there is nothing to send it with, it need not wait for its task's turn to be over.
        if !small || !self.is_here() || (batch::is_empty() && !super::has_more()) {
            return self.poll_send(cx, bytes, parts);
        }
        ready!(budget::poll(cx));
        loop {
            let source = self.source.as_ref().expect("invariant: taken only by value");
            let seen = ready!(source.poll_ready(cx, Side::Write));
            source.told(seen)?;
            if batch::stage(source, &mut self.staged, parts) {
                budget::spend();
                return Poll::Ready(Ok(bytes));
            }
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_all_sent(cx))?;
        self.poll_call(cx, Side::Write, bytes, |fd| match parts {
            [part] => send(fd, part, NO_SIGNAL),
            _ => sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), NO_SIGNAL),
        })
    }

    /// Waits until the kernel has what was written: sends what is staged here.
    fn poll_all_sent(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.is_staged() {
            if !self.is_here() {
                // The other thread is running tasks, and sends when it has.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            batch::send(self.source().reactor());
        }
        self.source().poll_sent(cx)
    }

    /// Waits until the kernel has what was written, but for what is sent at the end of the present
    /// run.
    pub(in crate::net) fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.source().poll_sent(cx)
    }

    /// Ends what is written, once the kernel has it.
    pub(in crate::net) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let sent = ready!(self.poll_all_sent(cx));
        let ended = shutdown(self, Shutdown::Write).map_err(Into::into);
        Poll::Ready(sent.and(ended))
    }

    /// Waits until reading is worth a try.
    pub(in crate::net) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.source().poll_ready(cx, Side::Read).map(drop)
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
            let seen = ready!(self.source().poll_ready(cx, side));
            match retry_on_intr(|| call(self.as_fd())) {
                Ok(done) => {
                    if done > 0 && done < most {
                        self.source().used(side, seen);
                    }
                    budget::spend();
                    return Poll::Ready(Ok(done));
                }
                Err(Errno::WOULDBLOCK) => self.source().exhausted(side, seen),
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
        self.source().as_fd()
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            // Closed by the last who has it: what is staged is sent before, as far as the kernel takes
            // it. Who wants all of it sent waits for that.
            source.reactor().forget(&source);
        }
    }
}
