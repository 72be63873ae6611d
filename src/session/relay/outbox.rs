//! Bytes pgusher wrote itself, to go out before the buffer's own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::wire::{Buffer, Writer};

/// A run of own messages and how much of it is sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    run: Writer,
    sent: usize,
    /// Bytes may be held back in the stream (TLS records).
    unflushed: bool,
}

/// An outbox larger than this gives its memory back when it is empty.
const KEEP_BYTES_MAX: usize = 16 << 10;

/// With this much waiting nothing more is written before it is sent.
const LONG_BYTES: usize = 64 << 10;

impl Outbox {
    /// Nothing waits here, and nothing in the stream.
    pub(super) fn is_flushed(&self) -> bool {
        self.run.is_empty() && !self.unflushed
    }

    /// So much waits that it has to be sent first.
    pub(super) fn is_long(&self) -> bool {
        self.run.bytes().len() > LONG_BYTES
    }

    pub(super) fn reset(&mut self) {
        self.clear();
        self.unflushed = false;
    }

    fn clear(&mut self) {
        self.run.clear();
        self.sent = 0;
        if self.run.capacity() > KEEP_BYTES_MAX {
            self.run = Writer::new();
        }
    }

    /// The run to append to. What waits in `before` goes out first, so it is moved here.
    pub(super) fn after(&mut self, before: &mut Buffer) -> &mut Writer {
        let waiting = before.forward().len();
        if waiting > 0 {
            self.run.raw(before.forward());
            before.sent(waiting);
        }
        &mut self.run
    }

    /// Writes the outbox, then the buffer's forwardable bytes, until both are empty or the stream
    /// takes no more. `Ready(Ok(true))` when something was written, or what was held back is gone: there
    /// may be room now where there was none.
    ///
    /// # Errors
    /// The stream's; a stream that takes nothing is `WriteZero`.
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        to: &mut W,
    ) -> Poll<io::Result<bool>> {
        let mut moved = false;
        while !self.run.is_empty() || !buffer.forward().is_empty() {
            let own = &self.run.bytes()[self.sent..];
            let rest = buffer.forward();
            let written = if own.is_empty() {
                Pin::new(&mut *to).poll_write(cx, rest)
            } else if rest.is_empty() {
                Pin::new(&mut *to).poll_write(cx, own)
            } else {
                let both = [IoSlice::new(own), IoSlice::new(rest)];
                Pin::new(&mut *to).poll_write_vectored(cx, &both)
            };
            let n = match written {
                Poll::Pending if moved => return Poll::Ready(Ok(true)),
                other => ready!(other)?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            moved = true;
            self.unflushed = true;
            let own_sent = n.min(own.len());
            self.sent += own_sent;
            if self.sent == self.run.bytes().len() {
                self.clear();
            }
            buffer.sent(n - own_sent);
        }
        // Plain sockets need no flush and are done at once; TLS may hold a record back.
        if self.unflushed {
            match Pin::new(to).poll_flush(cx)? {
                Poll::Ready(()) => (self.unflushed, moved) = (false, true),
                // The caller comes again.
                Poll::Pending if moved => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(moved))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes everything, and gives it away when it is told to.
    struct Held(bool);

    impl AsyncWrite for Held {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_stream_held_back_and_gives_away_has_moved() {
        let (mut outbox, mut buffer) = (Outbox::default(), Buffer::with_capacity(8));
        let cx = &mut Context::from_waker(Waker::noop());
        buffer.append(b"12345678");
        buffer.pass(8);
        let mut stream = Held(true);
        let sent = outbox.poll_send(cx, &mut buffer, &mut stream);
        assert!(matches!(sent, Poll::Ready(Ok(true))) && !outbox.is_flushed());
        assert!(outbox.poll_send(cx, &mut buffer, &mut stream).is_pending());
        stream.0 = false;
        let sent = outbox.poll_send(cx, &mut buffer, &mut stream);
        assert!(matches!(sent, Poll::Ready(Ok(true))) && outbox.is_flushed());
        assert!(matches!(outbox.poll_send(cx, &mut buffer, &mut stream), Poll::Ready(Ok(false))));
    }
}
